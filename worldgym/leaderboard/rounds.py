"""Sealed rounds: questions whose truth nobody can compute before the answers are in.

- `new(…)`: a round: questions without truth, a commitment to a secret, the secret beside it for the organiser alone.
- `enter(…)`: answers, with the hour at which they came. `reveal(…)`: scores, then the secret. `verify(…)`: for everybody then.

The commitment is sha256 over canonical JSON of secret, suite (by hash), deadline, number of clips, questions and the private
judge's hash, so that none of them can be chosen after the answers are seen.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldgym import files
from worldgym.errors import InputError
from worldgym.eval import protocols
from worldgym.eval.protocols import entries, sealed, videos
from worldgym.eval.protocols.action_following import ActionFollowing
from worldgym.eval.results import schema, scores
from worldgym.eval.results import suite as suites
from worldgym.eval.results.answers import Entrant, Question
from worldgym.eval.results.digests import digest_json
from worldgym.eval.results.record import PLAIN, slug
from worldgym.eval.results.suite import Suite
from worldgym.rng import torch_seed

SECRET_BITS = 256
PUBLIC, SECRET, TOLD, TABLE = "round.json", "secret.json", "revealed.json", "results.json"
BATCH = 16


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.timezone.utc)


def new(out: Path, suite: str, deadline: str, clips: int | None = None, judge: str | None = None) -> Path:
    """Make a round; the folder to publish is <out>/public, and <out>/secret.json stays with the organiser.

    Args:
        out: a folder that is not there yet.
        suite: name of a suite of action following.
        deadline: ISO 8601 with its offset from UTC, as "2027-01-31T12:00:00+00:00".
        clips: how many questions; the suite's number when not given.
        judge: path of a private judge that scores instead of the suite's; only its hash is published.

    Raises:
        InputError: the folder exists, the deadline is past or no date, or the suite has no rounds.
    """
    if out.exists():
        raise InputError(f"{str(out)!r} exists; a round is made once, name another folder")
    found, end = suites.load(suite), _date(deadline)
    if end <= _now():
        raise InputError(f"the deadline {deadline} is past")
    secret = secrets.token_bytes(SECRET_BITS // 8)
    asked = sealed.questions(found, secret, clips or found.clips)
    terms = _terms(found, end, asked, files.sha256(judge) if judge else None)
    public = files.output_folder(out / "public")
    for task in asked:
        with files.atomic_path(public / f"{task.id}.npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, prefix=task.prefix, actions=task.actions)
    files.write_json(out / SECRET, {"secret": secret.hex()})
    os.chmod(out / SECRET, 0o600)
    files.write_json(public / PUBLIC, {**terms, "commitment": commitment(secret, terms)})
    return public


def _terms(suite: Suite, end: datetime.datetime, asked: list[Question], judge: str | None) -> dict[str, Any]:
    return {
        **{"what": "round", "suite": suite.name, "suite_sha256": suite.sha256, "deadline": end.isoformat(timespec="seconds")},
        **{"answer": "one video per question, given frames included: <id>.npy (T, H, W, 3) uint8, .mp4 or .webm"},
        **{"clips": len(asked), "questions_sha256": sealed.sha256_of(asked), "private_judge_sha256": judge},
    }


def commitment(secret: bytes, terms: Mapping[str, Any]) -> str:
    """What is published before, and follows from the secret and all terms."""
    return digest_json({"secret": secret.hex(), **{key: value for key, value in terms.items() if key != "commitment"}})


def _date(text: str) -> datetime.datetime:
    try:
        found = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text[:60]!r} is no date; write 2027-01-31T12:00:00+00:00") from None
    if found.tzinfo is None:
        raise InputError(f"{text[:60]!r} does not say its offset from UTC; write 2027-01-31T12:00:00+00:00")
    return found


def enter(out: Path, name: str, answers: Path) -> Path:
    """Take an entrant's videos, before the deadline.

    Raises:
        InputError: late, an answer is missing or wrong, or the name is not plain or taken.
    """
    terms = read_terms(out)
    suite = _suite(terms)
    if _now() > _date(terms["deadline"]):
        raise InputError(f"the round closed at {terms['deadline']}; {name[:40]!r} is late")
    if (out / "public" / TOLD).exists():
        raise InputError("the secret is told, so nothing more can be entered")
    if not re.fullmatch(PLAIN, name) or len(name) > 70 or name in ActionFollowing.references:
        raise InputError(f"the name {ascii(name[:60])} is not plain, or a reference's")
    place = out / "entries" / slug(name)
    if place.exists():
        raise InputError(f"{name!r} is in already; an entry is not changed")
    folder = videos.Folder(answers)
    found = {f"q{i:05}": folder.for_tasks([f"q{i:05}"], suite.frames, suite.size)[0] for i in range(terms["clips"])}
    temporary = files.output_folder(place.with_name(f".{place.name}.tmp-{os.getpid()}"))
    try:
        for clip, frames in found.items():
            np.save(temporary / f"{clip}.npy", frames)
        about = {"name": name, "received": _now().isoformat(), "sha256": videos.folder_sha256(temporary)}
        files.write_json(temporary / "entry.json", about)
        os.replace(temporary, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return place


def read_terms(out: Path) -> dict[str, Any]:
    """The public terms of a round.

    Raises:
        InputError: there is no round.
    """
    terms = schema.read_json(out / "public" / PUBLIC)
    if not isinstance(terms, dict) or terms.get("what") != "round":
        raise InputError(f"{str(out)!r} is no round")
    return terms


def _suite(terms: Mapping[str, Any]) -> Suite:
    """The suite, unchanged since the round began."""
    suite = suites.load(terms["suite"])
    if suite.sha256 != terms["suite_sha256"]:
        raise InputError(f"suite {suite.name!r} is another one than the round's: it changed after the round began")
    return suite


def verify(out: Path, secret: bytes | None = None) -> list[Question]:
    """Does a secret belong to the round? Its questions, made again.

    Args:
        out: folder of the round.
        secret: the one that was told, when not given.

    Raises:
        InputError: another secret, suite, deadline or number of clips than those that were committed to.
    """
    terms = read_terms(out)
    suite = _suite(terms)
    if secret is None:
        secret = bytes.fromhex(schema.read_json(out / "public" / TOLD)["secret"])
    if commitment(secret, terms) != terms["commitment"]:
        raise InputError("the commitment does not follow from this secret and these terms: one of them was changed")
    asked = sealed.questions(suite, secret, terms["clips"])
    if sealed.sha256_of(asked) != terms["questions_sha256"]:
        raise InputError("the questions that follow from the secret are not those of the round")
    return asked


def reveal(out: Path, judge: str | None = None, device: str = "cpu") -> dict[str, Any]:
    """Score all entries, then tell the secret.

    Args:
        out: folder of the round.
        judge: the private judge, where one was committed to.
        device: where the judges run.

    Returns:
        Name -> metric -> JSON values, "truth" among them.

    Raises:
        InputError: too early, the secret or the judge is another one, or an entry was changed after it came.
    """
    terms = read_terms(out)
    if _now() <= _date(terms["deadline"]):
        raise InputError(f"the round is open until {terms['deadline']}; nothing is told before")
    secret = bytes.fromhex(schema.read_json(out / SECRET)["secret"])
    asked = verify(out, secret)
    protocol = _protocol(_suite(terms), terms, judge, device)
    tasks = protocol.with_donors(asked, 0, protocol.suite)
    table = {name: _scored(protocol, protocol.enter(name), tasks) for name in protocol.references}
    for place in sorted((out / "entries").glob("*/entry.json")):
        about = schema.read_json(place)
        if _date(about["received"]) > _date(terms["deadline"]) or videos.folder_sha256(place.parent) != about["sha256"]:
            raise InputError(f"entry {about['name']!r} came late or was changed after it came")
        player = Entrant(about["name"], "videos", videos.Folder(place.parent), weights=about["sha256"], source="folder")
        table[about["name"]] = _scored(protocol, player, tasks)
    files.write_json(out / "public" / TABLE, {"what": "round results", "commitment": terms["commitment"], "scores": table})
    files.write_json(out / "public" / TOLD, {"secret": secret.hex()})
    return table


def _protocol(suite: Suite, terms: Mapping[str, Any], judge: str | None, device: str) -> ActionFollowing:
    wanted = terms["private_judge_sha256"]
    if (judge is None) != (wanted is None) or judge is not None and entries.weights(judge) != wanted:
        raise InputError(
            "the judge is not the one that the round committed to; name it by --judge, or none where none was named"
        )
    protocol = protocols.load(dataclasses.replace(suite, judge=judge) if judge else suite, device)
    protocol.load_judges()
    return protocol


def _scored(protocol: ActionFollowing, entrant: Entrant, tasks: list[Question]) -> dict[str, Any]:
    rows = []
    for start in range(0, len(tasks), BATCH):
        part = tasks[start : start + BATCH]
        with torch.inference_mode():
            rows += protocol.answer(entrant, part, [torch_seed(0, task.id) for task in part]).rows
    return scores.of_rows(protocol, {0: rows})
