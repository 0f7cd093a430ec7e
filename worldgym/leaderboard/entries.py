"""Result files of one folder, put together: `<folder>/<suite>/<entry>/<seed>.json`.

- `load(folder)`: one `Board` per suite. `Entry`: one entry with all of its seeds.
- `sorted_files(folder)`: result files, and what is wrong with those that lie elsewhere.
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worldgym.errors import InputError
from worldgym.eval import protocols
from worldgym.eval.protocols.base import Protocol
from worldgym.eval.results import schema, scores
from worldgym.eval.results import suite as suites
from worldgym.eval.results.record import slug
from worldgym.leaderboard import lists
from worldgym.leaderboard.about import ABOUT, about


@dataclasses.dataclass(frozen=True, eq=False)
class Entry:
    """One entry of one suite.

    Attributes:
        name: as the result files say.
        slug: name of its folder.
        kind: "truth", "baseline", "token", …
        results: seed -> result file.
        scores: metric -> JSON values over all seeds, every resample stratified over seeds.
        films: seed -> WebM with the shown clips, where there is one.
        standing: its list, and why.
        about: parameters, training data, licence, link, where they are known.
        flags: what a reader should know, one sentence each.
    """

    name: str
    slug: str
    kind: str
    results: Mapping[int, Mapping[str, Any]]
    scores: Mapping[str, Any]
    films: Mapping[int, Path]
    standing: lists.Standing
    about: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    flags: Sequence[str] = ()

    @property
    def failed(self) -> int:
        """Clips without an answer, over all seeds."""
        return sum(result["clips"]["failed"] for result in self.results.values())

    @property
    def is_reference(self) -> bool:
        """Truth and the like: shown, not ranked."""
        return self.standing.list == lists.REFERENCE

    @functools.cached_property
    def date(self) -> str:
        """The day of its last seed, as far as the files say."""
        days = [str(result["time"].get("started", ""))[:10] for result in self.results.values()]
        return max((day for day in days if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", day)), default="")

    @property
    def seconds_per_clip(self) -> float | None:
        """Mean over seeds, on whatever hardware each ran; of a reward, all versions of a clip."""
        spent = [(r["time"].get("entry_s"), r["clips"]["count"]) for r in self.results.values()]
        known = [s / n for s, n in spent if isinstance(s, float) and n]  # the schema leaves "time" open
        return round(sum(known) / len(known), 4) if known else None


@dataclasses.dataclass(frozen=True, eq=False)
class Board:
    """One suite with its entries."""

    protocol: Protocol
    entries: Sequence[Entry]

    @property
    def name(self) -> str:
        """The suite's name."""
        return self.protocol.suite.name


def result_files(folder: Path) -> list[Path]:
    """Every <suite>/<entry>/<seed>.json below a folder.

    Raises:
        InputError: there is no such folder, or a file lies elsewhere or is a link.
    """
    found, problems = sorted_files(folder)
    if problems:
        raise InputError(problems[0])
    return found


def sorted_files(folder: Path) -> tuple[list[Path], list[str]]:
    """Result files below a folder, and one sentence for each .json that lies elsewhere or is a link.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r} with result files")
    right, problems = [], []
    for path in sorted(folder.rglob("*.json")):
        parts = path.relative_to(folder).parts
        placed = len(parts) == 3 and re.fullmatch(r"[0-9]{1,16}\.json", parts[2]) and not path.is_symlink()
        if placed:
            right.append(path)
        elif len(parts) != 3 or parts[2] != ABOUT or path.is_symlink():
            place = f"<suite>/<entry>/<seed>.json under {str(folder)!r}"
            problems.append(f"{str(path)!r} is not in its place, which is {place}")
    return right, problems


def load(folder: Path) -> list[Board]:
    """Every suite of a folder that has results.

    Raises:
        InputError: a file is malformed, misplaced, or of a suite that is not published.
    """
    found: dict[str, dict[str, dict[int, dict]]] = {}
    paths = result_files(folder)
    for path in paths:
        result = schema.read(path)
        check_place(path, result)
        found.setdefault(result["suite"]["name"], {}).setdefault(path.parent.name, {})[result["seed"]] = result
    return [_board(name, entries, folder / name) for name, entries in sorted(found.items())]


def check_place(path: Path, result: Mapping[str, Any]) -> None:
    """Raise InputError when a file's place does not say what the file says."""
    wanted = (result["suite"]["name"], slug(result["entry"]["name"]), f"{result['seed']}.json")
    if path.parts[-3:] != wanted:
        raise InputError(f"{str(path)!r} holds {'/'.join(wanted)!r}; it must lie there")


def _board(name: str, found: Mapping[str, Mapping[int, dict]], folder: Path) -> Board:
    protocol = protocols.load(suites.load(name))
    return Board(protocol, _flagged([_entry(protocol, results, folder / place) for place, results in sorted(found.items())]))


def _flagged(found: Sequence[Entry]) -> list[Entry]:
    """With flags, which need the references beside an entry."""
    scores_of = {entry.name: entry.scores for entry in found if entry.is_reference or entry.name == "last-frame"}

    def flags(entry: Entry) -> list[str]:
        first = next(iter(entry.results.values()))["entry"]
        return lists.flags(entry.scores, first, scores_of.get("truth"), scores_of.get("last-frame"))

    return [entry if entry.is_reference else dataclasses.replace(entry, flags=flags(entry)) for entry in found]


def _entry(protocol: Protocol, results: Mapping[int, dict], folder: Path) -> Entry:
    results = dict(sorted(results.items()))
    first = next(iter(results.values()))
    for result in results.values():
        if result["suite"]["sha256"] != protocol.suite.sha256:
            raise InputError(f"{str(folder)!r} holds results of another {protocol.suite.name!r} than the published one")
    if len(results) == 1:
        together = first["scores"]
    else:
        together = scores.of_rows(protocol, {seed: result["rows"] for seed, result in results.items()})
    films = {seed: path for seed in results if (path := folder / f"{seed}.webm").is_file() and not path.is_symlink()}
    entry = first["entry"]
    if entry["source"] == "reference" and entry["name"] not in protocol.references:
        raise InputError(f"{str(folder)!r} calls itself a reference, but {protocol.suite.name!r} has {protocol.references}")
    standing = lists.standing(protocol, first)
    return Entry(entry["name"], folder.name, entry["kind"], results, together, films, standing, about(first, folder))
