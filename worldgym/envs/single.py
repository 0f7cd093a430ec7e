"""The batch of one as an ordinary `gymnasium.Env`, in numpy: `SingleEnv`."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
from torch import Tensor

from worldgym.envs.base import FPS, WorldModelVectorEnv
from worldgym.envs.incoming import as_tensor
from worldgym.recipes import HasRecipe


class SingleEnv(HasRecipe, gym.Env):
    """Holds a vector environment with one row and takes the batch axis away; every observation is a copy.

    Attributes:
        core: the vector environment.

    Args:
        arguments: of the vector environment, but `num_envs`.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS}
    core_class: type[WorldModelVectorEnv]

    def __init__(self, render_mode: str | None = None, **arguments: Any):
        self.core = self.core_class(num_envs=1, render_mode=render_mode, **arguments)
        self._adopt()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode; `options` as in `worldgym.envs.options.ResetOptions`.

        Info: "prompt", index into the prompts, and "seed".
        """
        super().reset(seed=seed)
        seed = int(self.np_random.integers(2**31)) if seed is None else int(seed)
        observation, info = self.core.reset(seed=seed, options=options)
        return _first(observation), {"prompt": int(info["prompts"][0]), "seed": seed}

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One step; errors as in the vector environment."""
        observation, reward, over, cut, info = self.core.step(as_tensor(action, "the action")[None])
        return _first(observation), float(reward[0]), bool(over[0]), bool(cut[0]), info

    def render(self) -> np.ndarray | None:
        """(H, W, 3) uint8, the last finished frame."""
        frames = self.core.render()
        return None if frames is None else frames[0]

    def close(self) -> None:
        """Nothing is held that needs closing."""
        self.core.close()

    def fork(self, groups: int, first: int = 0) -> WorldModelVectorEnv:
        """G continuations from here, as a vector environment of G rows."""
        return self.core.fork(groups, first)

    def __getstate__(self) -> dict[str, Any]:
        self.np_random  # noqa: B018  a generator is made at first use; a copy must draw the same seeds
        return self.__dict__

    def _adopt(self) -> None:
        self.render_mode = self.core.render_mode
        self.observation_space, self.action_space = self.core.single_observation_space, self.core.single_action_space


def _first(observation: dict[str, Tensor]) -> dict[str, Any]:
    """Row 0 as numpy copies; numbers as numpy scalars."""
    return {name: value[0].cpu().numpy().copy()[()] for name, value in observation.items()}
