"""Layers as all world models call them.

- `attention`: scaled dot-product attention.
- `steady`: a layer whose answer for a row does not depend on how many rows are asked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

ENOUGH = 4  # rows per thread from which MKL multiplies matrices
MOST_THREADS = 4  # padding for more would cost more than it brings


def attention(q: Tensor, k: Tensor, v: Tensor, **options: Any) -> Tensor:
    """PyTorch's attention: (B, heads, n, d) queries over (B, heads, keys, d) -> (B, heads, n, d) of q's dtype.

    In half precision on a CPU the sums run in float64 and are rounded once. Kernels for one query and for many add in
    different order; in half precision their answers then differ in the last of 8 bits, and stepping a policy would disagree
    with recomputing it: |ratio - 1| up to .1 per code on the bundled token model, against 0 like this. On a GPU the kernels
    for half precision are used as they are: there compare a recomputed log-prob with a recomputed one.

    Args:
        q, k, v: queries, keys and values.
        options: of `torch.nn.functional.scaled_dot_product_attention`.
    """
    if q.device.type != "cpu" or q.dtype not in (torch.bfloat16, torch.float16):
        return F.scaled_dot_product_attention(q, k, v, **options)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.double(), k.double(), v.double(), **options).to(q.dtype)


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
