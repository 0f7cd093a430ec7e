"""From settings to an environment in its rewards, with prompts of training seeds only.

- `make_env(config, world, rows)`: the environment that a trainer steps. `env_spec(config, env)`: the same as JSON.
- `prompts_for(config)`: what it is prompted with. `reward_classes()`: rewards by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import torch
from gymnasium.envs.registration import EnvSpec, WrapperSpec, load_env_creator

from worldgym import rewards, zoo
from worldgym.data import prompt_source
from worldgym.errors import InputError, unknown
from worldgym.models.world_model import WorldModel
from worldgym.train.config import TrainRun
from worldgym.types import Prompts

ENV_OF = {"token": "worldgym/DoomRooms-Token-v0", "diffusion": "worldgym/DoomRooms-Denoise-v0"}
HANDED = ("prompts", "codec", "device", "num_envs", "vectorization_mode")  # arguments that a recipe says in its own way


def make_env(config: TrainRun, world: WorldModel, rows: int, prompts: Prompts, device: torch.device) -> Any:
    """A batched environment with the rewards of `config` around it, the guards innermost."""
    chosen = _env_id(config, world)
    env = gym.make_vec(chosen, num_envs=rows, prompts=prompts, codec=world.codec, device=device, **_own(config, world))
    for name, arguments in _wrappers(config):
        env = reward_classes()[name](env, **arguments)
    return env


def env_spec(config: TrainRun, env: Any) -> str:
    """A run's environment as the JSON of a Gymnasium EnvSpec, with all that it takes to find its very prompts again.

    `gym.make(EnvSpec.from_json(text))` and `worldgym.make_vec(text)` play it, from any folder.
    """
    core, classes = env.unwrapped, reward_classes()
    kwargs = {name: value for name, value in core.spec.kwargs.items() if name not in HANDED}
    kwargs |= {**prompt_source.prompt_arguments(_folder(config), core.prompts), "codec": codec_name(config.task.model)}
    wrappers = tuple(
        WrapperSpec(classes[name].__name__, _address(classes[name]), {key: _portable(v) for key, v in arguments.items()})
        for name, arguments in _wrappers(config)
    )
    single, batched = _address(core.spec.entry_point), _address(core.spec.vector_entry_point)
    return EnvSpec(core.spec.id, single, kwargs=kwargs, additional_wrappers=wrappers, vector_entry_point=batched).to_json()


def codec_name(model: str) -> str | None:
    """The codec that a model file names, if any; a file by its whole path."""
    name = zoo.origin(model)[1].get("codec")
    return name and zoo.from_anywhere(name)


def _portable(value: Any) -> Any:
    """An argument of a reward; a model's file by its whole path."""
    return zoo.from_anywhere(value) if isinstance(value, str) and ("/" in value or Path(value).suffix) else value


def _address(entry: Any) -> str | None:
    """Where Gymnasium finds a class: "module:Class"."""
    return entry if entry is None or isinstance(entry, str) else f"{entry.__module__}:{entry.__qualname__}"


def reward_classes() -> dict[str, type]:
    """All rewards of `worldgym.rewards` that score on their own, by name."""
    found = [getattr(rewards, name) for name in rewards.__all__]
    return {cls.name: cls for cls in found if issubclass(cls, rewards.Reward) and isinstance(getattr(cls, "name", None), str)}


def prompts_for(config: TrainRun) -> Prompts:
    """`prompt_count` windows of training clips: from a store, a folder of Minecraft recordings, or recorded beside the run.

    Raises:
        InputError: the store has too few training clips, or its clips are too short.
    """
    return prompt_source.choose_prompts(
        _folder(config), config.task.prompt_count, config.task.frames, config.task.prefix, config.rollout.seed
    )


def _folder(config: TrainRun) -> Path:
    return prompt_source.prompt_folder(
        config.task.prompts, config.task.prompt_count, config.task.frames, config.run.out.parent
    )


def _env_id(config: TrainRun, world: WorldModel) -> str:
    chosen = config.task.env or ENV_OF[world.kind]
    if chosen not in gym.registry:
        raise unknown("environment", chosen, [name for name in gym.registry if name.startswith("worldgym/")])
    made = gym.spec(chosen).vector_entry_point
    if made is None:
        raise InputError(f"{chosen!r} has no batched form to train in: register it with a vector_entry_point")
    kind = getattr(load_env_creator(made) if isinstance(made, str) else made, "codec_kind", None)
    if kind not in (None, zoo.CODEC_OF[world.kind]):
        raise InputError(f"{config.task.model!r} is a {world.kind} model, which plays {ENV_OF[world.kind]!r}, not {chosen!r}")
    return chosen


def _own(config: TrainRun, world: WorldModel) -> dict[str, Any]:
    """Arguments of the environment itself, JSON values."""
    common = {"frames": config.task.frames, "prefix": config.task.prefix, "spec": world.spec.name}
    if world.kind == "token":
        return {**common, "schedule": config.rollout.schedule}
    clip = {"clip_frames": world.model.config.clip, "steps": config.rollout.denoise_steps, "shift": config.rollout.shift}
    return {**common, **clip}


def _wrappers(config: TrainRun) -> list[tuple[str, dict[str, Any]]]:
    """Names and arguments of the rewards, innermost first."""
    classes, options, weights = reward_classes(), config.task.options, config.task.weights
    guard = [(rewards.Guards.name, {"due": config.due})]
    for name in weights:
        if name not in classes:
            raise unknown("reward", name, classes)
    return guard + [(name, {"weight": weight, "due": config.due, **options.get(name, {})}) for name, weight in weights.items()]
