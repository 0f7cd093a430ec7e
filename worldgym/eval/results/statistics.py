"""Confidence intervals: the percentile bootstrap over clips, vectorised.

- `Score`: a value with its interval. `Bootstrap`: which clips every resample drew; the same draws for every entry, so
  that entries can be compared in pairs.

A clip is the unit that is drawn, because steps of one clip are not independent (Efron and Tibshirani 1993, section 13.3).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np


@dataclasses.dataclass(frozen=True)
class Score:
    """A point estimate and its interval, and for means over clips the interquartile mean; NaN where there is no value."""

    value: float
    low: float = np.nan
    high: float = np.nan
    iqm: float = np.nan
    samples: np.ndarray | None = dataclasses.field(default=None, compare=False, repr=False)
    """(R,) the statistic of every resample; two entries that share their draws can be compared in pairs."""


def iqm(values: np.ndarray) -> float:
    """Interquartile mean of (N,): the mean without the lowest and the highest quarter (floor(N / 4) values each); NaN over a
    hole (Agarwal et al., arXiv 2108.13264)."""
    values = np.sort(np.asarray(values, float))
    cut = len(values) // 4
    return float(values[cut : len(values) - cut].mean()) if values.size and not np.isnan(values).any() else np.nan


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
    def draw(
        cls, clips: int | Sequence[int], resamples: int, rng: np.random.Generator, level: float = 0.95, refits: int = 200
    ) -> Bootstrap:
        """R resamples of N clips.

        Args:
            clips: N; or how many of them belong to each stratum (as a seed), one stratum after the other: then every
                resample draws as many from each.
            resamples: R.
            rng: the draws.
            level, refits: as in the class.
        """
        strata = [clips] if isinstance(clips, int) else list(clips)
        starts = np.cumsum([0, *strata])
        parts = [start + rng.integers(size, size=(resamples, size)) for start, size in zip(starts, strata, strict=False)]
        return cls(np.concatenate(parts, axis=1), level, refits)

    @functools.cached_property
    def counts(self) -> np.ndarray:
        """(R, N) float64: how often each resample holds each clip; a resample's sum is then one matrix product."""
        resamples, clips = self.indices.shape
        flat = self.indices + clips * np.arange(resamples)[:, None]
        return np.bincount(flat.ravel(), minlength=resamples * clips).reshape(resamples, clips).astype(float)

    def mean(self, values: np.ndarray) -> Score:
        """The mean over clips of one number per clip (N,)."""
        clips, values = len(values), np.asarray(values, float)
        return dataclasses.replace(self.summed(values, lambda total: total / clips), iqm=iqm(values))

    def mean_where(self, values: np.ndarray, chosen: np.ndarray) -> Score:
        """The mean of one number per clip (N,) over the clips that are chosen (N,) bool; NaN where none is."""
        parts = np.stack([np.where(chosen, values, 0.0), chosen.astype(float)], axis=1)
        if not chosen.any():
            return Score(np.nan)
        with np.errstate(invalid="ignore", divide="ignore"):  # a resample may hold none of them
            return dataclasses.replace(self.summed(parts, lambda sums: sums[:, 0] / sums[:, 1]), iqm=iqm(values[chosen]))

    def summed(self, parts: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray]) -> Score:
        """A statistic of a sum over clips, as F1 is of confusion matrices.

        Args:
            parts: (N, …), what each clip adds.
            statistic: (R, …) sums -> (R,) values.
        """
        sums = (self.counts @ parts.reshape(len(parts), -1)).reshape(-1, *parts.shape[1:])
        value = statistic(parts.sum(0, dtype=float)[None])[0]
        return self._score(value, statistic(sums))

    def refitted(self, statistic: Callable[[np.ndarray], float], value: float) -> Score:
        """A statistic that is computed anew from the clips of each resample, for the first `refits` resamples.

        The interval is moved so that the mean of the resamples falls on `value`: a distance between fitted distributions
        grows when a sample holds clips twice, and that shift comes from resampling, not from the model.

        Args:
            statistic: indices of clips (N,) -> number.
            value: the point estimate.
        """
        samples = np.array([statistic(rows) for rows in self.indices[: self.refits]])
        return self._score(value, samples - samples.mean() + value)

    def _score(self, value: float, samples: np.ndarray) -> Score:
        return Score(float(value), *interval(samples, self.level), samples=samples)


def interval(samples: np.ndarray, level: float) -> tuple[float, float]:
    """Percentile interval of (R,) resamples that holds the share `level`; holes are left out."""
    samples = samples[~np.isnan(samples)]
    if not samples.size:
        return np.nan, np.nan
    tail = (1 - level) / 2
    low, high = np.quantile(samples, (tail, 1 - tail))
    return float(low), float(high)
