"""Pixel reward: closeness to what truly happened. `PixelReward`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from worldgym.rewards.base import Reward


class PixelReward(Reward):
    """The L1 part of RLVR-World's reward (arXiv 2505.13934): r = - mean |x - truth|, pixels in [0, 1], mean over frames.

    Known way to cheat: blur. Where the truth is uncertain, the grey mean of all possibilities is closer to it than any
    sharp frame; and a copy of the given frame scores well where little moves.

    Args:
        env: a world-model environment.
        weight, due: as in `Reward`.
    """

    name = "pixel"
    range = (-1.0, 0.0)
    uses_truth = True

    def __init__(self, env: Any, weight: float = 1.0, due: str = "episode"):
        super().__init__(env, weight, due)

    def per_frame(self, frames: Tensor, actions: Tensor, truth: Tensor | None) -> Tensor:
        """(B, T-1) in [-1, 0]."""
        return -(frames[:, 1:].float() - truth[:, 1:].float()).abs().mean((2, 3, 4)) / 255
