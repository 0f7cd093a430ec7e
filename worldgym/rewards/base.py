"""The base of all rewards: one class that wraps a single or a batched environment and scores batches of clips.

- `Reward`: subclass it and write `name`, `range`, `per_frame` (or `score`).
- `Scored`: what one look at a batch of clips gives.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec, WrapperSpec
from gymnasium.utils import RecordConstructorArgs
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from gymnasium.wrappers import OrderEnforcing, PassiveEnvChecker
from torch import Tensor

from worldgym.envs.base import WorldModelVectorEnv
from worldgym.errors import InputError, unknown
from worldgym.rewards.leaks import refuse_held_out

DUE = ("episode", "clip")


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """A batch of clips, scored.

    Attributes:
        total: (B,) float32, the reward.
        per_frame: (B, F) float32, one number per generated frame; None where a reward has none.
        extra: more (B,) numbers for `info`, not in the reward.
    """

    total: Tensor
    per_frame: Tensor | None = None
    extra: dict[str, Tensor] = dataclasses.field(default_factory=dict)


class Reward:
    """A reward wrapper: `IDMReward(env)` works on `TokenEnv`, `DenoiseEnv` and their vector forms.

    The environment's own reward (that of a wrapper further in, or 0) and `weight` times this one are added, so wrappers
    stack. `info["reward_terms"][name]` holds the unweighted (B,) term when it is due, `info["reward_frames"][name]` its
    (B, F) values per generated frame where there are any. Frames are decoded only when the reward is due.

    Attributes:
        name: key of the term.
        range: (lowest, highest) value of the term; infinite where there is no bound.
        uses_truth: whether it wants the true frames; None comes in their place if not.
        note: what stands behind the term, where that depends on what is installed.
        notes: the notes of this reward and those further in, by name.
        claims: kinds of bad clips that it promises to score lower than the truth: "frozen", "noise", "shuffled" (other
            actions than those given), "degraded" (blur, lost codes). A test holds it to that.

    Args:
        env: a world-model environment, wrapped or not.
        weight: factor of the term.
        due: "episode": on all generated frames, at the end; "clip": after every clip, on the frames of that clip.
    """

    name: str
    range: tuple[float, float] = (-math.inf, math.inf)
    uses_truth: bool = False
    note: str = ""
    claims: tuple[str, ...] = ()
    _faces: dict[bool, type] | None = None

    def __init_subclass__(cls, **more: Any):
        super().__init_subclass__(**more)
        cls._faces = None

    def __new__(cls, env: Any, *_: Any, **__: Any) -> Reward:
        """The face for this kind of environment: a subclass of this class and of Gymnasium's wrapper."""
        if issubclass(cls, (_Single, _Batched)):
            return object.__new__(cls)
        if not isinstance(env, (gym.Env, VectorEnv)):
            raise InputError(f"{cls.__name__} wraps a Gymnasium environment, but got {type(env).__name__}")
        return object.__new__(cls.face(isinstance(env, VectorEnv)))

    @classmethod
    def face(cls, batched: bool) -> type:
        """This class as a wrapper of single or of batched environments."""
        if cls.__dict__.get("_faces") is None:
            # both faces carry the public name, so that an EnvSpec names the class that users wrote
            names = {"__module__": cls.__module__, "__doc__": cls.__doc__, "__qualname__": cls.__qualname__, "_public": cls}
            cls._faces = {many: type(cls.__name__, (cls, face), names) for many, face in _FACES.items()}
        return cls._faces[batched]

    def __reduce_ex__(self, protocol: Any) -> tuple:
        """Pickles and copies name the public class, because the face has no name of its own."""
        return _bare, (self._public, isinstance(self, _Batched)), self.__dict__

    def __init__(self, env: Any, weight: float = 1.0, due: str = "episode", **recorded: Any):
        if due not in DUE:
            raise unknown("time at which a reward is due", due, DUE)
        refuse_conversion(env, type(self).__name__)
        # what this very class takes: a reward without a weight, or one that fixes what its parent lets choose, is rebuilt so
        takes = inspect.signature(self._public.__init__).parameters
        every = {"weight": weight, "due": due, **recorded}
        self._wrap(env, **{name: value for name, value in every.items() if name in takes or "recorded" in takes})
        self.weight, self.due = float(weight), due
        for value in recorded.values():
            refuse_held_out(value)
        if not isinstance(self.core, WorldModelVectorEnv):
            raise InputError(
                f"{type(self).__name__} needs a world-model environment inside, but found {type(self.core).__name__}"
            )

    # --- what a subclass writes ------------------------------------------------------------------------------------------

    def per_frame(self, frames: Tensor, actions: Tensor, truth: Tensor | None) -> Tensor:
        """One number for every frame but the first.

        Args:
            frames: (B, T, H, W, 3) uint8; the first is context.
            actions: (B, T-1, A) int64, what led to frames 1 to T-1.
            truth: (B, T, H, W, 3) uint8, what truly happened, or None.

        Returns:
            (B, T-1) float.

        A subclass may take one more argument, `given: int = 1`, how many frames come before what is scored: the values of
        frames before that are not looked at and may be anything, so that they need not be computed.
        """
        raise NotImplementedError(f"{type(self).__name__} must define per_frame or score")

    def score(self, frames: Tensor, actions: Tensor, truth: Tensor | None, given: int) -> Scored:
        """The reward of a batch of clips, by default the mean of `per_frame` over generated frames.

        Args:
            frames, actions, truth: as in `per_frame`.
            given: how many of the frames come before what is scored.
        """
        known = {"given": given} if "given" in inspect.signature(self.per_frame).parameters else {}
        values = self.per_frame(frames, actions, truth, **known)[:, given - 1 :].float()
        return Scored(values.mean(1), values)

    # --- what is shared --------------------------------------------------------------------------------------------------

    @property
    def core(self) -> WorldModelVectorEnv:
        """The batched environment at the bottom."""
        inside = self.unwrapped
        return getattr(inside, "core", inside)

    @property
    def notes(self) -> dict[str, str]:
        """What stands behind the terms of this reward and of those further in, where there is something to say."""
        return {**notes_of(self.env), **({self.name: self.note} if self.note else {})}

    def shares(self, given: int) -> bool:
        """Whether rows may have frames in common that a judge should read once: several are given, or each clip is scored."""
        return given > 1 or self.due == "clip"

    def fork(self, groups: int, first: int = 0) -> Reward:
        """The same reward around `env.fork(groups)`."""
        inside = self.env
        while isinstance(inside, (PassiveEnvChecker, OrderEnforcing)):  # what `gymnasium.make` puts around
            inside = inside.env
        if not hasattr(inside, "fork"):
            raise InputError(f"{type(inside).__name__} between this reward and the environment cannot fork; put it outside")
        return self._public(inside.fork(groups, first), **self._recorded)

    @torch.no_grad()
    def evaluate(self) -> Scored | None:
        """Score what is finished now: (B,) and per frame; None when nothing is due."""
        core = self.core
        core.check_begun("evaluate()")
        if not (core.finished if self.due == "episode" else core.clip_done):
            return None
        frames, truth = core.video(), core.truth() if self.uses_truth else None
        given = core.prefix if self.due == "episode" else core.frames_done - core.clip_frames
        scored = self.score(frames, core.actions[:, : frames.shape[1] - 1], truth, given)
        if tuple(scored.total.shape) != (core.num_envs,):
            raise InputError(f"{type(self).__name__}.score gave shape {tuple(scored.total.shape)} for {core.num_envs} clips")
        return scored

    def _info(self, info: dict[str, Any], scored: Scored, single: bool) -> dict[str, Any]:
        def face(x: Tensor) -> Any:
            return x[0].cpu().numpy()[()] if single else x

        info = dict(info)
        terms = {self.name: scored.total, **scored.extra}
        info["reward_terms"] = {**info.get("reward_terms", {}), **{name: face(x) for name, x in terms.items()}}
        if scored.per_frame is not None:
            info["reward_frames"] = {**info.get("reward_frames", {}), self.name: face(scored.per_frame)}
        return info


