"""Ranks with ties: an entry is only better than another when their intervals do not overlap.

- `ranks(scores, better)`: one rank per entry.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def ranks(scores: Sequence[Mapping[str, Any]], better: str) -> list[int | None]:
    """1 + how many entries have an interval wholly on the better side of this one's; equal ranks are ties.

    Args:
        scores: per entry "value", "low", "high" of one metric; null for an entry that failed.
        better: "higher" or "lower".

    Returns:
        A rank from 1 for each entry; None where there is no value.
    """
    spans = [_span(score, better) for score in scores]
    known = [span for span in spans if span]
    return [1 + sum(other[0] > span[1] for other in known) if span else None for span in spans]


def order(scores: Sequence[Mapping[str, Any]], better: str) -> list[int]:
    """Indices of entries from best to worst value; entries without a value last, all ties as they came."""
    sign = -1 if better == "higher" else 1
    return sorted(range(len(scores)), key=lambda i: _key(scores[i]["value"], sign))


def _key(value: float | None, sign: int) -> tuple[bool, float]:
    return (value is None, 0.0 if value is None else sign * value)


def _span(score: Mapping[str, Any], better: str) -> tuple[float, float] | None:
    """Low and high, turned so that higher is better; the value itself where there is no interval."""
    value = score["value"]
    if value is None:
        return None
    low, high = (value if score[key] is None else score[key] for key in ("low", "high"))
    return (low, high) if better == "higher" else (-high, -low)
