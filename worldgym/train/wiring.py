"""From settings to an environment in its rewards, with prompts of training seeds only.

- `make_env(config, world, rows)`: the environment that a trainer steps. `env_spec(…)`: the same as JSON.
- `prompts_for(config)`: what it is prompted with. `reward_classes()`: rewards by name.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from gymnasium.envs.registration import EnvSpec, WrapperSpec

from worldgym import rewards, zoo
from worldgym.data.clips import ClipStore
from worldgym.data.prompts import store_prompts
from worldgym.data.record import record
from worldgym.data.vpt import training_prompts
from worldgym.errors import InputError, unknown
from worldgym.models.world_model import WorldModel
from worldgym.rng import generator
from worldgym.train.config import TrainRun
from worldgym.types import Prompts

ENV_OF = {"token": "worldgym/DoomRooms-Token-v0", "diffusion": "worldgym/DoomRooms-Denoise-v0"}
DATA_SEED = 7  # of prompts that are recorded for a run; world seeds from 70,000,000 on, far from those of any suite


def make_env(config: TrainRun, world: WorldModel, rows: int, prompts: Prompts, device: torch.device) -> Any:
    """A batched environment with the rewards of `config` around it, the guards innermost."""
    chosen = _env_id(config, world)
    own = {**_own(config, world), "copy": False}  # no loop of ours keeps an observation
    env = gym.make_vec(chosen, num_envs=rows, prompts=prompts, codec=world.codec, device=device, **own)
    for name, arguments in _wrappers(config):
        env = reward_classes()[name](env, **arguments)
    return env


def env_spec(config: TrainRun, world: WorldModel) -> str:
    """The experiment's environment as the JSON of a Gymnasium EnvSpec: `gym.make(EnvSpec.from_json(text))` plays it."""
    chosen = _env_id(config, world)
    known = gym.spec(chosen)
    kwargs = {"prompts": config.task.prompts, "codec": codec_name(config.task.model), **_own(config, world)}
    classes = reward_classes()
    wrappers = tuple(
        WrapperSpec(classes[name].__name__, f"{classes[name].__module__}:{classes[name].__name__}", arguments)
        for name, arguments in _wrappers(config)
    )
    return EnvSpec(chosen, entry_point=known.entry_point, kwargs=kwargs, additional_wrappers=wrappers).to_json()


def codec_name(model: str) -> str | None:
    """The codec that a model file names, if any."""
    return zoo.origin(model)[1].get("codec")


def reward_classes() -> dict[str, type]:
    """All rewards of `worldgym.rewards` that score on their own, by name."""
    found = [getattr(rewards, name) for name in rewards.__all__]
    return {cls.name: cls for cls in found if issubclass(cls, rewards.Reward) and isinstance(getattr(cls, "name", None), str)}


def prompts_for(config: TrainRun, device: str = "cpu") -> Prompts:
    """`prompt_count` windows of training clips: from a store, a folder of Minecraft recordings, or recorded beside the run.

    Raises:
        InputError: the store has too few training clips, or its clips are too short.
    """
    folder = Path(config.task.prompts)
    if next(folder.glob("*.mp4"), None):
        random = generator(config.rollout.seed, "prompts of", folder.name)
        return training_prompts(folder, config.task.prompt_count, random, config.task.frames, config.task.prefix)
    if not (folder / "manifest.json").is_file():
        folder = _recorded(config)
    store = ClipStore(folder)
    windows = max(store.frames.shape[1] // config.task.frames, 0)
    train = store.split("train")
    if windows * len(train) < config.task.prompt_count:
        raise InputError(
            f"{str(folder)!r} gives {windows * len(train)} prompts of {config.task.frames} frames from training seeds, but "
            f"--prompt-count is {config.task.prompt_count}; lower it or record more clips"
        )
    random = generator(config.rollout.seed, "prompts of", store.sha256)
    chosen = np.sort(random.permutation(windows * len(train))[: config.task.prompt_count])
    clips, starts = train[chosen // windows], chosen % windows * config.task.frames
    return store_prompts(store, clips, starts, config.task.frames, config.task.prefix)


def _recorded(config: TrainRun) -> Path:
    clips = -(-config.task.prompt_count * 10 // 7)  # 8 of 10 seeds are for training, and some clips show nothing
    folder = config.run.out.parent / f"prompts-{config.task.prompts.replace('/', '-')}-{clips}x{config.task.frames}"
    if not folder.exists():
        record(config.task.prompts, clips, DATA_SEED, str(folder), 1, config.task.frames)
    return folder


def _env_id(config: TrainRun, world: WorldModel) -> str:
    chosen = config.task.env or ENV_OF[world.kind]
    if chosen not in gym.registry:
        raise unknown("environment", chosen, [name for name in gym.registry if name.startswith("worldgym/")])
    if ("Token" in chosen) != (world.kind == "token"):
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
