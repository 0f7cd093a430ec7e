"""The gate of a submission: `check(folder)` says everything that is wrong with the files of a leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from worldgym.errors import InputError
from worldgym.eval.results import schema
from worldgym.eval.results import suite as suites
from worldgym.eval.running import verify
from worldgym.leaderboard import entries

LARGEST_FILM = 2 << 20  # bytes of one WebM
KNOWN = (".json", ".webm")


def check(folder: Path, sample: int = 0, device: str = "cpu") -> list[str]:
    """Every problem, one sentence each; an empty list for a folder that can be published.

    Args:
        folder: with <suite>/<entry>/<seed>.json (and .webm).
        sample: how many clips per file are made again from weights, where these are here.
        device: where.
    """
    problems = [*_foreign(folder)]
    try:
        paths = entries.result_files(folder)
    except InputError as error:
        return [*problems, str(error)]
    clips: dict[tuple[str, int], tuple[str, Path]] = {}
    tasks: dict[Any, Any] = {}
    for path in paths:
        try:
            result = schema.read(path)
            entries.check_place(path, result)
            problems += _result(path, result, clips)
            found = verify.verify(path, sample=sample, device=device, tasks=tasks)
            problems += [f"{path}: {finding.what}: {finding.says}" for finding in found if finding.agrees is False]
        except InputError as error:
            problems.append(str(error))
    return problems


def _foreign(folder: Path) -> list[str]:
    """Files that have no business here."""
    found = []
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found.append(f"{path} is a link; only plain files are published")
        elif path.is_file() and path.parent != folder and path.suffix not in KNOWN:
            found.append(f"{path} is neither a result (.json) nor its clips (.webm)")
        elif path.suffix == ".webm" and path.stat().st_size > LARGEST_FILM:
            found.append(f"{path} has {path.stat().st_size} bytes; at most {LARGEST_FILM} are published")
        elif path.suffix == ".webm" and not path.with_suffix(".json").is_file():
            found.append(f"{path} has no result beside it")
        elif path.suffix == ".webm" and path.read_bytes()[:4] != b"\x1a\x45\xdf\xa3":
            found.append(f"{path} is not a WebM file")
    return found


def _result(path: Path, result: dict[str, Any], clips: dict) -> list[str]:
    """What `--verify` has no opinion on: all clips of the suite, and the same ones as everybody."""
    found, name = [], result["suite"]["name"]
    try:
        wanted = suites.load(name).clips
    except InputError:
        return []  # `verify` says so
    if result["clips"]["count"] != wanted:
        found.append(f"{path} has {result['clips']['count']} clips, but suite {name} has {wanted}; run it without --clips")
    digest, other = clips.setdefault((name, result["seed"]), (result["clips"]["sha256"], path))
    if digest != result["clips"]["sha256"]:
        found.append(f"{path} has other test clips than {other}")
    return found
