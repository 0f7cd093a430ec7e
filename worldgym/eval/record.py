"""The result record: one JSON file that says what was run, what came out, and how to run it again.

- `Result`: the frozen record. `Result.to_dict()`: plain values; a hole is null. `write(result, path)`: atomically.

Two runs of one command give the same file but for the object "time".
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldgym import files
from worldgym.eval import provenance
from worldgym.eval.runner import Answer
from worldgym.eval.scores import METRICS, Scored
from worldgym.eval.statistics import Score
from worldgym.eval.suite import Suite
from worldgym.types import Prompts

SCHEMA = 1


@dataclasses.dataclass(frozen=True, eq=False)
class Result:
    """Everything about one run of a suite."""

    suite: Suite
    """The protocol."""
    prompts: Prompts
    """The clips."""
    answers: Sequence[Answer]
    """Rows of the table."""
    seed: int
    """All randomness derives from it."""
    batch: int
    """Clips at once."""
    device: str
    """Where models and judge ran."""
    weights: Mapping[str, Any]
    """Name of judge or model -> its file's sha256, or None for a baseline."""
    time: Mapping[str, Any]
    """When it started and how long it took."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        suite = self.suite
        return {
            "schema": SCHEMA,
            "suite": {"name": suite.name, "version": suite.version, "sha256": suite.sha256},
            "world": suite.world,
            "spec": suite.spec,
            "judge": suite.judge,
            "weights": dict(self.weights),
            "seed": self.seed,
            "clips": {"count": len(self.prompts), "sha256": digest(self.prompts.truth, self.prompts.actions)},
            "bootstrap": {"unit": "clip", "method": "percentile", **dataclasses.asdict(suite.bootstrap)},
            "entries": [self._entry(answer) for answer in self.answers],
            "run": {
                "command": provenance.command(),
                "commit": provenance.commit(),
                "versions": provenance.versions(),
                "hardware": provenance.hardware(self.device),
                "batch": self.batch,
            },
            "time": {**self.time, "entries": {answer.name: _rounded(answer.seconds) for answer in self.answers}},
        }

    def _entry(self, answer: Answer) -> dict[str, Any]:
        return {
            "name": answer.name,
            "kind": answer.kind,
            "sampling": dict(answer.sampling),
            "frames_sha256": digest(answer.frames),
            "scores": {name: scored_dict(name, scored) for name, scored in answer.scored.items()},
            "rows": [self._row(answer, clip) for clip in range(len(self.prompts))],
        }

    def _row(self, answer: Answer, clip: int) -> dict[str, Any]:
        judged, columns = answer.judged, answer.judged.spec.names
        row = {
            "id": self.prompts.ids[clip],
            "given": _columns(columns, judged.given[clip]),
            "predicted": _columns(columns, judged.predicted[clip]),
            "scores": {n: number(s.per_clip[clip]) for n, s in answer.scored.items() if s.per_clip is not None},
        }
        if answer.donors is not None:
            row["given_from"] = self.prompts.ids[answer.donors[clip]]
        return row


def _columns(names: Sequence[str], labels: np.ndarray) -> dict[str, str]:
    """Labels (T, A) as one line of text per column: 15 numbers, not 15 lines of JSON."""
    return {name: " ".join(map(str, labels[:, column])) for column, name in enumerate(names)}


def scored_dict(name: str, scored: Scored) -> dict[str, Any]:
    """A metric's score, its direction, and its groups where it has any; a group that is never used is null."""
    found: dict[str, Any] = {"better": METRICS[name].better, **score_dict(scored.score)}
    if scored.groups:
        parts = {group: score_dict(score) for group, score in scored.groups.items()}
        found["groups"] = {group: part if part["value"] is not None else None for group, part in parts.items()}
    return found


def score_dict(score: Score) -> dict[str, float | None]:
    """Value and interval; None where nothing can be said."""
    return {"value": number(score.value), "low": number(score.low), "high": number(score.high)}


def number(value: float) -> float | None:
    """A JSON number, rounded to 9 digits; None for NaN and infinities."""
    return round(float(value), 9) if np.isfinite(value) else None


def _rounded(seconds: Mapping[str, float]) -> dict[str, float]:
    return {name: round(value, 3) for name, value in seconds.items()}


def digest(*arrays: np.ndarray) -> str:
    """sha256 over shapes and bytes, the same on every machine."""
    found = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        found.update(f"{array.dtype.str}{array.shape}".encode())
        found.update(array.data)
    return found.hexdigest()


def write(result: Result, path: str | os.PathLike) -> None:
    """Write the record as JSON, whole or not at all."""
    files.write_json(path, result.to_dict())
