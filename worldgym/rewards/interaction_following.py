"""Interaction following reward: does the camera move as the actions say? `InteractionFollowingReward`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from worldgym.errors import InputError, unknown
from worldgym.judges.camera_commands import MOMENTA, commanded_labels
from worldgym.judges.camera_labels import Rules, agreement
from worldgym.judges.camera_motion import CameraMotion
from worldgym.judges.soft_labels import soft_agreement
from worldgym.rewards.base import Reward, Scored
from worldgym.rewards.reading import in_batches, rows, single_steps
from worldgym.zoo import as_camera_judge

MODES = ("exact", "fine", "soft")


class InteractionFollowingReward(Reward):
    """WorldCompass' interaction following score IF (arXiv 2602.09022): camera motion, as 81 labels, against the commands.

    The judge reads relative camera motion m_i; label_tau(m_i) in {0 … 80} joins 9 translations and 9 rotations, tau being the
    length above which a step counts as translation; y_i is the label that the actions ask for:

        exact = max_tau 1/n sum_i 1{ label_tau(m_i) = y_i },
        fine  = 1/(2n) sum_i ( 1{translation right} + 1{rotation right} ) at that same tau (the first of equals).

    Both are in `info["reward_terms"]`: "interaction_following" is the one that is chosen by `mode`, the other one has its own
    key. The per-frame values belong to the chosen tau. The mode "soft" is the smooth relative of "fine" (not in the paper; see
    `worldgym.judges.soft_labels`): it tells candidates apart that get the same labels.

    Known way to cheat: only the camera counts. A model that turns a blurred or invented scene in the right way is paid in
    full, and so is one that exaggerates every move; large plain walls hide what the judge cannot see. Set a quality or drift
    reward beside it, and watch a held-out camera judge.

    Args:
        env: a world-model environment.
        judge: zoo name or path of a camera motion model, or an object with `motion(frames)`, or with `poses(frames)` (see
            `worldgym.judges.camera_poses.PoseEstimator`, for published 3-D models). Never the held-out judge of an evaluation.
        mode: "fine" (as WorldCompass trains), "exact" or "soft".
        translation: the lengths tau per step, in map units; shares of the video's longest step with `scale="scene"`.
        rotation: degrees per step above which a rotation counts.
        scale: "units" or, for judges without a unit, "scene"; see `worldgym.judges.camera_labels.Rules`.
        momentum: how commands become motion: "doom" (speeds up and coasts) or "none".
        weight, due: as in `Reward`.

    Example:
        >>> env = InteractionFollowingReward(gym.make_vec("worldgym/DoomRooms-Token-v0", num_envs=16))  # doctest: +SKIP
    """

    name = "interaction_following"
    range = (0.0, 1.0)
    claims = ("frozen", "noise", "shuffled")

    def __init__(
        self,
        env: Any,
        judge: Any = "doom-rooms/camera-reward",
        mode: str = "fine",
        translation: tuple[float, ...] = Rules.translation,
        rotation: float = Rules.rotation,
        scale: str = "units",
        momentum: str = "doom",
        weight: float = 1.0,
        due: str = "episode",
    ):
        own = {"judge": judge, "mode": mode, "translation": list(translation), "rotation": rotation, "scale": scale}
        super().__init__(env, weight, due, **own, momentum=momentum)
        if mode not in MODES:
            raise unknown("mode of the interaction following reward", mode, MODES)
        if momentum not in MOMENTA:
            raise unknown("momentum", momentum, MOMENTA)
        self.mode, self.momentum = mode, MOMENTA[momentum]
        self.rules = Rules(tuple(translation), rotation, scale)
        self.judge = as_camera_judge(judge, self.core.device)
        self._check()

    def target(self, actions: Tensor) -> Tensor:
        """(B, T-1, A) int -> (B, T-1) int64, the labels that actions ask for."""
        # in map units, whatever the judge's unit is
        middle = Rules.translation[len(Rules.translation) // 2]
        return commanded_labels(actions, self.core.action_spec, middle, self.rules.rotation, self.momentum)

    def score(self, frames: Tensor, actions: Tensor, truth: Tensor | None, given: int) -> Scored:
        """See `Reward.score`; the best tau is that of the scored frames."""
        if self.shares(given) and type(self.judge) is CameraMotion:  # steps that rows have in common are seen once
            motion = in_batches(self.judge.read, single_steps(self.judge.seen, frames))
        else:
            motion = rows(self.judge.motion, frames)
        found = agreement(motion[:, given - 1 :], self.target(actions)[:, given - 1 :], self.rules)
        both = {"exact": (found.exact, found.exact_steps), "fine": (found.fine, found.fine_steps)}
        if self.mode == "soft":
            steps = soft_agreement(motion[:, given - 1 :], self.target(actions)[:, given - 1 :], self.rules)
            both["soft"] = (steps.mean(1), steps)
        total, steps = both.pop(self.mode)
        extra = {f"{self.name}_{name}": values[0].float() for name, values in both.items()}
        return Scored(total.float(), steps.float(), extra)

    def _check(self) -> None:
        judge, codec = getattr(self.judge, "config", None), self.core.codec.config
        if judge is not None and (judge.height, judge.width) != (codec.height, codec.width):
            raise InputError(
                f"the judge reads frames of {judge.height}x{judge.width} pixels, but this environment makes "
                f"{codec.height}x{codec.width}; choose a judge for that size"
            )
        self.target(torch.zeros((1, 1, len(self.core.action_spec.names)), dtype=torch.int64))  # the spec must be able to say
