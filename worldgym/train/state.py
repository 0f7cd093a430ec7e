"""Everything that changes in a run, in one file that is whole or not there.

- `collect(learner)`, `save(path, tensors, learner, progress, config)`, `restore(path, learner, config)`.
- `restore_part(path, name, module)`: one module of another run.

There is no generator state to keep: prompts, noise and subsets are functions of (seed, iteration).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worldgym.errors import InputError
from worldgym.models.files import checkpoint
from worldgym.runs.ranks import cut_like, whole
from worldgym.train.config import FREE, TrainRunConfig
from worldgym.train.learner import Learner


@dataclasses.dataclass
class Progress:
    """How far a run is: iterations done, seconds over all restarts."""

    iteration: int = 0
    seconds: float = 0.0


def collect(learner: Learner) -> dict[str, Tensor]:
    """Weights, averages and moments by name; every process must ask, because moments may lie in pieces."""
    tensors = {
        f"{part}/{name}": tensor for part, module in learner.modules().items() for name, tensor in module.state_dict().items()
    }
    return tensors | {f"optimizer/{name}/{key}": tensor for name, key, tensor in _moments(learner)}


def save(path: Path, tensors: Mapping[str, Tensor], learner: Learner, progress: Progress, config: Mapping[str, Any]) -> None:
    """Write what `collect` gave, and counts, atomically; `config` is what must match on resume."""
    counts = {"iteration": progress.iteration, "seconds": progress.seconds, "updates": learner.updates}
    checkpoint.write_tensors(path, tensors, {"training": {**counts, "config": dict(config)}})


def restore(path: Path, learner: Learner, config: TrainRunConfig) -> Progress:
    """Continue the run in `path`.

    Raises:
        InputError: the file holds no run, or one that was started with other settings; names them.
    """
    tensors, metadata = checkpoint.read_tensors(path)
    if "training" not in metadata:
        raise InputError(f"{str(path)!r} holds no training state; resume from a run's folder")
    found = metadata["training"]
    _compare({**config.defaults(), **found["config"]}, config.fixed())  # older versions knew fewer settings
    parts: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, rest = name.split("/", 1)
        parts.setdefault(part, {})[rest] = tensor
    for part, module in learner.modules().items():
        module.load_state_dict(parts[part])
    learner.ranks.push(learner.policy, learner.scorer)
    _set_moments(learner, parts.get("optimizer", {}))
    learner.updates = found["updates"]
    return Progress(found["iteration"], found["seconds"])


def restore_part(path: Path, name: str, module: nn.Module) -> None:
    """Give a module the weights that it had in another run, whose `path` is.

    Raises:
        InputError: the file holds no such part, or one of other shapes.
    """
    tensors, _ = checkpoint.read_tensors(path)
    found = {key.removeprefix(f"{name}/"): tensor for key, tensor in tensors.items() if key.startswith(f"{name}/")}
    own = module.state_dict()
    if {key: t.shape for key, t in found.items()} != {key: t.shape for key, t in own.items()}:
        what = "one of other shapes" if found else "none"
        raise InputError(f"{str(path)!r} has {what} where the {name} of this run would go on; name a run with --{name}")
    module.load_state_dict(found)


def _moments(learner: Learner) -> list[tuple[str, str, Tensor]]:
    state = learner.optimizer.state
    return [
        (name, key, whole(torch.as_tensor(value)))
        for name, parameter in learner.trained().items()
        for key, value in state.get(parameter, {}).items()
    ]


def _set_moments(learner: Learner, moments: Mapping[str, Tensor]) -> None:
    for name, parameter in learner.trained().items():
        own = {key.removeprefix(f"{name}/"): t for key, t in moments.items() if key.startswith(f"{name}/")}
        if own:
            learner.optimizer.state[parameter] = {k: t if k == "step" else _beside(t, parameter) for k, t in own.items()}


def _beside(tensor: Tensor, parameter: nn.Parameter) -> Tensor:
    """A moment on its parameter's device, in its memory layout, so that sums run in the same order as before."""
    return torch.empty_like(parameter, requires_grad=False).copy_(cut_like(tensor.to(parameter.device), parameter))


def _compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for name in sorted((set(old) | set(new)) - set(FREE)):
        if old.get(name) != new.get(name):
            raise InputError(
                f"cannot resume: the run was started with {name} = {old.get(name)!r}, now it is {new.get(name)!r}; "
                "give the old value or another --out"
            )
