"""Scaled dot-product attention as all world models call it: `attention`."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


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
