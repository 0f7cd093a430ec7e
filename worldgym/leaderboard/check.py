"""The one gate: `check(folder)` says everything that is wrong with the files of a leaderboard.

The tests of a pull request, CONTRIBUTING and `python -m worldgym.leaderboard check` are this function. With `changed_since`
only what a change touches is looked at in depth; then changed entries of bundled models are made again in part, and pinned
code is that of the commit before. Nothing is run because a file names it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from worldgym.errors import InputError
from worldgym.eval import protocols
from worldgym.eval.results import schema
from worldgym.eval.results import suite as suites
from worldgym.eval.running import trust, verify
from worldgym.leaderboard import changes, entries, films, identity, lists, names
from worldgym.leaderboard.about import ABOUT, about_problems

KNOWN = (".json", ".webm")
SAMPLED = 2  # clips of a changed entry, where no number is asked for
LONGEST = 380  # characters of one problem


@dataclasses.dataclass(frozen=True)
class Gate:
    """How a folder is checked.

    Attributes:
        sample: clips per file that are made again, where that can be done here.
        device: where.
        changed_since: commit before the change under review; "" to look at all files in depth, and run no code.
        named: entry -> its model, for whoever has it.
    """

    sample: int = 0
    device: str = "cpu"
    changed_since: str = ""
    named: Mapping[str, str] = dataclasses.field(default_factory=dict)


def check(
    folder: Path,
    sample: int | None = None,
    device: str = "cpu",
    changed_since: str = "",
    named: Mapping[str, str] | None = None,
) -> list[str]:
    """Every problem, one sentence each; an empty list for a folder that can be published.

    Args:
        folder: with <suite>/<entry>/<seed>.json (and .webm).
        sample: how many clips per file are made again, where that can be done here; left out, none, and of changed files two.
        device: where.
        changed_since: commit before the change under review.
        named: entry -> model, for entries that only whoever checks can make.
    """
    asked = Gate((SAMPLED if changed_since else 0) if sample is None else sample, device, changed_since, named or {})
    return list(_problems(Path(folder), asked))


def _problems(folder: Path, gate: Gate) -> Iterator[str]:
    try:
        touched = changes.since(folder, gate.changed_since) if gate.changed_since else None
        yield from _foreign(folder)
        paths, misplaced = entries.sorted_files(folder)
    except InputError as error:
        yield str(error)
        return
    yield from misplaced
    if touched:
        yield from (
            f"{path} was published and is gone; results stay" for path in sorted(touched.gone) if path.suffix == ".json"
        )
    found, known, tasks = {}, {}, {}
    for path in paths:
        try:
            result = found[path] = schema.read(path)
            entries.check_place(path, result)
            problems = [*_result(path, result, known), *_deep(path, result, gate, touched, tasks)]
        except InputError as error:
            problems = [str(error)]
        except Exception as error:  # one bad file costs one line, never the run
            problems = [f"{path} cannot be checked: {type(error).__name__}: {error}"]
        yield from (_line(text) for text in problems)
    yield from map(_line, identity.problems(found))
    boards = {(result["suite"]["name"], result["entry"]["name"]) for result in found.values()}
    for suite in sorted({suite for suite, _ in boards}):
        pairs = names.twice(sorted(name for own, name in boards if own == suite))
        yield from (f"{suite} has the names {ascii(a)} and {ascii(b)}, which nobody tells apart" for a, b in pairs)


def _line(text: str) -> str:
    """One line of a length that can be read."""
    text = " ".join(text.split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _foreign(folder: Path) -> Iterator[str]:
    """Files that have no business here."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            yield f"{path} is a link; only plain files are published"
        elif path.is_dir() or path.parent == folder:
            continue
        elif path.suffix not in KNOWN:
            yield f"{path} is neither a result (.json) nor its clips (.webm)"
        elif path.name == ABOUT:
            yield from about_problems(path)
        elif path.suffix == ".webm" and not path.with_suffix(".json").is_file():
            yield f"{path} has no result beside it"
        elif path.suffix == ".webm":
            yield from films.shape_problems(path)


def _result(path: Path, result: dict[str, Any], known: dict) -> Iterator[str]:
    """What `--verify` has no opinion on: the name, all clips of the suite, and the same ones as everybody."""
    name = result["suite"]["name"]
    try:
        protocol = protocols.load(suites.load(name))
    except InputError:
        return  # `verify` says so
    yield from (f"{path}: {text}" for text in names.problems(result, protocol))
    origin = result["entry"]["origin"]
    if trust.is_bundled(protocol, origin) and trust.weights_here(protocol, origin) != result["entry"]["weights_sha256"]:
        yield f"{path} was made by another {origin!r} than the one that is here: make the entry again (leaderboards/make.py)"
    if trust.changed_since(result["entry"]):
        yield f"{path} was made by other code than {origin!r} is now: make the entry again, or under another name"
    wanted = protocol.suite.clips
    if result["clips"]["count"] != wanted:
        yield f"{path} has {result['clips']['count']} clips, but suite {name} has {wanted}; run it without --clips"
    digest, other = known.setdefault((name, result["seed"]), (result["clips"]["sha256"], path))
    if digest != result["clips"]["sha256"]:
        yield f"{path} has other test clips than {other}"
    if any(word.startswith(("/", "~")) for word in result["run"]["command"].split()):
        yield f"{path} says in its command where somebody lives; run it with relative paths"


def _deep(path: Path, result: dict, gate: Gate, touched: changes.Changes | None, tasks: dict) -> Iterator[str]:
    """`--verify`, as deep as the change asks for, and the film."""
    deep = touched is None or touched.touches(path)
    sample = gate.sample if deep else 0
    named = gate.named.get(result["entry"]["name"])
    pins = trust.Pins(touched.ref if touched else "")
    options = {"model": named, "device": gate.device, "tasks": tasks, "pins": pins, "questions": deep}
    findings = verify.verify(path, sample=sample, **options)
    yield from (f"{path}: {finding.what}: {finding.says}" for finding in findings if finding.agrees is False)
    if touched and path.resolve() in touched.edited and not any(f.what == "sample" and f.agrees for f in findings):
        yield f"{path} was published before and cannot be made again here; a new result needs a new name"
    if deep and all(finding.agrees is not False for finding in findings):
        yield from _film(path, result, tasks)


def _film(path: Path, result: dict, tasks: dict) -> list[str]:
    """What the film shows, where the questions are at hand."""
    film = path.with_suffix(".webm")
    questions = tasks.get((result["suite"]["sha256"], result["seed"], len(result["rows"])))
    if not film.is_file() or film.is_symlink() or questions is None or films.shape_problems(film):
        return []
    return films.belongs(film, result, questions)


def standings(folder: Path) -> Iterator[str]:
    """One line per entry: its list, and why."""
    for board in entries.load(folder):
        for entry in board.entries:
            yield f"{board.name} {entry.name}: {lists.sentence(entry.standing, entry.flags)}"
