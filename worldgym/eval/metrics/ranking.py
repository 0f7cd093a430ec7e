"""How well rewards put versions of a clip in their known order; a table is {version: (N,) rewards of N clips}.

- `above(left, right)`: 1 where left is larger, 0.5 for ties, so that a constant reward scores as chance.
- `by_share`, `against_truth`, `ignoring`: shares of pairs, per version. `correlation`: Spearman, per clip.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import rankdata

Table = Mapping[str, np.ndarray]


def above(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(N,) 1 where left > right, 0.5 where equal, 0 below."""
    return (np.sign(left - right) + 1) / 2


def by_share(rewards: Table, right: Table) -> dict[str, np.ndarray]:
    """Per version, (N,): the share of versions with more right actions that are above it; NaN where there is none.

    Args:
        rewards: of every version.
        right: share of right actions, of the versions for which it is known.
    """
    above_it = {}
    for worse in right:
        better = np.stack([right[other] > right[worse] + 1e-9 for other in right])
        won = np.stack([above(rewards[other], rewards[worse]) for other in right])
        with np.errstate(invalid="ignore"):
            values = (won * better).sum(0) / better.sum(0)
        if better.any(0).all():
            above_it[worse] = values
    return above_it


def against_truth(rewards: Table, versions: Sequence[str]) -> dict[str, np.ndarray]:
    """Per faulty version, (N,): whether the truth is above it."""
    return {name: above(rewards["truth"], rewards[name]) for name in versions}


def ignoring(rewards: Table, looks: Sequence[str], wrong: str = "all-wrong") -> dict[str, np.ndarray]:
    """Per change of looks, (N,): whether it changes the reward less than wrong actions do."""
    fall = np.abs(rewards["truth"] - rewards[wrong])
    return {name: above(fall, np.abs(rewards["truth"] - rewards[name])) for name in looks}


def correlation(rewards: Table, right: Table) -> np.ndarray:
    """(N,) Spearman's rank correlation over the versions of a clip; 0 where all rewards are equal."""
    names = list(right)
    left, known = (rankdata(np.stack([table[name] for name in names], 1), axis=1) for table in (rewards, right))
    left, known = (ranks - ranks.mean(1, keepdims=True) for ranks in (left, known))
    size = np.sqrt((left**2).sum(1) * (known**2).sum(1))
    return np.where(size > 0, (left * known).sum(1) / np.where(size > 0, size, 1), 0.0)
