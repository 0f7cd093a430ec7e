"""Puts the result files of a run in their places: whole, complete, and over nobody's.

- `add(run, to, replace)`: the files that were written.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldgym import files
from worldgym.errors import InputError
from worldgym.eval import protocols
from worldgym.eval.results import schema
from worldgym.eval.results import suite as suites
from worldgym.eval.results.record import slug
from worldgym.leaderboard import names


def add(run: Path, to: Path, replace: bool = False) -> list[Path]:
    """Copy results and their clips to <to>/<suite>/<entry>/; looks at all of them before the first is written.

    Args:
        run: folder of a run, as `python -m worldgym.eval --out` writes it.
        to: the leaderboards' folder.
        replace: write over results that are there.

    Raises:
        InputError: no results, too few clips, a name that cannot be published, or somebody's result is in the way.
    """
    paths = sorted(run.glob("*/[0-9]*.json"))
    if not paths:
        raise InputError(f"{str(run)!r} holds no result files; name the folder of a run, as in results/<suite>")
    planned = [pair for path in paths for pair in _planned(path, to, replace)]
    for source, target in planned:
        target.parent.mkdir(parents=True, exist_ok=True)
        files.write_bytes(target, source.read_bytes())
    return [target for _, target in planned if target.suffix == ".json"]


def _planned(path: Path, to: Path, replace: bool) -> Iterator[tuple[Path, Path]]:
    result = schema.read(path)
    _check(path, result)
    place = to / result["suite"]["name"] / slug(result["entry"]["name"])
    target = place / f"{result['seed']}.json"
    if target.is_symlink() or place.is_symlink():
        raise InputError(f"{str(target)!r} is a link; only plain files are published")
    if target.is_file() and not replace and not _same(target, result):
        raise InputError(f"{str(target)!r} is there already; take another name (--models your-name=…), or say --replace")
    yield path, target
    if path.with_suffix(".webm").is_file():
        yield path.with_suffix(".webm"), target.with_suffix(".webm")


def _same(target: Path, result: dict[str, Any]) -> bool:
    """The same result but for its times."""
    try:
        return schema.read(target)["sha256"] == result["sha256"]
    except InputError:
        return False


def _check(path: Path, result: dict[str, Any]) -> None:
    protocol = protocols.load(suites.load(result["suite"]["name"]))
    count, wanted = result["clips"]["count"], protocol.suite.clips
    if count < wanted:
        raise InputError(
            f"{str(path)!r} has {count} clips, but suite {protocol.suite.name} has {wanted}; run it without --clips"
        )
    if protocol.suite.sha256 != result["suite"]["sha256"]:
        raise InputError(f"{str(path)!r} is of another {protocol.suite.name!r} than the published one")
    for text in names.problems(result, protocol):
        raise InputError(f"{str(path)!r}: {text}")
