"""Where prompts come from: the one place that environments, training and a run's recipe ask.

- `find_prompts(source, …)`: what an environment is prompted with, from a world, a folder, or a run's recipe.
- `prompt_folder(source, …)`, `choose_prompts(folder, …)`: what a training run is prompted with.
- `prompt_arguments(folder, prompts)`: arguments of an environment that make these very prompts again.

Evaluation takes the seeds of its suites to the same functions below: `worldgym.data.prompts.record_prompts` and
`worldgym.data.vpt.validation_windows`.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldgym.data import leaks
from worldgym.data.prompt_recipe import Game, PromptRecipe, digest
from worldgym.data.splits import seeds as split_seeds
from worldgym.errors import InputError
from worldgym.rng import generator
from worldgym.types import Prompts

COUNT = 64  # prompts rendered from the game when no seeds are given, or recordings read from a folder
DATA_SEED = 7  # of prompts that are recorded for a run; world seeds from 70,000,000 on, far from those of any suite


def find_prompts(
    source: str | Prompts,
    seeds: Sequence[int] | None,
    frames: int,
    prefix: int,
    recipe: Mapping[str, Any] | None = None,
) -> Prompts:
    """Prompts from a world's name, a folder, a run's recipe, or as they are.

    Args:
        source: "doom-rooms": rendered from the game; a clip store's folder: the first frames of its training clips; a folder
            of Minecraft recordings (mp4 and jsonl): the first frames of its first 64; or `Prompts`. With a recipe, the
            folder that its prompts are windows of; where it is gone, the game plays them again, if it made them.
        seeds: world seeds of the prompts to render; the first training seeds when left out.
        frames: T, prefix included.
        prefix: P frames that are given.
        recipe: JSON values of a `PromptRecipe`: these very prompts and no others.

    Raises:
        InputError: the prompts do not fit, or those of the recipe are neither there nor made again; says what is missing.
    """
    if isinstance(source, Prompts):
        leaks.check_ids(source.ids, "prompts")
        return _fitting(source, frames, prefix)
    if recipe is not None:
        wanted = PromptRecipe.read(recipe)
        leaks.check_ids(wanted.ids, "prompt_recipe")
        return _shortened(_again(str(source), wanted), frames, prefix)
    if _is_store(source):
        return _stored(str(source), frames, prefix)
    if _has_recordings(source):
        return _minecraft(str(source), frames, prefix)
    leaks.check_seeds(seeds or (), "prompt_seeds")
    return _recorded(source, tuple(seeds or split_seeds("train", 0, COUNT)), frames, prefix)


# --- for a training run --------------------------------------------------------------------------------------------------


def prompt_folder(source: str | Path, count: int, frames: int, beside: Path) -> Path:
    """The folder that a run's prompts are windows of: `source`, or one beside the run where a world is recorded once.

    Args:
        source: a clip store's folder, one of Minecraft recordings, or a world's name.
        count: B prompts.
        frames: T, prefix included.
        beside: folder in which recorded prompts are kept.
    """
    if _is_store(source) or _has_recordings(source):
        return Path(source)
    from worldgym.data.record import record

    clips = -(-count * 10 // 7)  # 8 of 10 seeds are for training, and some clips show nothing
    folder = beside / f"prompts-{str(source).replace('/', '-')}-{clips}x{frames}"
    if not folder.exists():
        record(str(source), clips, DATA_SEED, str(folder), 1, frames)
    return folder


def choose_prompts(folder: Path, count: int, frames: int, prefix: int, seed: int) -> Prompts:
    """`count` windows of training clips, by chance.

    Args:
        folder: a clip store's, or one of Minecraft recordings.
        count: B prompts.
        frames: T, prefix included.
        prefix: P frames that are given.
        seed: of the choice.

    Raises:
        InputError: there are too few training clips, or they are too short.
    """
    if _has_recordings(folder):
        from worldgym.data.vpt import training_prompts

        return training_prompts(folder, count, generator(seed, "prompts of", folder.name), frames, prefix)
    from worldgym.data.clips import ClipStore
    from worldgym.data.prompts import store_prompts

    store = ClipStore(folder)
    windows = max(store.frames.shape[1] // frames, 0)
    train = store.split("train")
    if windows * len(train) < count:
        raise InputError(
            f"{str(folder)!r} gives {windows * len(train)} prompts of {frames} frames from training seeds, but "
            f"--prompt-count is {count}; lower it or record more clips"
        )
    random = generator(seed, "prompts of", store.sha256)
    chosen = np.sort(random.permutation(windows * len(train))[:count])
    return store_prompts(store, train[chosen // windows], chosen % windows * frames, frames, prefix)


def prompt_arguments(folder: Path, prompts: Prompts) -> dict[str, Any]:
    """Arguments of an environment that is prompted with these very prompts, as JSON values.

    Args:
        folder: what they are windows of, see `prompt_folder`.
        prompts: B of them.
    """
    if _has_recordings(folder):
        recipe = PromptRecipe.of(prompts)
    else:
        from worldgym.data.clips import ClipStore

        store = ClipStore(folder)
        recipe = PromptRecipe.of(prompts, store.sha256, Game.of(store.manifest))
    return {"prompts": str(folder.resolve()), "prompt_recipe": recipe.values()}


# --- from a recipe -------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1)  # the batched and the single environment of one recipe share their prompts
def _again(folder: str, recipe: PromptRecipe) -> Prompts:
    """The prompts of a recipe, proven by their hash."""
    reasons = []
    for road in (_from_recordings,) if recipe.store is None else (_from_store, _from_game):
        try:
            prompts = road(folder, recipe)
        except InputError as error:
            reasons.append(str(error))
            continue
        if digest(prompts) == recipe.sha256:
            return prompts
        reasons.append(_DIFFERENT[road].format(folder=folder, versions=recipe.game and recipe.game.versions))
    raise InputError(
        f"the {len(recipe.ids)} prompts of the recipe cannot be had again: {', and '.join(reasons)}; "
        "put the folder back, or say where it is now, as in make_vec(recipe, prompts='/new/folder')"
    )


def _from_store(folder: str, recipe: PromptRecipe) -> Prompts:
    from worldgym.data.clips import ClipStore
    from worldgym.data.prompts import store_prompts

    wanted = f"the clip store with sha256 {recipe.store[:12]}…"
    if not _is_store(folder):
        raise InputError(f"{wanted} is missing, it is not at {folder!r}")
    store = ClipStore(folder)
    if store.sha256 != recipe.store:
        raise InputError(f"{wanted} is missing, at {folder!r} is another one ({store.sha256[:12]}…)")
    rows = {str(seed): row for row, seed in enumerate(store.seeds)}
    if any(seed not in rows for seed, _ in recipe.windows):
        raise InputError(_DIFFERENT[_from_store].format(folder=folder))
    clips, starts = zip(*((rows[seed], start) for seed, start in recipe.windows), strict=True)
    return store_prompts(store, np.array(clips), np.array(starts), recipe.frames, 1)


def _from_game(_folder: str, recipe: PromptRecipe) -> Prompts:
    if recipe.game is None:
        raise InputError("no game of this library made it, so it cannot be played again")
    from worldgym.data.prompts import play_windows

    windows = [(int(seed), start) for seed, start in recipe.windows]
    return play_windows(recipe.game, windows, recipe.frames, 1, "playing the prompts again")


def _from_recordings(folder: str, recipe: PromptRecipe) -> Prompts:
    from worldgym.data.vpt import window_prompts

    lost = next((name for name, _ in recipe.windows if not (Path(folder) / f"{name}.mp4").is_file()), None)
    if lost is not None:
        raise InputError(f"the recording {lost}.mp4 is missing in {folder!r}, and recordings cannot be played again")
    return window_prompts(folder, recipe.windows, recipe.frames, 1)


_DIFFERENT = {
    _from_store: "the clip store {folder!r} was changed after the prompts were taken from it",
    _from_game: "the game plays their world seeds differently here than where they were recorded ({versions})",
    _from_recordings: "the recordings in {folder!r} were changed after the prompts were taken from them",
}


def _shortened(prompts: Prompts, frames: int, prefix: int) -> Prompts:
    """The first T frames of a recipe's prompts, P of them given."""
    if frames > prompts.truth.shape[1]:
        raise InputError(f"the recipe's prompts have {prompts.truth.shape[1]} frames, but {frames} were asked for")
    truth = prompts.truth[:, :frames]
    return Prompts(truth[:, :prefix].copy(), prompts.actions[:, : frames - 1], truth, prompts.ids)


# --- without one ---------------------------------------------------------------------------------------------------------


def _is_store(folder: str | Path) -> bool:
    return (Path(folder) / "manifest.json").is_file()


def _has_recordings(folder: str | Path) -> bool:
    return not _is_store(folder) and any(Path(folder).glob("*.mp4"))


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
