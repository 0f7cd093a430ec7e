"""Drift reward: does a video look as good now as it did at its start? `DriftReward`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from worldgym.judges.protocols import FrameQuality
from worldgym.rewards.base import Reward
from worldgym.rewards.visual_quality import frame_judge, judge_range, late, qualities


class DriftReward(Reward):
    """WorldCompass' drift term as released (worldcompass/, fact 4.6): r = - 1/n sum_i |q(x_i) - q(x_0)|.

    x_0 is the first frame of the whole video, whatever clip is scored; q is a judge of single frames as in
    `VisualQualityReward`. The absolute value means that getting better than the given frame costs as much as getting worse.

    Known way to cheat: stand still. A frozen video has no drift at all, so this term rewards doing nothing and must never
    stand alone: it claims nothing about frozen clips.

    Args:
        env: a world-model environment.
        judge: zoo name or path of a quality net, or any `FrameQuality`. Never the held-out judge of an evaluation.
        weight, due: as in `Reward`.

    Example:
        >>> env = DriftReward(VisualQualityReward(env), weight=0.5)                          # doctest: +SKIP
    """

    name = "drift"
    range = (-1.0, 0.0)
    claims = ("noise", "degraded")

    def __init__(
        self, env: Any, judge: str | FrameQuality = "doom-rooms/quality-reward", weight: float = 1.0, due: str = "episode"
    ):
        super().__init__(env, weight, due, judge=judge)
        self.judge = frame_judge(judge, self)
        low, high = judge_range(self.judge)
        self.range = (low - high, 0.0)

    def per_frame(self, frames: Tensor, actions: Tensor, truth: Tensor | None, given: int = 1) -> Tensor:
        """(B, T-1), at most 0."""
        quality = qualities(self.judge, torch.cat([frames[:, :1], frames[:, given:]], 1), self.shares(given))
        return late(-(quality[:, 1:] - quality[:, :1]).abs(), frames.shape[1] - 1)
