"""What comes in from outside: `as_tensor`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldgym.errors import InputError


def as_tensor(value: Any, name: str) -> Tensor:
    """A tensor without its autograd graph from a tensor, or from whatever numpy reads as an array of numbers.

    Memory order, byte order and write protection do not matter.

    Raises:
        InputError: it is no array of numbers.
    """
    if isinstance(value, Tensor):
        return value.detach()
    try:
        array = np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{name} is no array of numbers: {error}") from None
    if array.dtype.kind not in "biufc":
        raise InputError(f"{name} has dtype {array.dtype}, but numbers are needed")
    return torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
