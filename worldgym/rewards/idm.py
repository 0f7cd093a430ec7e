"""Inverse dynamics rewards: are the commanded actions recovered from the video?

- `IDMReward`: RLIR's, by label or by probability. `IDMLikelihoodReward`: the same judge's log-likelihood (ours).
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from worldgym.errors import InputError, unknown
from worldgym.judges.inverse_dynamics import InverseDynamics, probabilities_of, recovered
from worldgym.judges.vpt_idm import VPTIDM
from worldgym.rewards.base import Reward
from worldgym.rewards.reading import in_batches, rows, single_steps
from worldgym.zoo import load_judge

MODES = ("mean", "exact", "probability", "log_likelihood")
SOFT = ("probability", "log_likelihood")
FLOOR = -16.0  # of a log-probability: one certain error is bad enough without drowning all else


class IDMReward(Reward):
    """RLIR's verifiable reward (arXiv 2509.23958, equation 3): r = 1/n sum_i 1{ IDM(video)_i = a_i }.

    The indicator is read per column of the action spec: "mean" takes the share of columns that are recovered, "exact" is 1
    only where all of them are. "probability" takes the judge's probability of each commanded action in the indicator's place:
    the same scale, without ties, and small steps in the right direction already pay. "log_likelihood" takes its logarithm, at
    least -16: r = 1/n sum_i max(log p(a_i | video), -16). Where the judge is certain, an action that is not there costs more
    than one that it finds hard to see anyway: single wrong actions stand out. With due="clip" every clip gets its own reward.

    Known way to cheat: anything that makes actions easy to read pays, whether it looks real or not: exaggerated turns, a
    frozen video for null actions (a frozen clip is right wherever nothing was commanded), a picture gone dark (the judge does
    not mind). Watch a held-out judge and the pixel reward beside it.

    Args:
        env: a world-model environment.
        judge: zoo name or path of an inverse dynamics model, or one; for Minecraft the path of VPT's 4x_idm.weights. Never
            the held-out judge of an evaluation.
        mode: "mean" over columns, "exact", or "probability" or "log_likelihood" (mean over columns; not for VPT's judge).
        columns: names of the columns that count; all that the judge can read when left out.
        weight, due: as in `Reward`.

    Example:
        >>> env = IDMReward(gym.make_vec("worldgym/DoomRooms-Token-v0", num_envs=16))       # doctest: +SKIP
    """

    name = "idm"
    range = (0.0, 1.0)
    claims = ("frozen", "noise", "shuffled")

    def __init__(
        self,
        env: Any,
        judge: str | InverseDynamics | VPTIDM = "doom-rooms/idm-reward",
        mode: str = "mean",
        columns: list[str] | None = None,
        weight: float = 1.0,
        due: str = "episode",
    ):
        super().__init__(env, weight, due, judge=judge, mode=mode, columns=columns)
        if mode not in MODES:
            raise unknown("mode of the IDM reward", mode, MODES)
        self.mode = mode
        self.judge = load_judge(judge, (InverseDynamics, VPTIDM), self.core.device)
        if mode in SOFT and not hasattr(self.judge, "probabilities"):
            raise InputError(
                f"mode {mode!r} needs a judge with probabilities, and {type(self.judge).__name__} has none; use 'mean'"
            )
        self.range = (FLOOR, 0.0) if mode == "log_likelihood" else (0.0, 1.0)
        self._check()
        spec = self.core.action_spec
        self._columns = [spec.column(name) for name in columns or getattr(self.judge, "reads", spec.names)]

    def per_frame(self, frames: Tensor, actions: Tensor, truth: Tensor | None, given: int = 1) -> Tensor:
        """(B, T-1) in the mode's range: the share of columns recovered, whether all are, or their mean (log-)probability.

        With `given` frames before what is scored, whose steps rows may have in common, each step is seen by itself and once.
        """
        alone = type(self.judge) is InverseDynamics and self.judge.steps_alone  # a subclass may read in another way
        read = self._shared if self.shares(given) and alone else self._whole
        found = read(frames, actions)[..., self._columns]
        if self.mode in SOFT:
            return (found if self.mode == "probability" else found.log().clamp_min(FLOOR)).mean(-1)
        return found.all(-1).float() if self.mode == "exact" else found.float().mean(-1)

    def _whole(self, frames: Tensor, actions: Tensor) -> Tensor:
        """(B, T-1, A) probabilities of the actions, or whether they are recovered."""
        if self.mode in SOFT:
            return rows(self.judge.probabilities, frames, actions)
        labels = rows(self.judge.labels, frames)
        return self.judge.agrees(labels, actions) if isinstance(self.judge, VPTIDM) else labels == actions

    def _shared(self, frames: Tensor, actions: Tensor) -> Tensor:
        """The same, where rows share their first steps."""
        read = probabilities_of if self.mode in SOFT else recovered
        seen = single_steps(self.judge.seen, frames)
        return in_batches(lambda part, asked: read(self.judge.read(part), asked), seen, actions)

    def _check(self) -> None:
        judge, codec, spec = self.judge.config, self.core.codec.config, self.core.action_spec
        resizes = isinstance(self.judge, VPTIDM)  # to its own size, whatever comes
        if not resizes and (judge.height, judge.width) != (codec.height, codec.width):
            raise InputError(
                f"the judge reads frames of {judge.height}x{judge.width} pixels, but this environment makes "
                f"{codec.height}x{codec.width}; choose a judge for that size"
            )
        if judge.spec != spec.name:
            raise InputError(f"the judge knows the action spec {judge.spec!r}, but this environment uses {spec.name!r}")


class IDMLikelihoodReward(IDMReward):
    """How likely an inverse dynamics model finds the commanded actions (ours): `IDMReward` in its mode "log_likelihood".

    r = 1/n sum_i max(log p_IDM(a_i | video), -16), the judge's training loss with the sign turned. A class of its own,
    because it goes by a name of its own, "idm_likelihood": on the reward benchmark it finds wrong actions that RLIR's count of
    labels misses. It shares the judge, so it shares what the judge cannot see.

    Known way to cheat: as `IDMReward`; and because a certain error costs most, a video that leaves the judge in doubt about
    everything (pure noise: -1.0) loses less than a sharp one of other actions (-1.8). Watch image quality.

    Args:
        env, judge, columns, weight, due: as in `IDMReward`.

    Example:
        >>> env = IDMLikelihoodReward(gym.make_vec("worldgym/DoomRooms-Token-v0", num_envs=16))       # doctest: +SKIP
    """

    name = "idm_likelihood"
    range = (FLOOR, 0.0)

    def __init__(
        self,
        env: Any,
        judge: str | InverseDynamics = "doom-rooms/idm-reward",
        columns: list[str] | None = None,
        weight: float = 1.0,
        due: str = "episode",
    ):
        super().__init__(env, judge, "log_likelihood", columns, weight, due)
