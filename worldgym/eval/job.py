"""One run of the main job, from names to files.

- `Job`: what was asked for. `run(job)`: checks everything, then does the long work, then writes and prints.
"""

from __future__ import annotations

import dataclasses
import datetime
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from worldgym import files
from worldgym.errors import InputError
from worldgym.eval import entries, picture, record, report, runner, scores
from worldgym.eval import suite as suites
from worldgym.eval.suite import Suite
from worldgym.types import Prompts

CHUNK = 32  # clips per opened game: its start costs as much as a clip or two


@dataclasses.dataclass(frozen=True)
class Job:
    """What was asked for; see `python -m worldgym.eval --help`."""

    suite: str
    """Name or path of the protocol."""
    models: tuple[str, ...] = ()
    """Names or paths; the suite's own when empty."""
    clips: int | None = None
    """N; the suite's own when None."""
    device: str = "auto"
    """auto, cpu, cuda, …"""
    out: str | None = None
    """Folder; results/<suite> when None."""
    seed: int = 0
    """All randomness derives from it."""
    batch: int = 32
    """Clips at once."""


@dataclasses.dataclass(frozen=True, eq=False)
class _Ready:
    """A job whose every name is resolved."""

    suite: Suite
    clips: int
    device: str
    out: Path
    judge: Any
    models: Mapping[str, Any]


def run(job: Job) -> record.Result:
    """Run, write result.json, picture.png and video.mp4, print the table.

    Raises:
        InputError: anything that is wrong with the job, before the long work begins.
    """
    started, clock = datetime.datetime.now(datetime.timezone.utc), time.perf_counter()
    ready = prepare(job)
    prompts = record_clips(ready.suite, job.seed, ready.clips)
    recorded = time.perf_counter() - clock
    answers = runner.run(ready.suite, prompts, ready.judge, ready.models, job.seed, job.batch, ready.device)
    weights = {name: entries.weights(name) for name in (ready.suite.judge, *ready.models)}
    times = {"started": started.isoformat(timespec="seconds"), "prepare_s": round(recorded, 3)}
    times["total_s"] = round(time.perf_counter() - clock, 3)
    result = record.Result(ready.suite, prompts, answers, job.seed, job.batch, ready.device, weights, times)
    finish(result, ready.out)
    return result


def prepare(job: Job) -> _Ready:
    """Resolve names, prove that the output can be written, load judge and models."""
    suite = suites.load(job.suite)
    clips = suite.clips if job.clips is None else job.clips
    if clips < 2:
        raise InputError(f"--clips is {clips}, but at least 2 are needed: shuffled actions come from another clip")
    if job.batch < 1 or job.seed < 0:
        raise InputError(f"--batch is {job.batch} and --seed is {job.seed}; at least 1 and 0 are needed")
    scores.check(suite.metrics)
    device = find_device(job.device)
    names = job.models or suite.models
    if len(set(names)) < len(names):
        raise InputError(f"--models names a model twice: {' '.join(names)}")
    judge = entries.load_judge(suite, device)
    models = {name: entries.load(name, suite, device) for name in names}
    out = files.output_folder(job.out or Path("results", suite.name))  # after all names: a typo leaves no empty folder
    return _Ready(suite, clips, device, out, judge, models)


def find_device(name: str) -> str:
    """A device that is there; "auto" is CUDA where there is one.

    Raises:
        InputError: unknown, or CUDA asked for and absent.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
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


def record_clips(suite: Suite, seed: int, clips: int) -> Prompts:
    """Play and render the test clips, live from the game, with a progress bar."""
    from worldgym.data.prompts import record_prompts

    seeds = suites.suite_seeds(suite, seed, clips)
    parts = []
    with tqdm(total=clips, desc="playing the test clips", unit="clip") as bar:
        for start in range(0, clips, CHUNK):
            parts.append(record_prompts(suite.world, seeds[start : start + CHUNK], suite.frames, suite.prefix))
            bar.update(len(parts[-1]))
    arrays = (np.concatenate([getattr(part, name) for part in parts]) for name in ("prefix", "actions", "truth"))
    return Prompts(*arrays, tuple(name for part in parts for name in part.ids))


def finish(result: record.Result, out: Path) -> None:
    """Write the files and print the table."""
    record.write(result, out / "result.json")
    picture.draw(result.answers, result.prompts, out / "picture.png")
    picture.film(result.answers, result.prompts, out / "video.mp4")
    print(f"\n{report.table(result.to_dict())}")
    print(
        f"{result.time['total_s']:.0f} s; wrote {', '.join(str(out / n) for n in ('result.json', 'picture.png', 'video.mp4'))}"
    )
