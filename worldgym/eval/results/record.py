"""Result files: one JSON per (suite, entry, seed), and a summary of a run.

- `entry_record(...)`: everything about one entry under one seed. `summary(...)`: the table of one run.
- `seal(record)`: the hash over all but "time". `slug(name)`: an entry's name as the name of a folder.
- `text(record)`: the file's text. `write(record, out)`: the file in its place.

Two runs of one command give the same file but for the object "time". The format is published as JSON Schema in
`schemas/result-2.json`; `worldgym.eval.results.schema` reads and checks files.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worldgym import files
from worldgym.eval.results import provenance, scores
from worldgym.eval.results.answers import Answer
from worldgym.eval.results.digests import chain, digest_json
from worldgym.eval.results.suite import Suite

SCHEMA = 2
PLAIN = r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*"  # names that only lose their slashes


@dataclasses.dataclass(frozen=True, eq=False)
class Circumstances:
    """What all entries of one run share.

    Attributes:
        suite: the protocol's data.
        seed: all randomness derives from it.
        judges: name -> sha256 of its file.
        tasks_sha256: per clip.
        batch: clips at once.
        device: where models and judges ran.
        processes: how many shared the work.
        shown: ids of the clips in the videos.
        time: when it started and how long it took.
    """

    suite: Suite
    seed: int
    judges: Mapping[str, str | None]
    tasks_sha256: Sequence[str]
    batch: int
    device: str
    processes: int
    shown: Sequence[str]
    time: Mapping[str, Any]


def _common(run: Circumstances) -> dict[str, Any]:
    suite = run.suite
    return {
        "schema": SCHEMA,
        "suite": {"name": suite.name, "version": suite.version, "sha256": suite.sha256, "protocol": suite.protocol},
        "seed": run.seed,
        "judges": dict(run.judges),
        "bootstrap": {"unit": "clip", "method": "percentile", **dataclasses.asdict(suite.bootstrap)},
        "run": {
            "command": provenance.command(),
            "commit": provenance.commit(),
            "versions": provenance.versions(),
            "hardware": provenance.hardware(run.device),
            "batch": run.batch,
            "env_spec": provenance.env_spec(suite.world),
        },
    }


def entry_record(run: Circumstances, answer: Answer) -> dict[str, Any]:
    """One result file as plain values; a missing value is null."""
    entrant, rows = answer.entrant, list(answer.rows)
    record = {
        "what": "result",
        **_common(run),
        "entry": {
            "name": entrant.name,
            "kind": entrant.kind,
            "source": entrant.source,
            "origin": entrant.origin or entrant.name,
            "sampling": entrant.declared,
            "weights_sha256": entrant.weights,
        },
        "clips": {"count": len(rows), "failed": len(scores.failed(rows)), "sha256": chain(run.tasks_sha256)},
        "frames_sha256": chain(row.get("frames_sha256") for row in rows),
        "shown": list(run.shown),
        "scores": dict(answer.scores),
        "rows": rows,
        "time": {**run.time, **provenance.effort(run.processes), "entry_s": round(answer.seconds, 3)},
    }
    return {**record, "sha256": seal(record)}


def summary(run: Circumstances, answers: Sequence[Answer], paths: Sequence[str], seals: Sequence[str]) -> dict[str, Any]:
    """The table of one run, without rows."""
    entries = [
        {
            "name": answer.name,
            "kind": answer.entrant.kind,
            "file": path,
            "sha256": sealed,
            "failed": len(scores.failed(answer.rows)),
            "scores": dict(answer.scores),
        }
        for answer, path, sealed in zip(answers, paths, seals, strict=True)
    ]
    clips = {"count": len(run.tasks_sha256), "sha256": chain(run.tasks_sha256)}
    return {"what": "summary", **_common(run), "clips": clips, "entries": entries, "time": dict(run.time)}


def seal(record: Mapping[str, Any]) -> str:
    """sha256 over everything but "time" and the hash itself: two runs of one command have the same."""
    return digest_json({key: value for key, value in record.items() if key not in ("time", "sha256")})


def slug(name: str) -> str:
    """An entry's name as a folder: "doom-rooms/token-nano" -> "doom-rooms--token-nano".

    Names that lose anything but slashes get a piece of their hash, so that two names never share a folder.
    """
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name.replace("/", "--")).strip(".-")[:80] or "entry"
    if re.fullmatch(PLAIN, name) and len(name) <= 70 and "--" not in name:
        return plain
    return f"{plain}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def text(record: Mapping[str, Any]) -> str:
    """A result as JSON without spaces: one line per field, and one line per row, so that a changed clip is a changed line."""
    fields = (f"{_line(key)}:{_rows(value) if key == 'rows' else _line(value)}" for key, value in sorted(record.items()))
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _rows(rows: Sequence[Any]) -> str:
    return "[\n" + ",\n".join(map(_line, rows)) + "\n]"


def _line(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)


def write(record: Mapping[str, Any], out: Path) -> Path:
    """Write a result as <out>/<entry>/<seed>.json; the path."""
    path = out / slug(record["entry"]["name"]) / f"{record['seed']}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    files.write_bytes(path, text(record).encode())
    return path
