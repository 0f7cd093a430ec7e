"""Visual quality reward: does every frame look like a frame of the game? `VisualQualityReward`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.judges.protocols import FrameQuality
from worldgym.judges.quality import Quality
from worldgym.rewards.base import Reward
from worldgym.rewards.reading import rows, single_frames
from worldgym.zoo import load_judge


def frame_judge(judge: str | FrameQuality, reward: Reward) -> FrameQuality:
    """The judge of single frames behind a reward, on its environment's device.

    Raises:
        InputError: a zoo name or path of something else, a judge for another resolution, or an object that can't be called.
    """
    core = reward.core
    if isinstance(judge, (str, Quality)):
        judge = load_judge(judge, Quality, core.device)
        wants, makes = judge.config, core.codec.config
        if (wants.height, wants.width) != (makes.height, makes.width):
            raise InputError(
                f"the quality net reads frames of {wants.height}x{wants.width} pixels, but this environment makes "
                f"{makes.height}x{makes.width}; choose a net for that size"
            )
    if not callable(judge):
        raise InputError(f"a judge of frames is called with frames and gives one number each, but got {type(judge).__name__}")
    return judge


def judge_range(judge: FrameQuality) -> tuple[float, float]:
    """(lowest, highest) score of a judge."""
    return (0.0, 1.0) if isinstance(judge, Quality) else getattr(judge, "range", (-math.inf, math.inf))


def qualities(judge: FrameQuality, frames: Tensor, shared: bool = False) -> Tensor:
    """(B, T, H, W, 3) uint8 -> (B, T); where rows may have frames in common, those are read once."""
    return (single_frames(judge, frames) if shared else rows(judge, frames)).float()


def late(values: Tensor, steps: int) -> Tensor:
    """(B, n) values of the last n of some steps -> (B, steps), those before them not a number."""
    return torch.cat([values.new_full((len(values), steps - values.shape[1]), math.nan), values], 1)


class VisualQualityReward(Reward):
    """WorldCompass' visual quality (arXiv 2602.09022): r = 1/n sum_i q(x_i), with q a judge of single frames.

    The papers' q is HPSv3 with one fixed prompt; anything that scores frames goes in (`judges.protocols.FrameQuality`). The
    bundled q is a net that learned to rank frames of the game above damaged, reconstructed and generated ones.

    Known way to cheat: a frozen video of the given frame is as good as the game's frames, and so is any sharp picture of the
    wrong place: it takes no notice of actions and truth. And a net can be flattered: noise that a human would not
    see may raise it. Put an action reward beside it and watch a held-out quality judge (`Guards`).

    Args:
        env: a world-model environment.
        judge: zoo name or path of a quality net, or any `FrameQuality`. Never the held-out judge of an evaluation.
        weight, due: as in `Reward`.

    Example:
        >>> env = VisualQualityReward(gym.make_vec("worldgym/DoomRooms-Token-v0", num_envs=16))       # doctest: +SKIP
    """

    name = "quality"
    range = (0.0, 1.0)
    claims = ("noise", "degraded")

    def __init__(
        self, env: Any, judge: str | FrameQuality = "doom-rooms/quality-reward", weight: float = 1.0, due: str = "episode"
    ):
        super().__init__(env, weight, due, judge=judge)
        self.judge = frame_judge(judge, self)
        self.range = judge_range(self.judge)

    def per_frame(self, frames: Tensor, actions: Tensor, truth: Tensor | None, given: int = 1) -> Tensor:
        """(B, T-1) in the judge's range; the bundled one's is [0, 1]."""
        return late(qualities(self.judge, frames[:, given:], self.shares(given)), frames.shape[1] - 1)
