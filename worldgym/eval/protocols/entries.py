"""Entrants of a suite: models by name, path, own class or folder of finished videos, and baselines that need no training.

- `Generator`: the one method that a model has.
- `load(name, suite, device)`: an entrant that fits the suite. `generate_or_fail(...)`: its frames, checked.
- `attribute("module:name")`: somebody's own class or object.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from worldgym import files
from worldgym.data import leaks
from worldgym.errors import InputError
from worldgym.eval.protocols import sources
from worldgym.eval.protocols.local_sources import local_sources
from worldgym.eval.results.answers import Entrant, Question
from worldgym.eval.results.suite import Suite


class Generator(Protocol):
    """A world model as evaluation sees it.

    Optional attributes: `kind` (which sampling options of the suite it takes), `spec` (an ActionSpec).
    """

    def generate(self, prefix: np.ndarray, actions: np.ndarray, seeds: Sequence[int]) -> Any:
        """Frames (B, T, H, W, 3) uint8 that continue `prefix` (B, P, H, W, 3) uint8 under `actions` (B, T-1, A).

        `seeds` has one integer per row: a row's randomness comes from its own seed alone.
        """
        ...


class LastFrame:
    """A baseline that repeats the last given frame: perfect when nothing moves, and it follows no action."""

    kind = "baseline"

    def generate(self, prefix: np.ndarray, actions: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
        """See `Generator.generate`."""
        rest = np.repeat(prefix[:, -1:], actions.shape[1] + 1 - prefix.shape[1], axis=1)
        return np.concatenate([prefix, rest], axis=1)


BASELINES = {"last-frame": LastFrame}


def load(name: str, suite: Suite, device: str) -> Entrant:
    """A baseline; a model by zoo name or path; "package.module:Class"; or the folder of its finished videos.

    Raises:
        InputError: not a world model, or one that does not fit the suite.
    """
    if name in BASELINES:
        return Entrant(name, "baseline", BASELINES[name](), source="baseline")
    if is_attribute(name):
        return _own(name, suite, device)
    if is_folder_of_videos(name):
        from worldgym.eval.protocols import videos

        return Entrant(name, "videos", videos.Folder(name), weights=videos.folder_sha256(name), source="folder")
    from worldgym import zoo

    model = zoo.load(name, device=device)
    check(name, model, suite)
    return Entrant(name, model.kind, model, sampling(model, suite), weights(name), "zoo", leaked=_leaked(name))


def _leaked(name: str) -> bool:
    """Does the card beside a model's file say so? A damaged card is the loader's to complain about."""
    from worldgym import zoo

    try:
        return leaks.on_card(zoo.card(zoo.locate(name)))
    except (InputError, OSError):
        return False


def _own(name: str, suite: Suite, device: str) -> Entrant:
    found = attribute(name)
    model = found
    if isinstance(found, type) or not hasattr(found, "generate"):
        takes = inspect.signature(found).parameters
        model = found(device) if "device" in takes else found()
    if not callable(getattr(model, "generate", None)):
        raise InputError(f"{name!r} has no method generate(prefix, actions, seeds), so it is not a world model")
    if not hasattr(model, "kind"):
        model.kind = "model"
    check(name, model, suite)
    digest, modules = sources.sha256(name) or source_sha256(found), local_sources(found)
    return Entrant(name, model.kind, model, sampling(model, suite), digest, "module", modules=modules)


def is_attribute(name: str) -> bool:
    """Whether a name has the form "package.module:attribute"."""
    module, colon, attribute_name = name.partition(":")
    dotted = all(part.isidentifier() for part in module.split("."))
    return bool(colon) and dotted and attribute_name.isidentifier()


def attribute(name: str) -> Any:
    """What "package.module:attribute" names; modules of the folder in which the program runs are found too.

    Raises:
        InputError: no such module or attribute.
    """
    module, _, attribute_name = name.partition(":")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        imported = importlib.import_module(module)
    except ImportError as error:
        raise InputError(
            f"cannot import {module!r} of {name!r}: {error}; run the command in the folder that holds it"
        ) from None
    if not hasattr(imported, attribute_name):
        raise InputError(f"module {module!r} has no {attribute_name!r}")
    return getattr(imported, attribute_name)


def source_sha256(item: Any) -> str | None:
    """Hash of the source file of a class or object; None where Python knows none."""
    try:
        return files.sha256(inspect.getfile(item if inspect.isroutine(item) or isinstance(item, type) else type(item)))
    except (TypeError, OSError):
        return None


def is_folder_of_videos(name: str) -> bool:
    """A folder that is not a training run's."""
    folder = Path(name)
    return folder.is_dir() and not any((folder / file).is_file() for file in ("model.safetensors", "run.safetensors"))


