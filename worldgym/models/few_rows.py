"""Layers whose answer for a row does not depend on how many rows are asked: `steady`."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

ENOUGH = 4  # rows per thread from which MKL multiplies matrices
MOST_THREADS = 4  # padding for more would cost more than it brings


def steady(layer: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """`layer(x)` for a layer that works row by row: (…, D) -> (…, E), the same bits for a row alone and among others.

    A product of fewer than 4 rows takes a CPU's road for vectors, which adds in another order; a product of 4 rows has the
    bits of one of 4,000. So few rows are filled up with zeros. A world model that steps one frame at a time has one row of
    conditions per video, where recomputing has hundreds: without this the log-probs of the two, sums over more than a thousand
    dimensions, differ by up to 2e-4. On a GPU the layer is called as it is.
    """
    if x.device.type != "cpu":
        return layer(x)
    rows = x.flatten(0, -2)
    missing = ENOUGH * min(torch.get_num_threads(), MOST_THREADS) - len(rows)
    if missing <= 0:
        return layer(x)
    return layer(F.pad(rows, (0, 0, 0, missing)))[: len(rows)].unflatten(0, x.shape[:-1])
