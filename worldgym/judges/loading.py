"""Judges by name, for rooms that don't load models themselves: `load_judge`."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from worldgym.errors import InputError
from worldgym.judges.committee import committee
from worldgym.models import zoo


def load_judge(
    judge: str | Path | nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...], device: str | torch.device
) -> nn.Module:
    """A judge by zoo name or path, or as it is, on a device.

    Args:
        judge: the name, path or module; several names joined by "+" are a committee (`worldgym.judges.committee`).
        kind: the class it must be of, or several of which one.
        device: where to put it.

    Raises:
        InputError: it is something else.
    """
    module = _by_name(str(judge), device) if isinstance(judge, (str, Path)) else judge
    if not isinstance(module, kind):
        names = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise InputError(f"a judge of kind {names} is needed here, but got {type(module).__name__}")
    return module.to(device)


def _by_name(name: str, device: str | torch.device) -> nn.Module:
    if "+" not in name or Path(name).expanduser().exists():
        return zoo.load(name, device)
    return committee([zoo.load(part, device) for part in name.split("+")])
