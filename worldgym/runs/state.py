"""What saving and resuming have in common, whatever a run trains.

- `beside(tensor, parameter)`: an optimizer's moment where it was.
- `compare(old, new, free)`: whether a run may go on with these settings.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import torch
from torch import nn

from worldgym.errors import InputError
from worldgym.runs.ranks import cut_like


def beside(tensor: torch.Tensor, parameter: nn.Parameter) -> torch.Tensor:
    """A moment on its parameter's device, in its memory layout, so that sums run in the same order as before."""
    return torch.empty_like(parameter, requires_grad=False).copy_(cut_like(tensor.to(parameter.device), parameter))


def compare(old: Mapping[str, Any], new: Mapping[str, Any], free: Collection[str]) -> None:
    """Raise InputError where a run's settings differ from those it was started with, but for the `free` ones."""
    for name in sorted((set(old) | set(new)) - set(free)):  # older runs also wrote down what is free by now
        if old.get(name) != new.get(name):
            raise InputError(
                f"cannot resume: the run was started with {name} = {old.get(name)!r}, now it is {new.get(name)!r}; "
                "give the old value or another --out"
            )