class _Single(gym.Wrapper, RecordConstructorArgs):
    """The face for `gymnasium.Env`."""

    def _wrap(self, env: gym.Env, **recorded: Any) -> None:
        self._recorded = recorded
        RecordConstructorArgs.__init__(self, **recorded)
        gym.Wrapper.__init__(self, env)

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step; the term is added where it is due."""
        observation, reward, over, cut, info = self.env.step(action)
        scored = self.evaluate()
        if scored is not None:
            reward, info = float(reward + self.weight * scored.total[0]), self._info(info, scored, single=True)
        return observation, reward, over, cut, info


class _Batched(VectorWrapper):
    """The face for `gymnasium.vector.VectorEnv`."""

    def _wrap(self, env: VectorEnv, **recorded: Any) -> None:
        self._recorded = recorded
        VectorWrapper.__init__(self, env)

    @property
    def autoreset_mode(self) -> AutoresetMode:
        """That of the environment, where torchrl looks for it."""
        return self.unwrapped.autoreset_mode

    @property
    def spec(self) -> EnvSpec | None:
        """The recipe of the environment with this reward around it, for `worldgym.make_vec`."""
        return recipe_with(self.env.spec, self._public, self._recorded)

    def step(self, actions: Tensor | np.ndarray) -> tuple[Any, Tensor, Tensor, Tensor, dict[str, Any]]:
        """One step; the term is added where it is due."""
        observation, reward, over, cut, info = self.env.step(actions)
        scored = self.evaluate()
        if scored is not None:
            reward, info = reward + self.weight * scored.total.to(reward.device), self._info(info, scored, single=False)
        return observation, reward, over, cut, info


def recipe_with(spec: EnvSpec | None, wrapper: type, arguments: dict[str, Any]) -> EnvSpec | None:
    """The recipe with one more wrapper; what Gymnasium does for single environments."""
    if spec is None:
        return None
    spec = copy.deepcopy(spec)
    entry = WrapperSpec(wrapper.__name__, f"{wrapper.__module__}:{wrapper.__name__}", arguments)
    spec.additional_wrappers = (*spec.additional_wrappers, entry)
    return spec


def notes_of(env: Any) -> dict[str, str]:
    """The notes of all rewards of an environment, by name of their term."""
    while isinstance(env, (gym.Wrapper, VectorWrapper)):
        if isinstance(env, Reward):
            return env.notes
        env = env.env
    return {}


def refuse_conversion(env: Any, name: str) -> None:
    """A batched reward adds torch tensors to what comes from inside."""
    while isinstance(env, (gym.Wrapper, VectorWrapper)):
        if any(base.__name__ == "ArrayConversion" for base in type(env).__mro__):  # its module needs one that few have
            kind = type(env).__name__
            raise InputError(
                f"{name} stands outside {kind}, but it scores torch tensors; put it inside: {kind}({name}(env), …)"
            )
        env = env.env


def _bare(public: type[Reward], batched: bool) -> Reward:
    """An instance without its attributes, which `pickle` and `copy` fill in."""
    return object.__new__(public.face(batched))


_FACES = {False: _Single, True: _Batched}
