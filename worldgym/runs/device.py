"""Which device a --device value means: `pick_device`."""

from __future__ import annotations

import torch

from worldgym.errors import InputError


def pick_device(name: str) -> torch.device:
    """The device for a --device value."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError):
        raise InputError(f"device {name!r} is not there; use --device cpu or auto") from None
