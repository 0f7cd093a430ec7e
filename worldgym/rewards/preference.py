"""Preference reward: visual and motion quality of a clip, as VideoAlign scores them. `PreferenceReward`."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.judges.protocols import BundledPreference, VideoPreference
from worldgym.judges.quality import Quality
from worldgym.rewards.base import Reward, Scored
from worldgym.rewards.visual_quality import frame_judge


class PreferenceReward(Reward):
    """VideoAlign's visual and motion quality (arXiv 2501.13918), as RLIR uses them: r = (VQ(video) + MQ(video)) / 2.

    One number per clip, no per-frame values. VideoAlign itself, or any `judges.protocols.VideoPreference`, goes in as `judge`.
    The bundled judge is a stand-in and says so: VQ from a quality net, MQ from block matching
    (`judges.protocols.BundledPreference`). The attribute `note` names what judged.

    Known way to cheat: a slow pan over one sharp picture is explained perfectly by the frame before, moves enough, and
    follows no action. The published judge is known to like calm, glossy video as well.

    Args:
        env: a world-model environment.
        judge: a `VideoPreference`, or zoo name or path of a quality net for the stand-in.
        weight, due: as in `Reward`.

    Example:
        >>> env = PreferenceReward(gym.make_vec("worldgym/DoomRooms-Denoise-v0", num_envs=16))      # doctest: +SKIP
    """

    name = "preference"
    range = (0.0, 1.0)
    claims = ("frozen", "noise", "degraded")

    def __init__(
        self, env: Any, judge: str | VideoPreference = "doom-rooms/quality-reward", weight: float = 1.0, due: str = "episode"
    ):
        super().__init__(env, weight, due, judge=judge)
        if isinstance(judge, (str, Quality)):
            judge = BundledPreference(frame_judge(judge, self), judge if isinstance(judge, str) else "a quality net")
        if not callable(getattr(judge, "preferences", None)):
            raise InputError(f"a judge of preference has a method preferences(frames), but {type(judge).__name__} has none")
        self.judge, self.note = judge, getattr(judge, "name", type(judge).__name__)
        self.range = getattr(judge, "range", (-math.inf, math.inf))

    def score(self, frames: Tensor, actions: Tensor, truth: Tensor | None, given: int) -> Scored:
        """The mean of both, and both in `info["reward_terms"]`: (B,)."""
        # the last given frame stays, because the first generated one is motion from there; row by row as elsewhere
        clips = frames[:, given - 1 :]
        both = torch.cat([self.judge.preferences(row[None]) for row in clips]).float()
        return Scored(both.mean(1), None, {"visual_quality": both[:, 0], "motion_quality": both[:, 1]})
