"""Puts the library's environments into Gymnasium's registry, by name only: nothing heavy is imported before `make`.

- `worldgym/DoomRooms-Game-v0`: the game itself (`worldgym.worlds.doom.DoomWorld`).
- `worldgym/DoomRooms-Token-v0`: a token world model's step (`worldgym.envs.token`), for `make` and `make_vec`.
- `worldgym/DoomRooms-Denoise-v0`: a diffusion world model's step (`worldgym.envs.denoise`), for `make` and `make_vec`.
- `make_vec`: the batched environment of an id or of a recipe, its reward wrappers included.
"""

from __future__ import annotations

import copy
import importlib
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import VectorEnv

ENTRY_POINTS = {
    "worldgym/DoomRooms-Game-v0": "worldgym.worlds.doom:DoomWorld",
    "worldgym/DoomRooms-Token-v0": "worldgym.envs.token:TokenEnv",
    "worldgym/DoomRooms-Denoise-v0": "worldgym.envs.denoise:DenoiseEnv",
}
VECTOR_ENTRY_POINTS = {
    "worldgym/DoomRooms-Token-v0": "worldgym.envs.token:TokenVectorEnv",
    "worldgym/DoomRooms-Denoise-v0": "worldgym.envs.denoise:DenoiseVectorEnv",
}


def register() -> None:
    """Register every id once."""
    for name, entry_point in ENTRY_POINTS.items():
        if name not in gym.registry:
            gym.register(name, entry_point=entry_point, vector_entry_point=VECTOR_ENTRY_POINTS.get(name))


def make_vec(recipe: str | EnvSpec, num_envs: int | None = None, **arguments: Any) -> VectorEnv:
    """The batched environment of an id or a recipe; rewards that the recipe names are put around it once.

    `gymnasium.make_vec` does the same for plain ids but refuses recipes with wrappers. What came from a single environment
    (`gymnasium.make(…)` in rewards) is rebuilt batched, so one recipe serves both. A time limit (`max_episode_steps`,
    `gymnasium.wrappers.TimeLimit`) truncates all rows at once.

    Args:
        recipe: an id such as "worldgym/DoomRooms-Token-v0"; an `EnvSpec`; or its JSON, `env.spec.to_json()`.
        num_envs: B rows; the recipe's own number, or 1, when left out.
        arguments: of the environment; they go before the recipe's.

    Raises:
        ValueError: the text is no recipe, or a wrapper of the recipe is for single environments only.

    Example:
        >>> env = IDMReward(worldgym.make_vec("worldgym/DoomRooms-Token-v0", num_envs=16))          # doctest: +SKIP
        >>> again = worldgym.make_vec(env.spec.to_json())                                           # doctest: +SKIP
    """
    spec = copy.deepcopy(_read(recipe))
    wrappers, spec.additional_wrappers = spec.additional_wrappers, ()
    if num_envs is not None:
        spec.kwargs["num_envs"] = num_envs
    if spec.vector_entry_point is None:
        raise ValueError(f"{spec.id!r} has no batched form; known: {', '.join(sorted(VECTOR_ENTRY_POINTS))}")
    env = gym.make_vec(spec, spec.kwargs.get("num_envs", 1), vectorization_mode="vector_entry_point", **arguments)
    for wrapper in wrappers:
        module, name = wrapper.entry_point.split(":")
        wrap = getattr(importlib.import_module(module), name)
        if wrapper.kwargs is None or (isinstance(wrap, type) and issubclass(wrap, gym.Wrapper)):
            raise ValueError(f"the recipe's wrapper {wrapper.name} does not fit a batched environment; leave it out")
        env = wrap(env, **wrapper.kwargs)
    return env


def _read(recipe: str | EnvSpec) -> EnvSpec:
    if isinstance(recipe, EnvSpec):
        return recipe
    if not recipe.lstrip().startswith("{"):
        return gym.spec(recipe)
    try:
        return EnvSpec.from_json(recipe)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"the text is no recipe of an environment ({error}); write one with env.spec.to_json()") from error
