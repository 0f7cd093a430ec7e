"""Steering views: for optimizers that are not the world model itself, so that stock Stable-Baselines3 runs.

- `NoiseSteering`: a bounded box of noise that a frozen diffusion model turns into its next step.
- `TopKToken`: which of the k likeliest codes of a frozen token model to take.
- `FlatObservation`: a plain vector of numbers from 0 to 1, or -1 to 1 for latents.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.utils import RecordConstructorArgs
from torch import nn

from worldgym import zoo
from worldgym.envs.denoise import DenoiseEnv
from worldgym.envs.incoming import as_tensor
from worldgym.envs.token import TokenEnv
from worldgym.errors import InputError, unknown
from worldgym.models.diffusion.agent import DenoiseAgent
from worldgym.models.diffusion.noise_kernels import kernel as noise_kernel
from worldgym.models.token.agent import TokenAgent
from worldgym.models.world_model import WorldModel


class _Steering(gym.Wrapper, RecordConstructorArgs):
    """Keeps the last observation, which the frozen model needs to read before an action means anything."""

    wants: type[gym.Env]

    def __init__(self, env: gym.Env, **recorded: Any):
        RecordConstructorArgs.__init__(self, **recorded)
        gym.Wrapper.__init__(self, env)
        if not isinstance(self.unwrapped, self.wants):
            raise InputError(f"{type(self).__name__} steers a {self.wants.__name__}, but got {type(self.unwrapped).__name__}")
        _check_whole(env, type(self).__name__)
        self._seen: dict[str, np.ndarray] = {}

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Start an episode."""
        self._seen, info = self.env.reset(seed=seed, options=options)
        return self._seen, info

    def step(self, action: Any) -> tuple[dict[str, Any], float, bool, bool, dict[str, Any]]:
        """One step with what the frozen model makes of the action."""
        if self.unwrapped.core.finished:
            return self.env.step(self.env.action_space.sample())  # the environment says what is wrong
        self._seen, *rest = self.env.step(self._steered(action))
        return self._seen, *rest

    def _steered(self, action: Any) -> Any:
        raise NotImplementedError


class NoiseSteering(_Steering):
    """z' = mean + std c a: the action a is the noise of a frozen model's stochastic step.

    Action: Box(-1, 1, (D,)), D numbers of a clip; a = 0 follows the kernel's mean, an action of 1 is c standard
    deviations above it.

    Args:
        env: a `DenoiseEnv`, wrapped in rewards or not.
        model: the frozen world model: zoo name or path, `WorldModel`, or `FrameDiffusion`.
        noise: name of a noise kernel, see `worldgym.models.diffusion.noise_kernels`; not "ode".
        scale: c.
    """

    wants = DenoiseEnv

    def __init__(self, env: gym.Env, model: Any = "doom-rooms/diffusion-nano", noise: str = "flow-grpo", scale: float = 2.0):
        super().__init__(env, model=model, noise=noise, scale=scale)
        if not noise_kernel(noise).level:
            raise InputError(f"the noise kernel {noise!r} adds no noise, so there is nothing to steer; choose another one")
        self._agent, self.scale = DenoiseAgent(_frozen(model, self.unwrapped.core.device), noise), float(scale)
        self.action_space = spaces.Box(-1, 1, (int(np.prod(env.action_space.shape)),), np.float32)

    def _steered(self, action: np.ndarray) -> np.ndarray:
        ahead = self._agent.propose(self._seen)
        numbers = as_tensor(action, "the action").to(ahead.mean.device, torch.float32)
        if numbers.numel() != ahead.mean.numel():
            raise InputError(f"the action has shape {tuple(numbers.shape)}, but this view takes {self.action_space.shape}")
        return ahead.sample(self.scale * numbers.reshape(ahead.mean.shape))[0].cpu().numpy()


class TopKToken(_Steering):
    """The action chooses among the k codes that a frozen model finds likeliest; 0 is the likeliest.

    Action: Discrete(k).

    Args:
        env: a `TokenEnv` in raster order, wrapped in rewards or not.
        model: the frozen world model: zoo name or path, `WorldModel`, or `TokenModel`.
        k: how many codes there are to choose from.
    """

    wants = TokenEnv

    def __init__(self, env: gym.Env, model: Any = "doom-rooms/token-nano", k: int = 8):
        super().__init__(env, model=model, k=k)
        core = self.unwrapped.core
        if core.schedule.width > 1:
            raise InputError("TopKToken steers one code per step; make the environment with schedule='raster'")
        if not 1 < k <= core.codec.codes:
            raise InputError(f"k is {k}, but it must be from 2 to the codec's {core.codec.codes} codes")
        self._agent, self.k = TokenAgent(_frozen(model, core.device)), k
        self.action_space = spaces.Discrete(k)

    def _steered(self, action: int) -> int:
        number = as_tensor(action, "the action")
        if number.numel() != 1 or number.is_floating_point() or not 0 <= int(number) < self.k:
            raise InputError(f"the action is {action}, but this view takes 0 to {self.k - 1}")
        return int(self._agent.propose(self._seen)[0, 0].topk(self.k).indices[int(number)])


class FlatObservation(gym.ObservationWrapper, RecordConstructorArgs):
    """One vector of numbers in [-1, 1] from chosen parts of the observation: what stock policies read.

    Args:
        env: a world-model environment, wrapped or not.
        keys: parts of the observation, in order; all but the prompt's pixels when left out.
    """

    def __init__(self, env: gym.Env, keys: Sequence[str] | None = None):
        RecordConstructorArgs.__init__(self, keys=keys)
        gym.ObservationWrapper.__init__(self, env)
        if not isinstance(env.observation_space, spaces.Dict):
            raise InputError(f"FlatObservation reads a Dict of parts, but the observation is {env.observation_space} already")
        parts = env.observation_space.spaces
        self._keys = tuple(keys or (name for name in parts if name != "prefix"))
        for name in self._keys:
            if name not in parts:
                raise unknown("part of the observation", name, parts)
        self._highs = {name: _high(parts[name]) for name in self._keys}
        size = sum(int(np.prod(parts[name].shape)) for name in self._keys)
        self.observation_space = spaces.Box(-1, 1, (size,), np.float32)

    def observation(self, observation: dict[str, Any]) -> np.ndarray:
        """(D,) float32, each part divided by its largest value; what lies beyond is cut off."""
        parts = [np.asarray(observation[name], np.float32) / self._highs[name] for name in self._keys]
        return np.concatenate([np.ravel(part) for part in parts]).clip(-1, 1).astype(np.float32)


def _check_whole(env: gym.Env, view: str) -> None:
    """The frozen model reads the environment's own observation: what flattens or stacks it belongs outside."""
    inner = env
    while isinstance(inner, gym.Wrapper):
        if inner.observation_space != inner.env.observation_space:
            name = type(inner).__name__
            raise InputError(f"{view} reads the whole observation, which {name} changes; put it inside: {name}({view}(env))")
        inner = inner.env


def _high(space: spaces.Space) -> np.ndarray:
    if isinstance(space, spaces.Discrete):
        return np.float32(max(space.n - 1, 1))
    if isinstance(space, spaces.MultiDiscrete):
        return np.maximum(space.nvec - 1, 1).astype(np.float32)
    return space.high.astype(np.float32)


def _frozen(model: Any, device: torch.device) -> nn.Module:
    if isinstance(model, (str, Path)):
        model = zoo.load(model, device)
    module = model.model if isinstance(model, WorldModel) else model
    return module.eval()
