"""One run of the main job, from names to files.

- `run(job)`: checks everything, then does the long work, then writes and prints.
- `export(job)`: the questions of a suite for a model that cannot run here.
"""

from __future__ import annotations

import dataclasses
import datetime
import os
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldgym import files
from worldgym.actions import CameraAxis, Group
from worldgym.actions import spec as action_spec
from worldgym.errors import InputError
from worldgym.eval import protocols
from worldgym.eval.display import picture, report
from worldgym.eval.protocols import entries, videos
from worldgym.eval.protocols.base import Protocol
from worldgym.eval.results import provenance, record
from worldgym.eval.results import suite as suites
from worldgym.eval.results.answers import Answer, Entrant, Question
from worldgym.eval.results.suite import Suite
from worldgym.eval.running import parts
from worldgym.eval.running.arguments import Job
from worldgym.eval.running.runner import Run

SHOWN = 6  # clips in pictures and videos


@dataclasses.dataclass(frozen=True, eq=False)
class Ready:
    """A job whose every name is resolved."""

    suite: Suite
    protocol: Protocol
    clips: int
    device: str
    out: Path
    entrants: Sequence[Entrant]
    judges: dict[str, str | None]


def run(job: Job) -> dict[str, Any] | None:
    """Run, write the files, print the table; the summary, or None in a process other than the first.

    Raises:
        InputError: anything that is wrong with the job, before the long work begins; or an entry failed on every clip.
    """
    if job.export is not None:
        with files.claimed(job.export):
            return export(job)
    started, clock = datetime.datetime.now(datetime.timezone.utc), time.perf_counter()
    worker, ready = parts.worker(), prepare(job)
    with files.claimed(ready.out):
        return _answers(job, ready, worker, started, clock)


def _answers(job: Job, ready: Ready, worker: parts.Worker, started: datetime.datetime, clock: float) -> dict | None:
    """Everything after the preparations; the summary, None in a process that only helps."""
    tasks = ready.protocol.tasks(job.seed, ready.clips)
    prepared = time.perf_counter() - clock
    shown = picture.chosen([task.actions for task in tasks], SHOWN, len(action_spec(ready.suite.spec).groups))
    kept = range(len(tasks)) if job.save_clips else shown
    work = Run(ready.protocol, tasks, job.seed, job.batch, ready.out, identity(ready), worker, kept)
    answers = [work.entry(entrant) for entrant in ready.entrants]
    if not worker.first:
        return None
    times = {"started": started.isoformat(timespec="seconds"), "prepare_s": round(prepared, 3)}
    times["total_s"] = round(time.perf_counter() - clock, 3)
    ids = [tasks[clip].id for clip in shown if any(clip in answer.shown for answer in answers)]
    circumstances = record.Circumstances(
        ready.suite, job.seed, ready.judges, work.hashes, job.batch, ready.device, worker.world, ids, times
    )
    summary = finish(circumstances, ready, answers, {clip: tasks[clip] for clip in shown}, ready.out)
    if job.save_clips:
        save_clips(answers, tasks, ready.out / "clips")
    parts.remove(ready.out)
    complain(answers)
    return summary


def identity(ready: Ready) -> dict[str, Any]:
    """What decides the rows, beside tasks, seed, batch and entrant."""
    versions = {"commit": provenance.commit(), **provenance.versions()}
    return {"suite": ready.suite.sha256, "judges": ready.judges, "device": ready.device.partition(":")[0], **versions}


def prepare(job: Job) -> Ready:
    """Resolve names, prove that the output can be written, load judges and models."""
    suite = suites.load(job.suite)
    clips = suite.clips if job.clips is None else job.clips
    if clips < 2:
        raise InputError(f"--clips is {clips}, but at least 2 are needed: shuffled actions come from another clip")
    if job.batch < 1 or job.seed < 0:
        raise InputError(f"--batch is {job.batch} and --seed is {job.seed}; at least 1 and 0 are needed")
    device = find_device(job.device)
    protocol = protocols.load(suite, device)
    names = [labelled(name) for name in job.models or suite.models]
    labels = [*protocol.references, *(label for label, _ in names)]
    if len(set(labels)) < len(labels):
        raise InputError(f"--models names an entry twice: {' '.join(labels)}")
    judges = {name: entries.weights(name) for name in protocol.judges()}
    protocol.load_judges()
    asked = [*((name, name) for name in protocol.references), *names]
    entrants = [dataclasses.replace(protocol.enter(name), name=label, origin=name) for label, name in asked]
    out = files.output_folder(job.out or Path("results", suite.name))  # after all names: a typo leaves no empty folder
    return Ready(suite, protocol, clips, device, out, entrants, judges)


def labelled(text: str) -> tuple[str, str]:
    """Name of the entry, and what it is: "mine=my/model.safetensors" or just "doom-rooms/token-nano"."""
    label, equals, name = text.partition("=")
    return (label, name) if equals and name and re.fullmatch(record.PLAIN, label) else (text, text)


