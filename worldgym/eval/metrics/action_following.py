"""Action following: how far the actions that a judge reads from a video agree with those that were given.

- `confusions`: per clip and group, how often each given label was read as each label.
- `precision_recall_f1`: macro over labels, per group; `micro_f1`: over all steps; `over_groups`: the plain mean over groups
  (MineWorld's protocol).
- `camera_error`, `exact_match`, `group_accuracy`: one number per clip.

A group that the given actions never use (only "null") has no score and is left out, not counted as 1. Labels of all
frames of all clips are put together before a ratio is taken (MineWorld, arXiv 2504.08388, section 5.1).
"""

from __future__ import annotations

import numpy as np

from worldgym.actions import ActionSpec


def used_groups(given: np.ndarray, spec: ActionSpec) -> np.ndarray:
    """(groups,) bool: whether any given action (…, A) presses something of the group."""
    groups = given[..., : len(spec.groups)].reshape(-1, len(spec.groups))
    return (groups != 0).any(0)


def confusions(given: np.ndarray, predicted: np.ndarray, spec: ActionSpec) -> np.ndarray:
    """Counts of (given label, predicted label).

    Args:
        given: (N, T-1, A) labels that the video was asked to follow.
        predicted: (N, T-1, A) labels that the judge read.
        spec: says which columns are groups.

    Returns:
        (N, groups, K, K) int64 with K the largest number of labels; smaller groups are padded with zeros.
    """
    clips, groups = len(given), len(spec.groups)
    size = max(group.size for group in spec.groups)
    cell = np.arange(clips)[:, None, None] * groups + np.arange(groups)
    cell = (cell * size + given[..., :groups]) * size + predicted[..., :groups]
    return np.bincount(cell.ravel(), minlength=clips * groups * size**2).reshape(clips, groups, size, size)


def precision_recall_f1(confusion: np.ndarray) -> np.ndarray:
    """Macro averages over the labels that occur, as scikit-learn with zero_division=0.

    precision_k = tp_k / predicted_k, recall_k = tp_k / given_k, F1_k = 2 tp_k / (predicted_k + given_k); then the mean
    over the labels k that were given or predicted at least once.

    Args:
        confusion: (…, K, K) counts [given, predicted]; label 0 is "null".

    Returns:
        (…, 3) precision, recall, F1; NaN where only "null" was given.
    """
    confusion = np.asarray(confusion, float)
    right = np.diagonal(confusion, axis1=-2, axis2=-1)
    given, predicted = confusion.sum(-1), confusion.sum(-2)
    per_label = np.stack([_ratio(right, predicted), _ratio(right, given), _ratio(2 * right, given + predicted)], -1)
    occurs = (given + predicted > 0)[..., None]
    macro = _ratio((per_label * occurs).sum(-2), occurs.sum(-2))
    return np.where(given[..., 1:].sum(-1, keepdims=True) > 0, macro, np.nan)


def micro_f1(confusion: np.ndarray) -> np.ndarray:
    """Micro F1, as in scikit-learn: the share of right labels, which is also micro precision and micro recall.

    Args:
        confusion: (…, K, K) counts [given, predicted]; label 0 is "null".

    Returns:
        (…, 1); NaN where only "null" was given.
    """
    confusion = np.asarray(confusion, float)
    right = _ratio(np.diagonal(confusion, axis1=-2, axis2=-1).sum(-1), confusion.sum((-1, -2)))
    return np.where(confusion[..., 1:, :].sum((-1, -2)) > 0, right, np.nan)[..., None]


def over_groups(macro: np.ndarray) -> np.ndarray:
    """(…, groups, M) -> (…, M), the plain mean over the groups that are used; NaN when none is."""
    used = ~np.isnan(macro)
    mean = _ratio(np.where(used, macro, 0).sum(-2), used.sum(-2))
    return np.where(used.any(-2), mean, np.nan)


def camera_error(given: np.ndarray, predicted: np.ndarray, spec: ActionSpec) -> np.ndarray:
    """(N,) mean |bin predicted - bin given| over camera axes and steps; in bins (MineWorld's L1)."""
    axes = spec.camera_columns
    return np.abs(predicted[..., axes] - given[..., axes]).mean((1, 2))


def exact_match(given: np.ndarray, predicted: np.ndarray, spec: ActionSpec) -> np.ndarray:
    """(N,) share of steps at which ALL used groups were read as given (RLIR, arXiv 2509.23958, equation 3)."""
    used = np.flatnonzero(used_groups(given, spec))
    return (given[..., used] == predicted[..., used]).all(-1).mean(-1)


def group_accuracy(given: np.ndarray, predicted: np.ndarray, spec: ActionSpec) -> np.ndarray:
    """(N,) share of (step, used group) pairs that were read as given: the softer reading of RLIR's equation 3."""
    used = np.flatnonzero(used_groups(given, spec))
    if not used.size:
        return np.full(len(given), np.nan)
    return (given[..., used] == predicted[..., used]).mean((1, 2))


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """top / bottom, and 0 where bottom is 0."""
    top, bottom = np.broadcast_arrays(top, bottom)
    return np.divide(top, bottom, out=np.zeros(top.shape), where=bottom > 0)
