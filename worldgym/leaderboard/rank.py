"""Ranks with ties: an entry is better than another when the paired interval of their difference leaves out zero.

- `ranks(candidates, protocol)`: one rank per entry. `order(values, better)`: from best to worst. `RULE`: the rule, in words.

Entries answer the same clips, so every resample draws the same clips for both, over the seeds that both have; what makes a
clip easy or hard falls out of the difference. Intervals of single entries may overlap although one is better on nearly all
clips.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldgym.eval import protocols
from worldgym.eval.protocols.base import Protocol
from worldgym.eval.results import scores as all_scores
from worldgym.eval.results.statistics import interval

RULE = (
    "From the best value down, an entry ties with the first one of the rank above when the paired bootstrap interval of their "
    "difference, over the clips of the seeds that both have, holds zero; otherwise its rank is its place."
)


@dataclasses.dataclass(frozen=True, eq=False)
class Candidate:
    """Who is ranked.

    Attributes:
        value: of the metric that ranks; None for an entry that failed.
        rows: seed -> rows.
    """

    value: float | None
    rows: Mapping[int, Sequence[Mapping[str, Any]]]


class Pairs:
    """Paired comparisons under one suite; resamples of an entry under a set of seeds are made once.

    Args:
        protocol: of the suite.
    """

    def __init__(self, protocol: Protocol):
        self.better, self.name = protocol.metrics[protocol.suite.metrics[0]].better, protocol.suite.metrics[0]
        self.protocol = protocols.load(dataclasses.replace(protocol.suite, metrics=(self.name,)))
        self.made: dict[tuple[int, tuple[int, ...]], np.ndarray | None] = {}

    def beats(self, one: Candidate, other: Candidate) -> bool:
        """Is the first one better than the other? False where nothing can be said."""
        seeds = tuple(sorted(one.rows.keys() & other.rows.keys()))
        a, b = (self._samples(candidate, seeds) for candidate in (one, other))
        if not seeds or a is None or b is None:
            return False
        low, high = interval(a - b, self.protocol.suite.bootstrap.level)
        return low > 0 if self.better == "higher" else high < 0

    def _samples(self, one: Candidate, seeds: tuple[int, ...]) -> np.ndarray | None:
        """(R,) the metric of every resample; None for an entry with holes."""
        key = (id(one), seeds)
        if key not in self.made:
            rows = [row for seed in seeds for row in one.rows[seed]]
            whole = seeds and not all_scores.failed(rows)
            self.made[key] = self._resampled(one, seeds, rows) if whole else None
        return self.made[key]

    def _resampled(self, one: Candidate, seeds: tuple[int, ...], rows: list) -> np.ndarray | None:
        bootstrap = all_scores.bootstrap_of(self.protocol, seeds, [len(one.rows[seed]) for seed in seeds])
        return self.protocol.scores(rows, bootstrap)[self.name].score.samples


def ranks(candidates: Sequence[Candidate], protocol: Protocol) -> list[int | None]:
    """A rank from 1 for each entry, by `RULE`; None where there is no value."""
    pairs, found = Pairs(protocol), dict[int, int]()
    leader = -1
    for place, index in enumerate(order([one.value for one in candidates], pairs.better), 1):
        if candidates[index].value is None:
            break
        if leader < 0 or pairs.beats(candidates[leader], candidates[index]):
            leader, rank = index, place
        found[index] = rank
    return [found.get(index) for index in range(len(candidates))]


def order(values: Sequence[float | None], better: str) -> list[int]:
    """Indices of entries from best to worst value; entries without a value last, all ties as they came."""
    sign = -1 if better == "higher" else 1
    return sorted(range(len(values)), key=lambda i: (values[i] is None, 0.0 if values[i] is None else sign * values[i]))
