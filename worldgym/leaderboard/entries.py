"""Result files of one folder, put together: `<folder>/<suite>/<entry>/<seed>.json`.

- `load(folder)`: one `Board` per suite. `Entry`: one entry with all of its seeds.
"""

from __future__ import annotations

import dataclasses
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
    """

    name: str
    slug: str
    kind: str
    results: Mapping[int, Mapping[str, Any]]
    scores: Mapping[str, Any]
    films: Mapping[int, Path]

    @property
    def failed(self) -> int:
        """Clips without an answer, over all seeds."""
        return sum(result["clips"]["failed"] for result in self.results.values())

    @property
    def is_reference(self) -> bool:
        """Truth and the like: shown, not ranked."""
        return next(iter(self.results.values()))["entry"]["source"] == "reference"


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
    if not folder.is_dir():
        raise InputError(f"there is no folder {str(folder)!r} with result files")
    found = sorted(folder.rglob("*.json"))
    for path in found:
        parts = path.relative_to(folder).parts
        if len(parts) != 3 or not re.fullmatch(r"[0-9]{1,16}\.json", parts[2]) or path.is_symlink():
            raise InputError(f"{str(path)!r} is not in its place, which is <suite>/<entry>/<seed>.json under {str(folder)!r}")
    return found


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
    return Board(protocol, [_entry(protocol, results, folder / place) for place, results in sorted(found.items())])


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
    return Entry(entry["name"], folder.name, entry["kind"], results, together, films)
