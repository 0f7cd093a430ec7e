"""Several rewards as one, on the pure functions of `advantages.py`: `CompositeReward`."""

from __future__ import annotations

from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorEnv, VectorWrapper
from torch import Tensor

from worldgym.errors import InputError, unknown
from worldgym.rewards.advantages import ADVANTAGES, composed, optimality
from worldgym.rewards.base import notes_of, recipe_with, refuse_conversion


class CompositeReward(VectorWrapper):
    """Replaces the sum of the rewards inside by their weighted, normalised and clipped composition.

    Whenever terms are due: reward = A of `composed`, clipped to [-c, c]; info["advantage"] the same, info["optimality"] r in
    [0, 1] (DiffusionNFT, arXiv 2509.16117). Groups are the rows of a prompt (reset option "group_size"), or of a fork.
    Batched environments only: one rollout has no group.

    Known way to cheat: normalisation hides the scale, so a term without real differences becomes noise of full weight.

    Args:
        env: a batched environment inside reward wrappers.
        weights: by name of the term, as in info["reward_terms"]; at least 0, brought to sum 1.
        spread: "group", "global" or "leave-one-out", see `ADVANTAGES`.
        clip: c; WorldCompass 2, DiffusionNFT 5.
    """

    def __init__(self, env: VectorEnv, weights: dict[str, float], spread: str = "global", clip: float = 2.0):
        if not isinstance(env, VectorEnv):
            raise InputError("CompositeReward compares rows with each other and needs a batched environment (make_vec)")
        refuse_conversion(env, "CompositeReward")
        super().__init__(env)
        if not weights or min(weights.values()) < 0 or sum(weights.values()) <= 0 or clip <= 0:
            raise InputError(
                f"weights are {weights} and clip is {clip}: give weights of at least 0, one above, and a clip above 0"
            )
        if spread not in ADVANTAGES:
            raise unknown("spread", spread, ADVANTAGES)
        self.weights, self.spread, self.limit = dict(weights), spread, float(clip)

    def step(self, actions: Tensor | np.ndarray) -> tuple[Any, Tensor, Tensor, Tensor, dict[str, Any]]:
        """One step; composed where the terms are due."""
        observation, reward, over, cut, info = self.env.step(actions)
        if "reward_terms" in info:
            terms = info["reward_terms"]
            for name in self.weights:
                if name not in terms:
                    raise unknown("reward term", name, terms)
            parts = [(weight, terms[name]) for name, weight in self.weights.items()]
            reward = composed(parts, self.unwrapped.group_size, self.spread).clamp(-self.limit, self.limit)
            info = {**info, "advantage": reward, "optimality": optimality(reward, self.limit)}
        return observation, reward, over, cut, info

    @property
    def autoreset_mode(self) -> AutoresetMode:
        """That of the environment, where torchrl looks for it."""
        return self.unwrapped.autoreset_mode

    @property
    def notes(self) -> dict[str, str]:
        """What stands behind the terms inside, by name; see `Reward.note`."""
        return notes_of(self.env)

    @property
    def spec(self) -> EnvSpec | None:
        """The recipe with this composition, for `worldgym.make_vec`."""
        return recipe_with(
            self.env.spec, CompositeReward, {"weights": self.weights, "spread": self.spread, "clip": self.limit}
        )

    def fork(self, groups: int, first: int = 0) -> CompositeReward:
        """The same composition around `env.fork(groups)`."""
        return CompositeReward(self.env.fork(groups, first), self.weights, self.spread, self.limit)
