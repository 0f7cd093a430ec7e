"""Runs a suite: rows from every entry, piece by piece, then scores.

- `Run`: what the rows of one table share. `Run.entry(entrant)`: all rows of one entry, made or picked up from disk.

Pieces are cut by the batch alone, never by the number of processes, so that one process and many give the same bytes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from worldgym.errors import InputError
from worldgym.eval.protocols.base import Protocol
from worldgym.eval.results import scores
from worldgym.eval.results.answers import Answer, Entrant, Question
from worldgym.eval.running.parts import Parts, Piece, Worker
from worldgym.rng import torch_seed


class Run:
    """A protocol, its tasks, and where pieces go.

    Args:
        protocol: of the suite; its judges must be loaded.
        tasks: N test clips.
        seed: all randomness derives from it; a clip's noise from it and the clip's id alone.
        batch: clips at once; changes speed and memory, not what is asked.
        out: folder of the run.
        identity: JSON values that decide what comes out, beside the entrant: they name the pieces.
        worker: which process of how many.
        shown: indices of the clips whose frames are kept.
    """

    def __init__(
        self,
        protocol: Protocol,
        tasks: Sequence[Question],
        seed: int,
        batch: int,
        out: Path,
        identity: Mapping[str, Any],
        worker: Worker | None = None,
        shown: Sequence[int] = (),
    ):
        if len(tasks) < 2:
            raise InputError(f"a suite needs at least 2 clips, not {len(tasks)}: shuffled actions come from another clip")
        self.protocol, self.tasks, self.seed, self.batch, self.out = protocol, tasks, seed, batch, out
        self.worker, self.shown = worker or Worker(), frozenset(shown)
        self.hashes = [task.sha256() for task in tasks]
        self.identity = {**identity, "tasks": self.hashes, "seed": seed, "batch": batch, "shown": sorted(self.shown)}

    def pieces(self) -> list[range]:
        """Neighbouring clips of equal length, at most `batch` of them."""
        ranges: list[range] = []
        for index, task in enumerate(self.tasks):
            last = ranges[-1] if ranges else range(0)
            same = last and len(last) < self.batch and len(self.tasks[last.start].actions) == len(task.actions)
            if same:
                ranges[-1] = range(last.start, index + 1)
            else:
                ranges.append(range(index, index + 1))
        return ranges

    def entry(self, entrant: Entrant) -> Answer | None:
        """All rows of one entry; None in a process other than the first."""
        parts, pieces = self._parts(entrant), self.pieces()
        mine = [piece for i, piece in enumerate(pieces) if i % self.worker.world == self.worker.rank]
        for clips in self._bar(f"{entrant.name}: generating", mine):
            if parts.read(clips.start) is None:
                parts.write(clips.start, self.make(entrant, clips))
        if not self.worker.first:
            return None
        finished = [parts.wait(clips.start) for clips in pieces]
        rows = [dict(row) for piece in finished for row in piece.rows]
        shown = {clip: frames for piece in finished for clip, frames in piece.shown.items()}
        scored = scores.of_rows(self.protocol, {self.seed: rows})
        return Answer(entrant, rows, scored, shown, sum(piece.seconds for piece in finished))

    def make(self, entrant: Entrant, clips: Sequence[int]) -> Piece:
        """Rows of some clips of one length."""
        start, tasks = time.perf_counter(), [self.tasks[clip] for clip in clips]
        seeds = [torch_seed(self.seed, task.id) for task in tasks]
        with torch.inference_mode():
            answers = self.protocol.answer(entrant, tasks, seeds)
        rows = [{**row, "task_sha256": self.hashes[clip]} for clip, row in zip(clips, answers.rows, strict=True)]
        kept = {c: made for c, made in zip(clips, answers.frames, strict=True) if c in self.shown and made is not None}
        return Piece(rows, time.perf_counter() - start, kept)

    def _parts(self, entrant: Entrant) -> Parts:
        who = {"name": entrant.name, "kind": entrant.kind, "weights": entrant.weights, "sampling": dict(entrant.sampling)}
        if entrant.modules:
            who["modules"] = dict(entrant.modules)
        parts = Parts(self.out, {**self.identity, "entrant": who})
        if self.worker.first:
            parts.introduce(entrant.name, entrant.modules)
        return parts

    def _bar(self, title: str, pieces: Sequence[range]) -> Iterator[range]:
        """The pieces, with a progress bar over clips."""
        with tqdm(total=sum(map(len, pieces)), desc=title, unit="clip", disable=not self.worker.first) as bar:
            for piece in pieces:
                yield piece
                bar.update(len(piece))