def find_device(name: str) -> str:
    """A device that is there; "auto" is CUDA where there is one, its own for each process of a launcher.

    Raises:
        InputError: unknown, or CUDA asked for and absent.
    """
    if name == "auto":
        local = os.environ.get("LOCAL_RANK", "0")
        count = torch.cuda.device_count()
        return f"cuda:{int(local) % count}" if count and local.isdigit() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InputError(f"unknown device {name!r}; use auto, cpu or cuda") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise InputError(f"--device {name} needs CUDA device {device.index or 0}, but torch finds {count}; use --device cpu")
    if device.type not in ("cpu", "cuda"):
        raise InputError(f"device {name!r} is not supported; use auto, cpu or cuda")
    return name


def finish(
    circumstances: record.Circumstances, ready: Ready, answers: Sequence[Answer], shown: dict[int, Question], out: Path
) -> dict[str, Any]:
    """Write all files and print the table; the summary."""
    results = [record.entry_record(circumstances, answer) for answer in answers]
    paths = [record.write(result, out) for result in results]
    for answer, path in zip(answers, paths, strict=True):
        clip_film(answer, list(shown), path.with_suffix(".webm"))
    names = [path.relative_to(out).as_posix() for path in paths]
    summary = record.summary(circumstances, answers, names, [result["sha256"] for result in results])
    written = ["result.json", *pictures(ready, answers, shown, out)]
    files.write_json(out / "result.json", summary)
    print(f"\n{report.table(summary, ready.protocol.metrics)}")
    print(f"{summary['time']['total_s']:.0f} s; wrote {', '.join(str(out / name) for name in (*written, *names))}")
    return summary


def pictures(ready: Ready, answers: Sequence[Answer], shown: dict[int, Question], out: Path) -> list[str]:
    """The picture and the video of a run, where there are frames to show; their names."""
    columns, spec = picture.columns(ready.protocol, answers), action_spec(ready.suite.spec)
    if not columns:
        return []
    first = dict(list(shown.items())[:2])
    picture.draw(columns, first, spec, out / "picture.png")
    picture.film(columns, shown, spec, out / "video.mp4")
    return ["picture.png", "video.mp4"]


def clip_film(answer: Answer, shown: Sequence[int], path: Path, fps: float = 6.0) -> None:
    """An entry's shown clips, one after the other, without captions; the leaderboard's page plays this file."""
    stills = [still for clip in shown if clip in answer.shown for still in answer.shown[clip]]
    if not stills or answer.entrant.kind == "shuffled":  # whose frames are those of the truth
        return
    height, width = stills[0].shape[:2]
    even = [np.pad(still, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge") for still in stills]
    with files.atomic_path(path) as temporary:
        videos.encode(even, fps, temporary, "webm")


def save_clips(answers: Sequence[Answer], tasks: Sequence[Question], folder: Path) -> None:
    """Every clip of every entry as <entry>/<clip>.npy."""
    for answer in answers:
        place = folder / record.slug(answer.name)
        place.mkdir(parents=True, exist_ok=True)
        for clip, frames in answer.shown.items():
            with (
                files.atomic_path(place / f"{videos.file_of(tasks[clip].id)}.npy") as temporary,
                open(temporary, "wb") as file,
            ):
                np.save(file, frames)


def complain(answers: Sequence[Answer]) -> None:
    """Print which entries failed; their rows say why.

    Raises:
        InputError: an entry failed on every clip.
    """
    for answer in answers:
        failures = [row["failure"] for row in answer.rows if "failure" in row]
        if failures:
            text = (
                f"{answer.name!r} failed on {len(failures)} of {len(answer.rows)} clips (recorded); the first: {failures[0]}"
            )
            if len(failures) == len(answer.rows):
                raise InputError(text)
            print(f"warning: {text}")


def _column(column: Group | CameraAxis) -> dict[str, Any]:
    """What a column of the action arrays holds, for whoever reads them elsewhere."""
    if isinstance(column, CameraAxis):
        return {"name": column.name, "degrees": [round(float(degrees), 6) for degrees in column.centers]}
    return {"name": column.name, "labels": list(column.labels)}


def export(job: Job) -> None:
    """Write the questions of a suite: per clip <clip>.npz with "prefix" (P, H, W, 3) uint8 and "actions" (T-1, A), and
    questions.json with names, the columns of the actions in the array's order, and how answers must be named.
    """
    suite = suites.load(job.suite)
    protocol, spec = protocols.load(suite), action_spec(suite.spec)
    tasks = protocol.tasks(job.seed, job.clips or suite.clips)
    out = files.output_folder(job.export)
    for task in tasks:
        with files.atomic_path(out / f"{videos.file_of(task.id)}.npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, prefix=task.prefix, actions=task.actions)
    about = {
        "suite": {"name": suite.name, "sha256": suite.sha256},
        "seed": job.seed,
        "columns": [_column(column) for column in spec.columns],
        "camera": "degrees per step and bin; positive yaw turns right, positive pitch looks down",
        "answer": "one video per clip, prefix included: <file>.npy (T, H, W, 3) uint8, .mp4 or .webm",
        "clips": [
            {
                "id": task.id,
                "file": videos.file_of(task.id),
                "frames": len(task.actions) + 1,
                "size": list(task.prefix.shape[1:3]),
            }
            for task in tasks
        ],
    }
    files.write_json(out / "questions.json", about)
    print(f"wrote {len(tasks)} questions to {out}; answer with --models <folder of videos>")
