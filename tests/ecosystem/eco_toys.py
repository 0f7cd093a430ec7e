"""Every id of this library, short and on the bundled codecs, and one reward around each."""

from typing import Any

import gymnasium as gym
import numpy as np
import torch

import worldgym  # noqa: F401  registers the ids
from worldgym.rewards import PixelReward

TOKEN, DENOISE, GAME = (f"worldgym/DoomRooms-{name}-v0" for name in ("Token", "Denoise", "Game"))
SHORT: dict[str, dict[str, Any]] = {
    TOKEN: {"frames": 2, "prompt_seeds": [0, 1]},
    DENOISE: {"frames": 3, "prompt_seeds": [0, 1], "steps": 2},
    GAME: {},
}
IDS = tuple(SHORT)
MODELS = (TOKEN, DENOISE)


def rewarded(env: Any) -> Any:
    """Without weights to load; a number below 0 at the end."""
    return PixelReward(env, perceptual=None)


def make(name: str, reward: bool = False, **more: Any) -> gym.Env:
    env = gym.make(name, **(SHORT[name] | more))
    return rewarded(env) if reward else env


def make_batch(name: str, rows: int = 2, reward: bool = False, **more: Any) -> Any:
    env = gym.make_vec(name, rows, **(SHORT[name] | more))
    return rewarded(env) if reward else env


def plain(value: Any) -> Any:
    """Everything as numpy, nested as it was."""
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, (tuple, list)):
        return [plain(part) for part in value]
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)


def same(first: Any, second: Any) -> None:
    """Equal in every number, whatever holds it."""
    first, second = plain(first), plain(second)
    if isinstance(first, dict):
        assert first.keys() == second.keys(), (sorted(first), sorted(second))
        for key in first:
            same(first[key], second[key])
    elif isinstance(first, list):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            same(one, other)
    else:
        np.testing.assert_array_equal(first, second)


def actions_of(env: Any, count: int, seed: int = 0) -> list[Any]:
    """Random actions, the same whoever asks."""
    env.action_space.seed(seed)
    return [env.action_space.sample() for _ in range(count)]
