"""Confidence intervals: the percentile bootstrap over clips, vectorised.

- `Score`: a value with its interval. `Bootstrap`: which clips every resample drew; the same draws for every entry, so
  that entries can be compared in pairs.

A clip is the unit that is drawn, because steps of one clip are not independent (Efron and Tibshirani 1993, section 13.3).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable

import numpy as np


@dataclasses.dataclass(frozen=True)
class Score:
    """A point estimate and its interval; NaN where nothing can be said."""

    value: float
    low: float = np.nan
    high: float = np.nan


@dataclasses.dataclass(frozen=True, eq=False)
class Bootstrap:
    """The draws of R resamples of N clips.

    Attributes:
        indices: (R, N) int64, which clips each resample drew, with replacement.
        level: share of resamples inside the interval.
        refits: how many of the resamples `refitted` uses.
    """

    indices: np.ndarray
    level: float = 0.95
    refits: int = 200

    @classmethod
    def draw(cls, clips: int, resamples: int, rng: np.random.Generator, level: float = 0.95, refits: int = 200) -> Bootstrap:
        """R resamples of N clips."""
        return cls(rng.integers(clips, size=(resamples, clips)), level, refits)

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """(R, N) float64: how often each resample holds each clip; a resample's sum is then one matrix product."""
        resamples, clips = self.indices.shape
        flat = self.indices + clips * np.arange(resamples)[:, None]
        return np.bincount(flat.ravel(), minlength=resamples * clips).reshape(resamples, clips).astype(float)

    def mean(self, values: np.ndarray) -> Score:
        """The mean over clips of one number per clip (N,)."""
        clips = len(values)
        return self.summed(np.asarray(values, float), lambda total: total / clips)

    def summed(self, parts: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> Score:
        """A statistic of a sum over clips, as F1 is of confusion matrices.

        Args:
            parts: (N, …), what each clip adds.
            statistic: (R, …) sums -> (R,) values.
        """
        sums = (self.counts @ parts.reshape(len(parts), -1)).reshape(-1, *parts.shape[1:])
        value = statistic(parts.sum(0, dtype=float)[None])[0]
        return Score(float(value), *self._interval(statistic(sums)))

    def refitted(self, statistic: Callable[[np.ndarray], float], value: float) -> Score:
        """A statistic that is computed anew from the clips of each resample, for the first `refits` resamples.

        The interval is moved so that the mean of the resamples falls on `value`: a distance between fitted distributions
        grows when a sample holds clips twice, and that shift is the resampling's, not the model's.

        Args:
            statistic: indices of clips (N,) -> number.
            value: the point estimate.
        """
        samples = np.array([statistic(rows) for rows in self.indices[: self.refits]])
        return Score(float(value), *self._interval(samples - samples.mean() + value))

    def _interval(self, samples: np.ndarray) -> tuple[float, float]:
        samples = samples[~np.isnan(samples)]
        if not samples.size:
            return np.nan, np.nan
        tail = (1 - self.level) / 2
        low, high = np.quantile(samples, (tail, 1 - tail))
        return float(low), float(high)
