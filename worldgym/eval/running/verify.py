"""Checks a result file: scores from rows, rows from clips, a random sample of clips from weights.

- `verify(path, …)`: a list of `Finding`s. `main(job)`: `python -m worldgym.eval --verify result.json`.

Every finding agrees (True), differs (False) or could not be checked here (None); a file is accepted when nothing differs.
Nothing is run because a file names it (`trust`). Clips may differ in late digits on another processor; `remade` says how much.
"""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldgym.errors import InputError
from worldgym.eval import protocols
from worldgym.eval.protocols import entries, videos
from worldgym.eval.protocols.base import Protocol
from worldgym.eval.results import limits, record, schema, scores
from worldgym.eval.results import suite as suites
from worldgym.eval.results.answers import Entrant, Question, Row
from worldgym.eval.results.digests import chain
from worldgym.eval.results.statistics import Bootstrap
from worldgym.eval.running import remade, trust
from worldgym.eval.running.arguments import Job
from worldgym.eval.running.job import find_device
from worldgym.eval.running.remade import Remade
from worldgym.rng import torch_seed

ROUNDING = 1e-7  # scores are sums of the same rows: only the order of summation may differ
MORE = 12  # clips that are made again where the first are not the same bytes


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that was checked."""

    what: str
    """"seal", "suite", "scores", "clips", "weights", "sample", …"""
    agrees: bool | None
    """None: could not be checked here."""
    says: str
    """One sentence."""

    def __str__(self) -> str:
        word = {True: "agrees", False: "DIFFERS", None: "unknown"}[self.agrees]
        return f"{word:8} {self.what}: {self.says}"


def accepted(findings: Sequence[Finding]) -> bool:
    """Nothing differs."""
    return all(finding.agrees is not False for finding in findings)


def verify(
    path: str | os.PathLike,
    suite: str | None = None,
    model: str | None = None,
    folder: str | None = None,
    sample: int = 2,
    device: str = "cpu",
    rng: np.random.Generator | None = None,
    tasks: dict[Any, list[Question]] | None = None,
    pins: trust.Pins | None = None,
    questions: bool = True,
) -> list[Finding]:
    """Check one result file.

    Args:
        path: of the file.
        suite: path of a suite that is not shipped.
        model: where the entry's weights or class are; when not given, the file's own word is followed to bundled models only.
        folder: the entry's clips, as `--save-clips` writes them.
        sample: how many clips are made again from weights.
        device: where.
        rng: which clips; unforeseeable when not given, so that nobody can prepare for it.
        tasks: test clips that were made before; filled, so that many files of one suite need one game.
        pins: code of this repository that may run because it was here before the change under review.
        questions: make the test clips again; without them nothing is compared but what the file says of itself.

    Raises:
        InputError: the file is malformed.
    """
    found = schema.read(path)
    examined = _Verification(found, suite, model, folder, sample, device, rng or np.random.default_rng())
    examined.known = tasks if tasks is not None else {}
    examined.pins, examined.questions = pins or trust.Pins(), questions
    return list(examined.findings())


class _Verification:
    """One file under examination."""

    def __init__(
        self, found: dict, suite: str | None, model: str | None, folder: str | None, sample: int, device: str, rng: Any
    ):
        self.found, self.rows, self.entry = found, found["rows"], found["entry"]
        self.suite_name, self.named, self.folder = suite or found["suite"]["name"], model, folder
        self.model = model or self.entry["origin"]
        self.sample, self.device, self.rng = sample, device, rng
        self.known: dict[Any, list[Question]] = {}
        self.pins, self.questions = trust.Pins(), True

    def findings(self) -> Iterator[Finding]:
        """From the cheapest to the dearest."""
        seal = record.seal(self.found)
        yield _same("seal", seal == self.found["sha256"], "the hash over the file's content", "the content was changed after")
        protocol, finding = self.protocol()
        yield finding
        if protocol is None:
            return
        yield self.circumstances(protocol)
        yield from self.bookkeeping()
        wrong = limits.problems(protocol.suite, self.rows)
        yield _same("ranges", not wrong, "labels and numbers as the suite has them", f"out of range: {', '.join(wrong[:3])}")
        if wrong:
            return
        yield self.scores(protocol)
        yield self.judges(protocol)
        if not self.questions:
            return
        tasks, finding = self.tasks(protocol)
        yield finding
        if tasks is not None:
            yield from self.answers(protocol, tasks)

    def protocol(self) -> tuple[Protocol | None, Finding]:
        """Is it the suite that is published under this name and version?"""
        said = self.found["suite"]
        try:
            suite = suites.load(self.suite_name)
            protocol = protocols.load(suite, self.device)
        except (InputError, OSError) as error:
            return None, Finding("suite", False, f"{said['name']!r} is not known here: {error}")
        true = {"name": suite.name, "version": suite.version, "sha256": suite.sha256, "protocol": suite.protocol}
        wrong = [key for key in true if said[key] != true[key]]
        return (None if wrong else protocol), _same(
            "suite", not wrong, f"{suite.name} as published", f"{wrong} differ from it"
        )

    def circumstances(self, protocol: Protocol) -> Finding:
        """How intervals were made, and which metrics there are."""
        boot = {"unit": "clip", "method": "percentile", **dataclasses.asdict(protocol.suite.bootstrap)}
        wrong = [key for key in boot if self.found["bootstrap"][key] != boot[key]]
        wrong += [f"metric {name}" for name in set(self.found["scores"]) ^ set(protocol.suite.metrics)]
        return _same(
            "protocol", not wrong, "metrics and intervals as the suite says", f"{sorted(wrong)} differ from the suite"
        )

    def bookkeeping(self) -> Iterator[Finding]:
        """Counts, hashes over hashes, and clips that come twice."""
        twice = [name for name, count in Counter(row["id"] for row in self.rows).items() if count > 1]
        frames = Counter(row["frames_sha256"] for row in self.rows if "frames_sha256" in row)
        twice += [f"the frames of {row['id']}" for row in self.rows if frames[row.get("frames_sha256")] > 1]
        yield _same("rows", not twice, f"{len(self.rows)} clips, each once", f"clips come twice: {twice[:3]}")
        said, failed = self.found["clips"], len(scores.failed(self.rows))
        right = said["count"] == len(self.rows) and said["failed"] == failed
        text = f"{said['count']} clips, {said['failed']} failed"
        yield _same("counts", right, text, f"said are {text}; there are {len(self.rows)} and {failed}")
        right = chain(row.get("frames_sha256") for row in self.rows) == self.found["frames_sha256"]
        yield _same("frames", right, "hash over the hashes of all clips", "it does not follow from the rows")
        right = chain(row["task_sha256"] for row in self.rows) == said["sha256"]
        yield _same("test clips", right, "hash over the hashes of all test clips", "it does not follow from the rows")

    def scores(self, protocol: Protocol) -> Finding:
        """All scores and intervals again, from the rows."""
        try:
            again = scores.of_rows(protocol, {self.found["seed"]: self.rows})
        except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
            return Finding("scores", False, f"the rows are not those of this protocol ({type(error).__name__}: {error})"[:200])
        wrong = [place for name, score in again.items() for place in _apart(self.found["scores"].get(name), score, name)]
        text = f"{len(again)} metrics with intervals, from {len(self.rows)} rows"
        return _same("scores", not wrong, text, f"not what the rows give: {', '.join(wrong[:5])}")

    def judges(self, protocol: Protocol) -> Finding:
        """The networks that score."""
        try:
            own = {name: entries.weights(name) for name in protocol.judges()}
        except (InputError, OSError) as error:
            return Finding("judges", None, f"not here: {error}")
        return _same("judges", own == self.found["judges"], "the suite's own", "other networks than the suite's")

    def tasks(self, protocol: Protocol) -> tuple[list[Question] | None, Finding]:
        """The test clips again, from the game."""
        key = (protocol.suite.sha256, self.found["seed"], len(self.rows))
        try:
            tasks = self.known[key] if key in self.known else protocol.tasks(*key[1:])
        except (InputError, OSError) as error:
            return None, Finding("questions", None, f"the test clips cannot be made here: {error}")
        self.known[key] = tasks
        wrong = [
            task.id
            for task, row in zip(tasks, self.rows, strict=True)
            if (row["id"], row["task_sha256"]) != (task.id, task.sha256())
            or not _asked(protocol, self.entry["name"], task, row)
        ]
        text = f"the {len(tasks)} test clips of seed {self.found['seed']}, in order"
        return tasks, _same(
            "questions", not wrong, text, f"{len(wrong)} rows belong to other clips or actions, as at {wrong[:1]}"
        )

    def answers(self, protocol: Protocol, tasks: list[Question]) -> Iterator[Finding]:
        """Rows from clips, and clips from weights."""
        entrant, finding = self.entrant(protocol)
        yield finding
        if self.folder is None and (entrant is None or not self.sample):
            yield Finding("sample", None, "no clip was made again")
            return
        protocol.load_judges()
        if self.folder is not None:
            player = Entrant(self.entry["name"], "videos", videos.Folder(self.folder), source=self.entry["source"])
            yield self.again("clips", protocol, player, tasks, range(len(tasks)))
        if entrant is not None and self.sample:
            picks = sorted(self.rng.permutation(len(tasks))[: self.sample].tolist())
            yield self.again("sample", protocol, entrant, tasks, picks)

    def entrant(self, protocol: Protocol) -> tuple[Entrant | None, Finding]:
        """Who answered: the same weights, options and kind?"""
        if self.named is None and trust.changed_since(self.entry):
            text = f"the module of {self.model!r} is here and is another one than the one that answered"
            return None, Finding("weights", False, text)
        try:
            entrant = trust.enter(protocol, self.entry, self.named, self.pins)
        except (InputError, OSError) as error:
            return None, Finding("weights", None, f"not here, so no clip can be made again: {error}")
        said = {**self.entry, "sampling": dict(self.entry["sampling"])}
        own = {"kind": entrant.kind, "source": entrant.source, "weights_sha256": entrant.weights}
        own["sampling"] = entrant.declared
        wrong = [key for key in own if own[key] != said[key]]
        if (entrant.source == "reference" or said["name"] in protocol.references) and said["name"] != said["origin"]:
            wrong.append("name")
        entrant = dataclasses.replace(entrant, name=self.entry["name"])
        text = f"{self.model!r} {str(entrant.weights or '')[:12]}".strip()
        return (None if wrong else entrant), _same("weights", not wrong, text, f"{wrong} are not those of {self.model!r}")

    def again(self, what: str, protocol: Protocol, entrant: Entrant, tasks: list[Question], picks: Sequence[int]) -> Finding:
        """Make rows again and compare; more of them where the first are not the same bytes."""
        made = self.rows_again(protocol, entrant, tasks, picks)
        found = {clip: Remade(self.rows[clip], made[clip], what == "clips") for clip in picks}
        if what == "sample" and not all(one.bits and not one.places() for one in found.values()):
            rest = [clip for clip in self.rng.permutation(len(tasks)).tolist() if clip not in found]
            more = rest[: max(0, MORE - len(found))]
            made |= self.rows_again(protocol, entrant, tasks, more)
            found |= {clip: Remade(self.rows[clip], made[clip]) for clip in more}
        wrong = remade.problems(list(found.values()), entrant.kind, lambda row: _value(protocol, row))
        source = "its video" if what == "clips" else "weights"
        text = f"{len(found)} clips from {source}, {sum(one.bits for one in found.values())} of them bit for bit"
        return _same(what, not wrong, text, f"{text}; {len(wrong)} rows differ: {'; '.join(wrong[:3])}")

    def rows_again(self, protocol: Protocol, entrant: Entrant, tasks: list[Question], clips: Sequence[int]) -> dict[int, Row]:
        """Rows of some clips: one by one, which changes nothing for the library's models; a foreign one in its own batch."""
        batch = min(self.found["run"]["batch"], len(tasks)) if entrant.source == "module" else 1
        pieces = sorted({(clip // batch) * batch for clip in clips}) if batch > 1 else clips
        found: dict[int, Row] = {}
        for start in pieces:
            part = [clip for clip in range(start, min(start + batch, len(tasks)))]
            part = [clip for clip in part if len(tasks[clip].actions) == len(tasks[start].actions)]
            seeds = [torch_seed(self.found["seed"], tasks[clip].id) for clip in part]
            with torch.inference_mode():
                found |= dict(zip(part, protocol.answer(entrant, [tasks[clip] for clip in part], seeds).rows, strict=True))
        alone = [clip for clip in clips if clip not in found]
        for clip in alone:
            seed = torch_seed(self.found["seed"], tasks[clip].id)
            with torch.inference_mode():
                found[clip] = protocol.answer(entrant, [tasks[clip]], [seed]).rows[0]
        return found


def _asked(protocol: Protocol, name: str, task: Question, row: Row) -> bool:
    """Does a row hold the condition and actions of its task?"""
    if row.get("condition", {}) != dict(task.condition):
        return False
    return "failure" in row or all(row.get(key) == value for key, value in protocol.given(name, task).items())


def _value(protocol: Protocol, row: Row) -> float:
    """A row's own value of the metric that ranks, turned so that higher is better; NaN where one clip gives none."""
    name = protocol.suite.metrics[0]
    with np.errstate(all="ignore"):
        value = protocol.scores([row], Bootstrap(np.zeros((2, 1), np.int64), refits=2))[name].score.value
    return value if protocol.metrics[name].better == "higher" else -value


def _same(what: str, right: bool, text: str, otherwise: str) -> Finding:
    return Finding(what, bool(right), text if right else otherwise)


def _apart(said: Mapping | None, own: Mapping | None, at: str) -> list[str]:
    """Places where two scores differ."""
    if said is None or own is None:
        return [] if said == own else [at]
    found = []
    for key in dict.fromkeys([*own, *said]):
        a, b = said.get(key), own.get(key)
        if key == "groups" and isinstance(a, dict) and isinstance(b, dict):
            found += [place for group in {**b, **a} for place in _apart(a.get(group), b.get(group), f"{at}.{group}")]
        elif key == "groups" or (key in said) != (key in own) or not _equal(a, b):
            found.append(f"{at}.{key}")
    return found


def _equal(a: Any, b: Any) -> bool:
    numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
    return abs(a - b) <= ROUNDING * max(1.0, abs(b)) if numbers else a == b


def main(job: Job) -> int:
    """Print the findings for every file; 0 when nothing differs."""
    device = find_device(job.device)
    suite = job.suite if job.suite.endswith(".toml") else None
    good, tasks = True, {}
    for path in job.verify:
        findings = verify(path, suite, *(job.models[:1] or [None]), job.videos, job.sample, device, tasks=tasks)
        good &= accepted(findings)
        print(f"{Path(path)}: {'accepted' if accepted(findings) else 'REJECTED'}")
        print("\n".join(f"  {finding}" for finding in findings))
    return 0 if good else 1
