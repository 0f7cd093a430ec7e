"""Precision, recall and F1 exactly as MineWorld publishes them: scikit-learn's macro and micro averages, zero_division=0.

It differs from `action_following.precision_recall_f1` in one point: a task in which nothing was ever given or read but
"null" counts, as 1, where ours leaves it out.
"""

from __future__ import annotations

import numpy as np


def macro(confusion: np.ndarray) -> np.ndarray:
    """Mean over the labels that were given or read.

    Args:
        confusion: (…, K, K) counts [given, read].

    Returns:
        (…, 3) precision, recall, F1.
    """
    confusion = np.asarray(confusion, float)
    right, given, read = np.diagonal(confusion, axis1=-2, axis2=-1), confusion.sum(-1), confusion.sum(-2)
    per_label = np.stack([_ratio(right, read), _ratio(right, given), _ratio(2 * right, given + read)], -1)
    occurs = (given + read > 0)[..., None]
    return _ratio((per_label * occurs).sum(-2), occurs.sum(-2))


def micro(confusion: np.ndarray) -> np.ndarray:
    """(…,) share of right labels, which is micro precision, recall and F1 at once."""
    confusion = np.asarray(confusion, float)
    return _ratio(np.diagonal(confusion, axis1=-2, axis2=-1).sum(-1), confusion.sum((-1, -2)))


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    top, bottom = np.broadcast_arrays(top, bottom)
    return np.divide(top, bottom, out=np.zeros(top.shape), where=bottom > 0)
