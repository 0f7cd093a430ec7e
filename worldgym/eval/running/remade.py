"""Rows that were made again, held against those of a file: what may differ, and what may not.

- `Remade`: the rows of a sample; `problems(found)`: what is wrong with them, one short text each.

Where the frames are the same bytes, everything is the same. Where they are not, another processor may have made them. Measured
between AVX-512 and AVX2 (docs/evaluation.md, "What another processor changes"): from denoisers the judges then read the same
to the last label, and numbers differ by at most 4e-5; a token model draws codes, so that a late digit can change a draw and
with it the rest of a clip, as it did on 2 of 54 clips. So:

- near: at most 1 % of a row's labels and .2 % of a number differ (`sameness.NEAR`);
- diverged: only token models, at most `DIVERGED` of the sample;
- both only by chance: where labels differ, the file's must not be right much more often than those made here (sign test over
  the whole sample, one-sided, level `LEVEL`).

Nothing of this depends on what a file says.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from scipy.stats import binomtest

from worldgym.eval.results import sameness
from worldgym.eval.results.answers import Row

DIVERGED, LEVEL = 0.17, 0.01
ROUNDING = 1e-3  # of a clip's own score, where it has no labels
DRAWS = ("token",)  # kinds of models that draw from a distribution at every code


@dataclasses.dataclass(frozen=True, eq=False)
class Remade:
    """One clip, twice.

    Attributes:
        said: the file's row. made: the row that was made here.
        exact: the frames must be the same bytes, as where the clip itself is at hand.
    """

    said: Row
    made: Row
    exact: bool = False

    @property
    def bits(self) -> bool:
        """The frames are the same bytes."""
        return self.said.get("frames_sha256") == self.made.get("frames_sha256")

    def places(self) -> list[str]:
        """Where the two differ by more than rounding."""
        given = {key: value for key, value in self.said.items() if key != "task_sha256"}
        places = sameness.differences(given, self.made, sameness.EXACT if self.bits or self.exact else sameness.NEAR)
        return [*places, "frames_sha256"] if self.exact and not self.bits else places

    def __str__(self) -> str:
        return f"{self.said['id']} ({', '.join(self.places()[:4])})"


def problems(found: Sequence[Remade], kind: str, value: Callable[[Row], float]) -> list[str]:
    """What is wrong with a sample; empty when it may have been made on another processor, or is the same.

    Args:
        found: the sample.
        kind: of the model, as it is here.
        value: a row's own value of the suite's first metric, turned so that higher is better.
    """
    apart = [one for one in found if one.places()]
    hard = [one for one in apart if one.bits or one.exact or kind not in DRAWS or not _answered(one)]
    if hard:
        return [str(one) for one in hard]
    if len(apart) > max(1, DIVERGED * len(found)):
        return [f"{len(apart)} of {len(found)} clips are others; rounding explains a sixth at most", *map(str, apart)]
    gains, losses = map(sum, zip(*(_signs(one, value) for one in found), strict=True)) if found else (0, 0)
    chance = float(binomtest(gains, gains + losses, alternative="greater").pvalue) if gains > losses else 1.0
    if chance < LEVEL:
        return [f"the file is better {gains} times and worse {losses} times (chance {chance:.1g}): no rounding"]
    return []


def _answered(one: Remade) -> bool:
    """Both have an answer; a failure is no rounding."""
    return "failure" not in one.said and "failure" not in one.made


def _signs(one: Remade, value: Callable[[Row], float]) -> tuple[int, int]:
    """How often the file is better and worse than what was made: over labels where a row has any, else over clips."""
    rows: list[Mapping[str, Any]] = [one.said, one.made]
    if all(isinstance(row.get("predicted"), dict) and isinstance(row.get("given"), dict) for row in rows):
        hits = [[a == b for key in row["given"] for a, b in zip(*_columns(row, key), strict=False)] for row in rows]
        pairs = list(zip(*hits, strict=False))
        return sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    better = 0.0 if one.bits or not _answered(one) else value(one.said) - value(one.made)
    return int(better > ROUNDING), int(better < -ROUNDING)


def _columns(row: Mapping[str, Any], key: str) -> tuple[list[str], list[str]]:
    return row["given"][key].split(), str(row["predicted"].get(key, "")).split()
