"""Pixel reward: closeness to what truly happened. `PixelReward`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from worldgym.rewards.base import Reward
from worldgym.rewards.reading import in_batches, rows
from worldgym.rewards.visual_quality import late
from worldgym.zoo import perceptual_distance

BUNDLED = "doom-rooms/quality-reward"


class PixelReward(Reward):
    """RLVR-World's reward (arXiv 2505.13934): r = - 1/n sum_i ( mean |x_i - y_i| + d(x_i, y_i) ), y the truth, in [0, 1].

    d is LPIPS-VGG where the `lpips` package and its weights are at hand, else a distance on features of a bundled net, in
    [0, 1] (see `judges.perceptual`); the attribute `note` says which.

    Known way to cheat: blur. Where the truth is uncertain, the grey mean of all possibilities is closer to it than any
    sharp frame; and a copy of the given frame scores well where little moves. The perceptual part guards against blur, not
    against standing still.

    Args:
        env: a world-model environment.
        perceptual: "auto", "bundled", "lpips-vgg", "lpips-alex", zoo name or path of a quality net, or None for L1 alone.
        weight, due: as in `Reward`.

    Example:
        >>> env = PixelReward(gym.make_vec("worldgym/DoomRooms-Token-v0", num_envs=16), perceptual="bundled")  # doctest: +SKIP
    """

    name = "pixel"
    range = (-2.0, 0.0)
    uses_truth = True
    claims = ("frozen", "noise", "shuffled", "degraded")

    def __init__(self, env: Any, perceptual: str | None = "auto", weight: float = 1.0, due: str = "episode"):
        super().__init__(env, weight, due, perceptual=perceptual)
        self.distance = perceptual_distance(perceptual, BUNDLED, self.core.device) if perceptual else None
        self.range = (-1.0 - (self.distance.highest if self.distance else 0.0), 0.0)
        self.note = f"L1 + {self.distance.name}" if self.distance else "L1"

    def per_frame(self, frames: Tensor, actions: Tensor, truth: Tensor | None, given: int = 1) -> Tensor:
        """(B, T-1), at most 0."""
        made, true = frames[:, given:], truth[:, given:]
        error = (made.float() - true.float()).abs().mean((2, 3, 4)) / 255
        if self.distance is not None:
            read = in_batches if self.shares(given) else rows  # either way a batch equals its singles
            error = error + read(self.distance, made, true)
        return late(-error, frames.shape[1] - 1)
