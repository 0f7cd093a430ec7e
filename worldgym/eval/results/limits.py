"""What the rows of a suite can hold: labels that exist, as many as there are steps, and numbers that are numbers.

- `problems(suite, rows)`: what cannot be, one short text each. `ranges()`: of every metric, as the schema declares them.

The schema knows no suite, so that it cannot know how many labels a column has. A label beyond them would index, or size, an
array.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from worldgym.actions import spec as action_spec
from worldgym.eval.results import rows as row_values
from worldgym.eval.results import schema
from worldgym.eval.results.suite import Suite

COLUMNS = ("given", "predicted", "second")
LISTS = {"labels": 80, "clear": 1}  # key -> the largest value: 81 camera labels, and whether one is clear
PACKED = ("features", "truth_features", "motion", "quality")
MOST = 100_000  # numbers of one list


def ranges() -> dict[str, tuple[float, float]]:
    """Metric -> the lowest and highest value that it can have."""
    published = schema.published()
    names = published["properties"]["scores"]["properties"]
    return {name: _range(published["$defs"][part["$ref"].rpartition("/")[2]]) for name, part in names.items()}


def _range(score: Mapping[str, Any]) -> tuple[float, float]:
    value = score["properties"]["value"]
    return value["minimum"], value["maximum"]


def problems(suite: Suite, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Places that no clip of the suite can hold, as "doom-rooms/7/0 predicted/yaw"."""
    return [f"{row['id']} {place}" for row in rows for place in _places(suite, row)]


def _places(suite: Suite, row: Mapping[str, Any]) -> Iterator[str]:
    spec = action_spec(suite.spec)
    for key in COLUMNS:
        if key in row:
            sizes = dict(zip(spec.names, spec.sizes, strict=True))
            yield from (f"{key}/{name}" for name in sizes.keys() ^ row[key].keys())
            yield from (
                f"{key}/{name}"
                for name in sizes.keys() & row[key].keys()
                if not _fits(row[key][name], suite.frames - suite.prefix, sizes[name] - 1)
            )
    for key, most in LISTS.items():
        if key in row and not _fits(row[key], None, most):
            yield key
    for key in PACKED:
        if key in row and not _finite(row[key]):
            yield key


def _fits(text: Any, count: int | None, most: int) -> bool:
    """A text of whole numbers from 0 to `most`, `count` of them (or any number)."""
    if not isinstance(text, str):
        return False
    words = text.split(" ")
    right = len(words) <= MOST if count is None else len(words) == count
    return right and all(word.isascii() and word.isdigit() and len(word) <= 3 and int(word) <= most for word in words)


def _finite(text: Any) -> bool:
    try:
        return isinstance(text, str) and bool(np.isfinite(row_values.unpack(text)).all())
    except ValueError:
        return False
