"""Where an environment's prompts come from: `find_prompts`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from worldgym.data import leaks
from worldgym.data.splits import seeds as split_seeds
from worldgym.errors import InputError
from worldgym.types import Prompts

COUNT = 64  # prompts rendered from the game when no seeds are given, or recordings read from a folder


def find_prompts(source: str | Prompts, seeds: Sequence[int] | None, frames: int, prefix: int) -> Prompts:
    """Prompts from a world's name, a clip store's folder, or as they are.

    Args:
        source: "doom-rooms": rendered from the game; a clip store's folder: the first frames of its training clips; a folder
            of Minecraft recordings (mp4 and jsonl): the first frames of its first 64; or `Prompts`.
        seeds: world seeds of the prompts to render; the first training seeds when left out.
        frames: T, prefix included.
        prefix: P frames that are given.
    """
    if isinstance(source, Prompts):
        leaks.check_ids(source.ids, "prompts")
        return _fitting(source, frames, prefix)
    if (Path(source) / "manifest.json").is_file():
        return _stored(str(source), frames, prefix)
    if next(Path(source).glob("*.mp4"), None):
        return _minecraft(str(source), frames, prefix)
    leaks.check_seeds(seeds or (), "prompt_seeds")
    seeds = split_seeds("train", 0, COUNT) if seeds is None else seeds
    if not len(seeds):
        raise InputError("prompt_seeds is empty; give at least one world seed, or leave it out")
    return _recorded(source, tuple(int(seed) for seed in seeds), frames, prefix)


@functools.lru_cache(maxsize=8)
def _recorded(world: str, seeds: tuple[int, ...], frames: int, prefix: int) -> Prompts:
    from worldgym.data.prompts import record_prompts  # the engine is loaded only where the game is played

    return record_prompts(world, seeds, frames, prefix)


@functools.lru_cache(maxsize=2)
def _minecraft(folder: str, frames: int, prefix: int) -> Prompts:
    from worldgym.data.vpt import validation_prompts  # the video library is loaded only where videos are read

    return validation_prompts(folder, COUNT, frames, prefix)


def _stored(folder: str, frames: int, prefix: int) -> Prompts:
    from worldgym.data.clips import ClipStore
    from worldgym.data.prompts import store_prompts

    store = ClipStore(folder)
    clips = np.asarray(store.split("train"))
    return store_prompts(store, clips, np.zeros(len(clips), np.int64), frames, prefix)


def _fitting(prompts: Prompts, frames: int, prefix: int) -> Prompts:
    found = (prompts.actions.shape[1] + 1, prompts.prefix.shape[1])
    if found != (frames, prefix):
        raise InputError(
            f"the prompts have {found[0]} frames, {found[1]} of them given, but the environment was asked for {frames} and "
            f"{prefix}; pass frames={found[0]}, prefix={found[1]}"
        )
    return prompts
