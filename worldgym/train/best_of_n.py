"""Best-of-N: train on the extremes of a group only, where the signal is (DanceGRPO, arXiv 2505.07818; WorldCompass)."""

from __future__ import annotations

import torch
from torch import Tensor

from worldgym.errors import InputError


def best_of_n(scores: Tensor, group_size: int, keep: int) -> Tensor:
    """Rows of the highest and the lowest scores of every group.

    Half of `keep` are the highest (one more if it is odd), half the lowest; of equal scores the earlier row counts as higher.
    A group lies whole in `scores`, so it is the same choice on one rank and on several.

    Args:
        scores: (B,), advantages or rewards; rows b G to b G + G - 1 are a group.
        group_size: G, divides B.
        keep: how many rows of a group stay, 1 to G; G keeps all.

    Returns:
        (B / G * keep,) int64 row numbers, ascending.
    """
    if group_size < 1 or scores.ndim != 1 or len(scores) % group_size:
        raise InputError(f"group_size is {group_size}, but it must divide the scores (B,), which are {tuple(scores.shape)}")
    if not 1 <= keep <= group_size:
        raise InputError(f"keep is {keep}, but from a group of {group_size} one can keep 1 to {group_size}")
    order = scores.unflatten(0, (-1, group_size)).argsort(dim=1, descending=True, stable=True)
    low = keep // 2
    kept = torch.cat([order[:, : keep - low], order[:, group_size - low :]], 1).sort(1).values
    first = torch.arange(0, len(scores), group_size, device=scores.device)
    return (kept + first[:, None]).flatten()
