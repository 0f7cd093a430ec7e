"""From judged clips to scores: the table of metrics by name.

- `Judged`: what a suite's entry did and what the judge read from it. `METRICS`: every metric, by the name that suites use.
- `score(judged, bootstrap, names)`: all of a suite's metrics for one entry.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import numpy as np

from worldgym.actions import ActionSpec
from worldgym.errors import unknown
from worldgym.eval.metrics import action_following as following
from worldgym.eval.metrics.frechet import frechet
from worldgym.eval.metrics.psnr import psnr
from worldgym.eval.metrics.ssim import ssim
from worldgym.eval.statistics import Bootstrap, Score


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """One entry's clips after the judge has seen them.

    Attributes:
        spec: the action spec.
        given: (N, T-P, A) actions that led to the generated frames.
        predicted: (N, T-P, A) actions that the judge read.
        features: (N, D) the judge's features of each clip.
        truth_features: (N, D) the same of the true clips.
        frames: (N, T-P, H, W, 3) uint8, without the prefix.
        truth: (N, T-P, H, W, 3) uint8, without the prefix.
        is_truth: the frames are the true ones, so comparing them with the truth says nothing.
    """

    spec: ActionSpec
    given: np.ndarray
    predicted: np.ndarray
    features: np.ndarray
    truth_features: np.ndarray
    frames: np.ndarray
    truth: np.ndarray
    is_truth: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Scored:
    """One metric of one entry."""

    score: Score
    per_clip: np.ndarray | None = None
    """(N,) where the metric has a value per clip."""
    groups: Mapping[str, Score] = dataclasses.field(default_factory=dict)
    """Per action group, where the metric has one."""


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric as suites name it."""

    better: str
    """"higher" or "lower"."""
    of: Callable[[Judged, Bootstrap], Scored]
    """Computes it."""
    compares_with_truth: bool = False
    """Says nothing about the true frames themselves."""


def check(names: Iterable[str]) -> None:
    """Raise InputError when a metric does not exist."""
    for name in names:
        if name not in METRICS:
            raise unknown("metric", name, METRICS)


def score(judged: Judged, bootstrap: Bootstrap, names: Iterable[str]) -> dict[str, Scored]:
    """All metrics of one entry; NaN where a metric says nothing about it."""
    return {name: _score(METRICS[name], judged, bootstrap) for name in names}


def _score(metric: Metric, judged: Judged, bootstrap: Bootstrap) -> Scored:
    if metric.compares_with_truth and judged.is_truth:
        return Scored(Score(np.nan))
    return metric.of(judged, bootstrap)


def _ratio(column: int) -> Callable[[Judged, Bootstrap], Scored]:
    """Precision, recall or F1, over all groups and per group."""

    def of(judged: Judged, bootstrap: Bootstrap) -> Scored:
        parts = following.confusions(judged.given, judged.predicted, judged.spec)
        total = bootstrap.summed(parts, lambda sums: following.over_groups(following.precision_recall_f1(sums))[:, column])
        groups = {
            group.name: bootstrap.summed(parts[:, g], lambda sums: following.precision_recall_f1(sums)[:, column])
            for g, group in enumerate(judged.spec.groups)
        }
        return Scored(total, groups=groups)

    return of


def _clipwise(values: Callable[[Judged], np.ndarray]) -> Callable[[Judged, Bootstrap], Scored]:
    def of(judged: Judged, bootstrap: Bootstrap) -> Scored:
        per_clip = values(judged)
        return Scored(bootstrap.mean(per_clip), per_clip)

    return of


def _frechet(judged: Judged, bootstrap: Bootstrap) -> Scored:
    a, b = judged.features, judged.truth_features
    found = bootstrap.refitted(lambda rows: frechet(a[rows], b[rows]), frechet(a, b))
    return Scored(dataclasses.replace(found, low=max(found.low, 0.0)))  # moving the interval must not cross 0


def _read(values: Callable[[np.ndarray, np.ndarray, ActionSpec], np.ndarray]) -> Callable[[Judged, Bootstrap], Scored]:
    return _clipwise(lambda judged: values(judged.given, judged.predicted, judged.spec))


METRICS: dict[str, Metric] = {
    "f1": Metric("higher", _ratio(2)),
    "precision": Metric("higher", _ratio(0)),
    "recall": Metric("higher", _ratio(1)),
    "camera_error": Metric("lower", _read(following.camera_error)),
    "exact_match": Metric("higher", _read(following.exact_match)),
    "group_accuracy": Metric("higher", _read(following.group_accuracy)),
    "psnr": Metric("higher", _clipwise(lambda judged: psnr(judged.frames, judged.truth)), True),
    "ssim": Metric("higher", _clipwise(lambda judged: ssim(judged.frames, judged.truth)), True),
    "frechet_idm_heldout": Metric("lower", _frechet, True),
}
