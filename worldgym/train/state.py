"""Everything that changes in a run, in one file that is whole or not there.

- `collect(update)`, `save(path, tensors, update, progress, config)`, `restore(path, update, config)`.

There is no generator state to keep: prompts, noise and subsets are functions of (seed, iteration).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from worldgym.errors import InputError
from worldgym.models.files import checkpoint
from worldgym.runs.state import compare, moments, parts, set_moments
from worldgym.train.config import FORMAT, FREE, TrainRun
from worldgym.train.update import Update


@dataclasses.dataclass
class Progress:
    """How far a run is: iterations done, seconds over all restarts."""

    iteration: int = 0
    seconds: float = 0.0


def collect(update: Update) -> dict[str, Tensor]:
    """Weights, averages and moments by name; every process must ask, because moments may lie in pieces."""
    tensors = {
        f"{part}/{name}": tensor for part, module in update.modules().items() for name, tensor in module.state_dict().items()
    }
    return tensors | moments(update.owners())


def save(path: Path, tensors: Mapping[str, Tensor], update: Update, progress: Progress, config: Mapping[str, Any]) -> None:
    """Write what `collect` gave, and counts, atomically; `config` is what must match on resume."""
    counts = {"iteration": progress.iteration, "seconds": progress.seconds, "updates": update.updates}
    checkpoint.write_tensors(path, tensors, {"training": {**counts, "config": dict(config)}})


def restore(path: Path, update: Update, config: TrainRun) -> Progress:
    """Continue the run in `path`.

    Raises:
        InputError: the file holds no run, or one that was started with other settings; names them.
    """
    tensors, metadata = checkpoint.read_tensors(path)
    if "training" not in metadata:
        raise InputError(f"{str(path)!r} holds no training state; resume from a run's folder")
    found = metadata["training"]
    if found["config"].get("format") != FORMAT:
        raise InputError(f"the run in {str(path)!r} is of another version of worldgym, which this one cannot go on with")
    compare(found["config"], config.fixed(), FREE)
    saved = parts(tensors)
    for part, module in update.modules().items():
        module.load_state_dict(saved[part])
    update.ranks.push(update.policy, update.scorer)
    set_moments(update.owners(), saved.get("optimizer", {}))
    update.updates = found["updates"]
    return Progress(found["iteration"], found["seconds"])
