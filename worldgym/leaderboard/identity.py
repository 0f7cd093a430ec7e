"""Who is who: one entry is one model, and its rows are its own.

- `problems(results)`: entries that are two models, models that are two entries, rows that are somebody else's.

Looks at result files alone, all of one leaderboard together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from worldgym.eval.results import rows as row_values
from worldgym.eval.results.digests import digest_json

Results = Mapping[Path, Mapping[str, Any]]
SAME = 0.25  # share of equal answers from which two entries are one
CONTENT = ("predicted", "motion", "versions", "quality")  # what of a row no two models have in common by chance
FEATURES = 0.02  # relative distance of the judge's features of one true clip; measured between processors: below .001


def problems(results: Results) -> list[str]:
    """Every problem, one sentence each."""
    boards: dict[str, dict[Path, Mapping[str, Any]]] = defaultdict(dict)
    for path, result in results.items():
        boards[result["suite"]["name"]][path] = result
    return [text for board in boards.values() for part in (_seeds, _models, _rows, _truth) for text in part(board)]


def _who(result: Mapping[str, Any]) -> str:
    entry = result["entry"]
    return digest_json({key: entry[key] for key in ("weights_sha256", "origin", "sampling", "kind", "source")})


def _seeds(board: Results) -> Iterator[str]:
    """All seeds of an entry come from one model."""
    first: dict[Path, tuple[Path, str]] = {}
    for path, result in board.items():
        other, who = first.setdefault(path.parent, (path, _who(result)))
        if who != _who(result) or board[other]["judges"] != result["judges"]:
            yield f"{path} comes from another model, origin, sampling or judge than {other}; seeds of one entry share them"


def _models(board: Results) -> Iterator[str]:
    """A model with its sampling is one entry."""
    first: dict[str, Path] = {}
    for path, result in board.items():
        entry = result["entry"]
        who = digest_json([entry["weights_sha256"], entry["origin"], entry["sampling"]])
        other = first.setdefault(who, path.parent)
        if other != path.parent:
            yield f"{path} is the model of {other} under another name: the same weights, origin and sampling"


def _rows(board: Results) -> Iterator[str]:
    """No two entries share their answers, and no answer comes twice."""
    owners: dict[str, tuple[Path, str]] = {}
    for path, result in board.items():
        if result["entry"]["name"] == "shuffled" and result["entry"]["source"] == "reference":
            continue  # the true frames, judged against other actions
        shared: dict[Path, set[str]] = defaultdict(set)
        for row in result["rows"]:
            for mark in _marks(row):
                other, place = owners.setdefault(mark, (path, row["id"]))
                if (other, place) != (path, row["id"]):
                    shared[other].add(row["id"])
        for other, ids in shared.items():
            if len(ids) >= max(2, SAME * len(result["rows"])):
                yield f"{path} has the answers of {other} on {len(ids)} of {len(result['rows'])} clips"


def _marks(row: Mapping[str, Any]) -> Iterator[str]:
    if "frames_sha256" in row:
        yield row["frames_sha256"]
    content = {key: row[key] for key in CONTENT if key in row}
    if content and ("predicted" not in row or row["predicted"] != row.get("given")):  # two may well be right on a clip
        yield digest_json([row["id"], content])


def _truth(board: Results) -> Iterator[str]:
    """What the judge saw in the true clips is the same for everybody."""
    found: dict[tuple[int, str], list[tuple[Path, np.ndarray]]] = defaultdict(list)
    for path, result in board.items():
        for row in result["rows"]:
            if "truth_features" in row:
                found[result["seed"], row["id"]].append((path, row_values.unpack(row["truth_features"])))
    wrong: dict[Path, int] = defaultdict(int)
    for parts in found.values():
        usual = [part for part in parts if part[1].shape == parts[0][1].shape]
        middle = np.median([values for _, values in usual], axis=0)
        for path, values in parts:
            far = values.shape != middle.shape or np.linalg.norm(values - middle) > FEATURES * np.linalg.norm(middle)
            wrong[path] += bool(far and len(parts) > 2)
    yield from (f"{path} has other features of the true clips than everybody, on {n} clips" for path, n in wrong.items() if n)
