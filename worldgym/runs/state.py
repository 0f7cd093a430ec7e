"""What saving and resuming have in common, whatever a run trains.

- `moments(owners)`, `set_moments(owners, saved)`: what optimizers remember, by the names of parameters.
- `parts(tensors)`: a file's tensors by the part of the run they belong to.
- `compare(old, new, free)`: whether a run may go on with these settings.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from worldgym.errors import InputError
from worldgym.runs.ranks import cut_like, whole

Owners = Iterable[tuple[str, nn.Parameter, torch.optim.Optimizer]]  # a parameter, its name and who moves it


def moments(owners: Owners) -> dict[str, Tensor]:
    """Optimizer state as "optimizer/<parameter>/<key>"; every process must ask, because it may lie in pieces."""
    return {
        f"optimizer/{name}/{key}": whole(torch.as_tensor(value))
        for name, parameter, optimizer in owners
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def set_moments(owners: Owners, saved: Mapping[str, Tensor]) -> None:
    """The way back, from "<parameter>/<key>"; a parameter of which nothing was saved starts anew."""
    for name, parameter, optimizer in owners:
        own = {key.removeprefix(f"{name}/"): t for key, t in saved.items() if key.startswith(f"{name}/")}
        if own:
            optimizer.state[parameter] = {k: t if k == "step" else _beside(t, parameter) for k, t in own.items()}


def parts(tensors: Mapping[str, Tensor]) -> dict[str, dict[str, Tensor]]:
    """Tensors named "<part>/<name>", by part."""
    found: dict[str, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        part, rest = name.split("/", 1)
        found.setdefault(part, {})[rest] = tensor
    return found


def compare(old: Mapping[str, Any], new: Mapping[str, Any], free: Collection[str]) -> None:
    """Raise InputError where a run's settings differ from those it was started with, but for the `free` ones."""
    for name in sorted((set(old) | set(new)) - set(free)):  # older runs also wrote down what is free by now
        if old.get(name) != new.get(name):
            raise InputError(
                f"cannot resume: the run was started with {name} = {old.get(name)!r}, now it is {new.get(name)!r}; "
                "give the old value or another --out"
            )


def _beside(tensor: Tensor, parameter: nn.Parameter) -> Tensor:
    """A moment on its parameter's device, in its memory layout, so that sums run in the same order as before."""
    return torch.empty_like(parameter, requires_grad=False).copy_(cut_like(tensor.to(parameter.device), parameter))
