"""Whether two rows are equal, exactly or up to the rounding of another batch or machine.

- `differences(made, wanted, close)`: where two rows differ, one short text each.

A clip that is made again alone and not in its batch, or on another processor, is rounded differently: numbers may differ in
late digits, and once in a while a label at a tie. `close` says how much is forgiven: `EXACT` where the frames are the same
bytes, `NEAR` where they are not. Neither depends on what a file says; `worldgym.eval.running.remade` judges whole samples.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from worldgym.eval.results import rows as row_values


@dataclasses.dataclass(frozen=True)
class Close:
    """What is forgiven."""

    number: float
    """Relative difference of numbers (absolute below 1)."""
    labels: float
    """Share of the labels of a row that may differ."""


EXACT, NEAR = Close(1e-3, 0.01), Close(2e-3, 0.01)
HASHES = ("frames_sha256",)


def differences(made: Mapping[str, Any], wanted: Mapping[str, Any], close: Close) -> list[str]:
    """Names of values that differ, as in "scores/psnr"; the hashes of frames are not looked at."""
    tally = {"labels": 0, "wrong": 0}
    places = _walk(made, wanted, close, "", tally)
    if tally["wrong"] > close.labels * tally["labels"]:
        places.append(f"{tally['wrong']} of {tally['labels']} labels")
    return places


def _walk(made: Any, wanted: Any, close: Close, at: str, tally: dict[str, int]) -> list[str]:
    if isinstance(made, dict) and isinstance(wanted, dict):
        keys = [key for key in dict.fromkeys([*made, *wanted]) if key not in HASHES]
        absent = [f"{at}/{key}".strip("/") for key in keys if (key in made) != (key in wanted)]
        both = [key for key in keys if key in made and key in wanted]
        return absent + [place for key in both for place in _walk(made[key], wanted[key], close, f"{at}/{key}", tally)]
    if made == wanted:
        _count(made, made, tally)
        return []
    same = _numbers(made, wanted, close) or _texts(made, wanted, close, tally)
    return [] if same else [at.strip("/")]


def _numbers(a: Any, b: Any, close: Close) -> bool:
    kinds = (int, float)
    return isinstance(a, kinds) and isinstance(b, kinds) and abs(a - b) <= close.number * max(1.0, abs(b))


def _texts(a: Any, b: Any, close: Close, tally: dict[str, int]) -> bool:
    """Columns of labels are counted; packed features are compared as vectors; other texts must be equal."""
    if not (isinstance(a, str) and isinstance(b, str)):
        return False
    if _count(a, b, tally):
        return True
    try:
        one, two = row_values.unpack(a), row_values.unpack(b)
    except ValueError:
        return False
    apart = one.shape == two.shape and np.linalg.norm(one - two) / max(np.linalg.norm(two), 1e-9)
    return apart is not False and bool(apart <= close.number)


def _count(a: Any, b: Any, tally: dict[str, int]) -> bool:
    """Count a column of labels; False when it is none."""
    if not (isinstance(a, str) and isinstance(b, str) and re.fullmatch(r"\d+( \d+)*", a) and re.fullmatch(r"\d+( \d+)*", b)):
        return False
    one, two = a.split(), b.split()
    if len(one) != len(two):
        return False
    tally["labels"] += len(one)
    tally["wrong"] += sum(x != y for x, y in zip(one, two, strict=True))
    return True
