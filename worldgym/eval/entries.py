"""Who answers: models by name or path, and baselines that need no training.

- `Generator`: the one method that an entry has. `LastFrame`: the baseline that repeats the last given frame.
- `load(name, suite, device)`: an entry that fits the suite. `generate(...)`: its frames, checked. `weights(name)`: a hash.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from worldgym import files
from worldgym.errors import InputError
from worldgym.eval.suite import Suite


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
    """Repeats the last given frame: perfect when nothing moves, deaf to every action."""

    kind = "baseline"

    def generate(self, prefix: np.ndarray, actions: np.ndarray, seeds: Sequence[int]) -> np.ndarray:
        """See `Generator.generate`."""
        rest = np.repeat(prefix[:, -1:], actions.shape[1] + 1 - prefix.shape[1], axis=1)
        return np.concatenate([prefix, rest], axis=1)


BASELINES = {"last-frame": LastFrame}


def load(name: str, suite: Suite, device: str) -> Generator:
    """A baseline, or a model by zoo name or path.

    Raises:
        InputError: not a world model, or one that does not fit the suite.
    """
    if name in BASELINES:
        return BASELINES[name]()
    from worldgym.models import zoo

    entry = zoo.load(name, device=device)
    check(name, entry, suite)
    return entry


def check(name: str, entry: Any, suite: Suite) -> None:
    """Raise InputError when an entry cannot run in a suite, as far as that shows before it runs."""
    if not callable(getattr(entry, "generate", None)) or not hasattr(entry, "kind"):
        raise InputError(f"{name!r} is a {type(entry).__name__}, not a world model; name one such as {suite.models[0]!r}")
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
    """Height and width of the frames that an entry's codec makes, where it says so."""
    config = getattr(getattr(entry, "codec", None), "config", None)
    return (config.height, config.width) if hasattr(config, "height") and hasattr(config, "width") else None


def load_judge(suite: Suite, device: str) -> Any:
    """The suite's held-out judge.

    Raises:
        InputError: not a judge, or one of another action spec.
    """
    from worldgym.models import zoo

    judge = zoo.load(suite.judge, device=device)
    if not (callable(getattr(judge, "labels", None)) and callable(getattr(judge, "features", None))):
        raise InputError(f"{suite.judge!r} is a {type(judge).__name__}, but suite {suite.name!r} needs a judge of actions")
    if judge.spec.name != suite.spec:
        raise InputError(f"judge {suite.judge!r} reads spec {judge.spec.name!r}, but suite {suite.name!r} has {suite.spec!r}")
    return judge


def sampling(entry: Generator, suite: Suite) -> Mapping[str, Any]:
    """The suite's sampling options for this kind of entry."""
    return suite.sampling.get(getattr(entry, "kind", ""), {})


def generate(
    name: str, entry: Generator, prefix: np.ndarray, actions: np.ndarray, seeds: Sequence[int], options: Mapping[str, Any]
) -> np.ndarray:
    """An entry's frames (B, T, H, W, 3) uint8, with the given frames put back as they were.

    Raises:
        InputError: frames of the wrong shape or dtype.
    """
    frames = entry.generate(prefix, actions, seeds, **options)
    frames = frames.cpu().numpy() if hasattr(frames, "cpu") else np.asarray(frames)
    batch, given = prefix.shape[:2]
    wanted = (batch, actions.shape[1] + 1, *prefix.shape[2:])
    if frames.shape != wanted or frames.dtype != np.uint8:
        raise InputError(
            f"model {name!r} returned {frames.dtype} frames of shape {frames.shape}, "
            f"but uint8 frames of shape {wanted} (B, T, H, W, 3) are needed"
        )
    return np.concatenate([prefix, frames[:, given:]], axis=1)


def weights(name: str) -> str | None:
    """sha256 of a model's or judge's file; None for a baseline."""
    from worldgym.models import zoo

    return None if name in BASELINES else files.sha256(zoo.locate(name))
