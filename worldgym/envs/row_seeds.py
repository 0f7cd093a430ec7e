"""Seeds of a batch's rows: `RowSeeds`."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.utils import seeding

from worldgym.errors import InputError

LIMIT = 2**63  # seeds are shown as int64


class RowSeeds:
    """One seed per row and reset: given, or drawn from the row's own generator, which its last given seed started.

    A row draws what the single environment of that row would: `gymnasium.Env.np_random` after `reset(seed=…)`.

    Args:
        rows: B.
        seeds: (B,) that start the generators; fresh ones when left out.
    """

    def __init__(self, rows: int, seeds: Sequence[int] | None = None):
        fresh = np.random.SeedSequence().generate_state(rows, np.uint64)
        self._last = [int(seed) for seed in (fresh if seeds is None else seeds)]
        self._generators: list[np.random.Generator | None] = [None] * rows  # made when a row draws

    def draw(self, seed: Any) -> list[int]:
        """(B,) seeds of the next episode: from one number (row b gets seed + b), B of them, or None for a row that draws."""
        given = self._read(seed)
        return [self._drawn(row) if value is None else self._start(row, value) for row, value in enumerate(given)]

    def _read(self, seed: Any) -> list[int | None]:
        rows = len(self._last)
        if seed is None:
            return [None] * rows
        if np.ndim(seed) == 0:
            first = _number(seed)
            return [_number(first + row) for row in range(rows)]
        if np.ndim(seed) != 1 or len(seed) != rows:
            raise InputError(f"{len(seed)} seeds came for {rows} rows; give one number, or one per row")
        return [None if value is None else _number(value) for value in seed]

    def _start(self, row: int, seed: int) -> int:
        self._last[row], self._generators[row] = seed, None
        return seed

    def _drawn(self, row: int) -> int:
        if self._generators[row] is None:
            self._generators[row], _ = seeding.np_random(self._last[row])
        return int(self._generators[row].integers(2**31))


def _number(seed: Any) -> int:
    try:
        value = operator.index(seed)
    except TypeError:
        raise InputError(f"the seed {seed!r} is no whole number; give one number, one per row, or None") from None
    if not 0 <= value < LIMIT:
        raise InputError(f"the seed is {value}, but seeds go from 0 to {LIMIT - 1}")
    return value