def check(name: str, entry: Any, suite: Suite) -> None:
    """Raise InputError when a model cannot run in a suite, as far as that shows before it runs."""
    if not callable(getattr(entry, "generate", None)) or not hasattr(entry, "kind"):
        hint = f"; name one such as {suite.models[0]!r}" if suite.models else ""
        raise InputError(f"{name!r} is a {type(entry).__name__}, not a world model{hint}")
    spec = getattr(getattr(entry, "spec", None), "name", suite.spec)
    if spec != suite.spec:
        raise InputError(f"model {name!r} takes actions of spec {spec!r}, but suite {suite.name!r} gives {suite.spec!r}")
    size = _size(entry)
    if size and size != suite.size:
        raise InputError(
            f"model {name!r} makes frames of {size[0]}x{size[1]} pixels (height x width), "
            f"but suite {suite.name!r} has {suite.size[0]}x{suite.size[1]}"
        )
    longest = getattr(getattr(getattr(entry, "model", None), "config", None), "max_frames", suite.frames)
    if longest < suite.frames:
        raise InputError(f"model {name!r} makes at most {longest} frames, but suite {suite.name!r} asks for {suite.frames}")


def _size(entry: Any) -> tuple[int, int] | None:
    """Height and width of the frames that a model's codec makes, where it says so."""
    config = getattr(getattr(entry, "codec", None), "config", None)
    return (config.height, config.width) if hasattr(config, "height") and hasattr(config, "width") else None


def load_judge(suite: Suite, device: str) -> Any:
    """The suite's held-out judge of actions.

    Raises:
        InputError: not a judge, or one of another action spec.
    """
    from worldgym import zoo

    judge = zoo.load(suite.judge, device=device)
    if not (callable(getattr(judge, "labels", None)) and callable(getattr(judge, "features", None))):
        raise InputError(f"{suite.judge!r} is a {type(judge).__name__}, but suite {suite.name!r} needs a judge of actions")
    if judge.spec.name != suite.spec:
        raise InputError(f"judge {suite.judge!r} reads spec {judge.spec.name!r}, but suite {suite.name!r} has {suite.spec!r}")
    return judge


def sampling(entry: Any, suite: Suite) -> Mapping[str, Any]:
    """The suite's sampling options for this kind of model."""
    return suite.sampling.get(getattr(entry, "kind", ""), {})


def generate_or_fail(entrant: Entrant, tasks: Sequence[Question], seeds: Sequence[int]) -> list[np.ndarray | str]:
    """Per task frames (T, H, W, 3) uint8, or one sentence why there are none.

    A batch that raises is tried again clip by clip, so that one bad clip costs no other.
    """
    try:
        return list(generate(entrant, tasks, seeds))
    except Exception as error:  # whatever somebody's model raises is a result, not a reason to lose the run
        if len(tasks) == 1:
            text = " ".join(str(error).split())[:300]
            return [text if isinstance(error, InputError) else f"{type(error).__name__}: {text}"]
    return [answer for task, seed in zip(tasks, seeds, strict=True) for answer in generate_or_fail(entrant, [task], [seed])]


def generate(entrant: Entrant, tasks: Sequence[Question], seeds: Sequence[int]) -> np.ndarray:
    """Frames (B, T, H, W, 3) uint8 of tasks of one T, with the given frames put back as they were.

    Raises:
        InputError: frames of the wrong shape or dtype.
    """
    prefix, actions = (np.stack([getattr(task, name) for task in tasks]) for name in ("prefix", "actions"))
    if hasattr(entrant.player, "for_tasks"):  # finished videos are found by the clip's name
        frames = entrant.player.for_tasks([task.id for task in tasks], len(actions[0]) + 1, prefix.shape[2:4])
    else:
        frames = entrant.player.generate(prefix, actions, seeds, **entrant.sampling)
    frames = frames.cpu().numpy() if hasattr(frames, "cpu") else np.asarray(frames)
    batch, given = prefix.shape[:2]
    wanted = (batch, actions.shape[1] + 1, *prefix.shape[2:])
    if frames.shape != wanted or frames.dtype != np.uint8:
        raise InputError(
            f"model {entrant.name!r} returned {frames.dtype} frames of shape {frames.shape}, "
            f"but uint8 frames of shape {wanted} (B, T, H, W, 3) are needed"
        )
    return np.concatenate([prefix, frames[:, given:]], axis=1)


def weights(name: str) -> str:
    """sha256 of a model's or judge's file."""
    from worldgym import zoo

    return files.sha256(zoo.locate(name))
