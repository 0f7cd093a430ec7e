"""Records a clip store with any number of processes: byte-identical, resumable, atomic.

Clip i has its own world seed, so nobody's work depends on anybody else's. Clips are written in order into `OUT.partial`
with a small file that says how many are safely on disk; a killed run goes on from there, and the folder gets its real name
only when everything, hash included, is done.
"""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import multiprocessing
import os
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits
from tqdm import tqdm

from worldgym.data.clips import ARRAYS, FORMAT, columns, content_hash
from worldgym.errors import InputError, unknown
from worldgym.files import claimed, write_json
from worldgym.worlds.doom import WORLDS
from worldgym.worlds.held import open_recorder
from worldgym.worlds.recorder import Play, Recorder

SEED_STRIDE = 10_000_000  # world seed of clip i is SEED_STRIDE * seed + i
CHUNK = 32  # clips between two marks of progress


def world_seeds(seed: int, clips: int) -> list[int]:
    """World seeds of a data set. Test suites use seeds from 900,000,000 on, which no data set reaches."""
    if not 0 <= seed < 90:
        raise InputError(f"--seed is {seed}; it must be from 0 to 89 (from 90 on world seeds belong to test suites)")
    if not 0 < clips <= SEED_STRIDE:
        raise InputError(f"--clips is {clips}; it must be from 1 to {SEED_STRIDE}")
    return list(range(SEED_STRIDE * seed, SEED_STRIDE * seed + clips))


def record(world: str, clips: int, seed: int, out: str, workers: int = 1, frames: int = 32, player: str = "scripted") -> str:
    """Record a store; returns its hash. An interrupted run with the same arguments goes on where it was.

    Args:
        world: name, as "doom-rooms".
        clips: number of clips N.
        seed: of the data set, 0 to 89.
        out: folder to make.
        workers: processes; the data do not depend on it.
        frames: per clip, T.
        player: "scripted", or a kind of held actions, see `worldgym.worlds.held`.
    """
    if frames < 2 or workers < 1:
        raise InputError(f"--frames is {frames} and --workers is {workers}; at least 2 frames and 1 worker are needed")
    target = Path(out)
    if target.exists():
        raise InputError(f"the output {out!r} exists already; name another folder or remove it")
    recipe = {"world": world, "clips": clips, "seed": seed, "frames": frames, **_versions(world)}
    if player != "scripted":
        recipe["player"] = player
    seeds = world_seeds(seed, clips)
    with claimed(target.with_name(f"{target.name}.partial")):
        return _record(target, recipe, seeds, workers)


def _record(target: Path, recipe: dict, seeds: list[int], workers: int) -> str:
    """Record into `target`'s partial folder and give that its name; the hash."""
    world, frames, clips, player = recipe["world"], recipe["frames"], len(seeds), recipe.get("player", "scripted")
    partial = target.with_name(f"{target.name}.partial")
    arrays, done = _open_partial(partial, recipe, world, seeds[0], player)
    # One BLAS thread: the player's small matrices only lose time on several.
    with threadpool_limits(1), _plays(world, frames, workers, seeds[done:], player) as plays:
        bar = tqdm(plays, total=clips, initial=done, desc="recording", unit="clip")
        for index, play in enumerate(bar, start=done):
            for name, value in columns(play).items():
                arrays[name][index] = value
            if (index + 1) % CHUNK == 0:
                _mark(partial, arrays, recipe, index + 1)
    _mark(partial, arrays, recipe, clips)
    digest = content_hash(arrays)
    visible = int(arrays["visible"].sum())
    write_json(partial / "manifest.json", {**recipe, "format": FORMAT, "visible": visible, "sha256": digest})
    os.rename(partial, target)
    (target / "progress.json").unlink()
    return digest


def _versions(world: str) -> dict:
    """What else decides about the bytes, as JSON."""
    if world not in WORLDS:
        raise unknown("world", world, WORLDS)
    return {
        "spec": WORLDS[world].spec,
        "config": dataclasses.asdict(WORLDS[world]),
        "versions": {"vizdoom": importlib.metadata.version("vizdoom"), "numpy": np.__version__},
    }


def _open_partial(folder: Path, recipe: dict, world: str, first_seed: int, player: str) -> tuple[dict[str, np.ndarray], int]:
    """The arrays to write into and how many clips they hold already."""
    progress = folder / "progress.json"
    state = json.loads(progress.read_text(encoding="utf-8")) if progress.exists() else None
    if state is not None and state["recipe"] == json.loads(json.dumps(recipe)):
        return {name: np.load(folder / f"{name}.npy", mmap_mode="r+") for name in ARRAYS}, state["done"]
    for left in folder.iterdir():  # what is in it, and not the folder itself, which this command holds
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    recorder = open_recorder(world, player)
    example = columns(recorder.play(first_seed, recipe["frames"]))
    recorder.close()
    arrays = {}
    for name, value in example.items():
        path, shape = folder / f"{name}.npy", (recipe["clips"], *np.shape(value))
        arrays[name] = np.lib.format.open_memmap(path, "w+", np.asarray(value).dtype, shape)
        _reserve(path)
    return arrays, 0


def _reserve(path: Path) -> None:
    """Take the file's space now: on a full disk a mapped file would otherwise kill the process without a word."""
    if hasattr(os, "posix_fallocate"):
        with open(path, "r+b") as file:
            try:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from None


def _mark(folder: Path, arrays: dict[str, np.ndarray], recipe: dict, done: int) -> None:
    for array in arrays.values():
        array.flush()
    write_json(folder / "progress.json", {"recipe": recipe, "done": done})


@contextlib.contextmanager
def _plays(world: str, frames: int, workers: int, seeds: list[int], player: str) -> Iterator[Iterator[Play]]:
    """Plays in the order of their seeds, made by one process or several."""
    if workers == 1:
        recorder = open_recorder(world, player)
        try:
            yield (recorder.play(seed, frames) for seed in seeds)
        finally:
            recorder.close()
        return
    context = multiprocessing.get_context("spawn")  # an open engine can't be forked
    with ProcessPoolExecutor(workers, context, _start_worker, (world, player)) as pool:
        try:
            yield pool.map(_play, seeds, [frames] * len(seeds), chunksize=4)
        finally:
            pool.shutdown(cancel_futures=True)


_recorder: Recorder | None = None  # one per worker process


def _start_worker(world: str, player: str) -> None:
    global _recorder
    threadpool_limits(1)
    _recorder = open_recorder(world, player)
    threading.Thread(target=_leave_with_parent, daemon=True).start()


def _leave_with_parent() -> None:
    """When the run is killed, end this process, and with it its engine."""
    multiprocessing.parent_process().join()
    os._exit(1)


def _play(seed: int, frames: int) -> Play:
    return _recorder.play(seed, frames)
