"""Values of a row, and back: numbers, label columns, features; and the usual scores over rows.

- `number`, `columns`, `labels`, `pack`, `unpack`: what JSON rows are made of.
- `clipwise(rows, key, bootstrap, by)`: the mean of one number per clip, over all and per condition.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldgym.eval.results.statistics import Bootstrap, Score


def number(value: float) -> float | None:
    """A JSON number, rounded to 9 digits after the point; None for NaN and infinities."""
    return round(float(value), 9) if np.isfinite(value) else None


def columns(names: Sequence[str], labels: np.ndarray) -> dict[str, str]:
    """Labels (T, A) as one text of numbers per column."""
    return {name: " ".join(map(str, labels[:, column])) for column, name in enumerate(names)}


def labels(names: Sequence[str], value: Mapping[str, str]) -> np.ndarray:
    """The inverse of `columns`: (T, A) int64."""
    return np.array([list(map(int, value[name].split())) for name in names], np.int64).T


def pack(values: np.ndarray) -> str:
    """(D,) numbers as base64 of little-endian float16: compact, and what scores are computed from."""
    return base64.b64encode(np.asarray(values, "<f2").tobytes()).decode()


def unpack(text: str) -> np.ndarray:
    """The inverse of `pack`: (D,) float64."""
    return np.frombuffer(base64.b64decode(text), "<f2").astype(float)


def values(rows: Sequence[Mapping[str, Any]], key: str) -> np.ndarray:
    """(N,) row["scores"][key]; NaN for None and where a row has none."""
    numbers = [row["scores"].get(key) for row in rows]
    return np.array([np.nan if value is None else value for value in numbers], float)


def clipwise(
    rows: Sequence[Mapping[str, Any]], key: str, bootstrap: Bootstrap, by: str = ""
) -> tuple[Score, dict[str, Score]]:
    """The mean over clips of row["scores"][key], with IQM and interval, and the same per value of a condition.

    Args:
        rows: of the result.
        key: which number.
        bootstrap: the draws.
        by: name of a condition; "" for no groups.

    Returns:
        Over all clips, and value of the condition -> over the clips that have it; the mean is NaN where a value is missing.
    """
    numbers = values(rows, key)
    if not by:
        return bootstrap.mean(numbers), {}
    kinds = np.array([row.get("condition", {}).get(by, "") for row in rows])
    return bootstrap.mean(numbers), {kind: bootstrap.mean_where(numbers, kinds == kind) for kind in sorted(set(kinds))}


def plain(score: Score) -> dict[str, float | None]:
    """Value, interval and, where there is one, interquartile mean; None where there is no value."""
    shown = {name: number(getattr(score, name)) for name in ("value", "low", "high", "iqm")}
    if shown["iqm"] is None:
        del shown["iqm"]
    return shown
