"""Runs a suite: frames from every entry, one judge for all, then scores.

- `run(...)`: one `Answer` per row of the table: truth (the ceiling), shuffled (the floor), then every model.
- `derangement(n, rng)`: whose actions a clip is judged against in the shuffled row.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from tqdm import tqdm

from worldgym.actions import spec as action_spec
from worldgym.errors import InputError
from worldgym.eval import entries, scores
from worldgym.eval.statistics import Bootstrap
from worldgym.eval.suite import Suite
from worldgym.rng import generator, torch_seed
from worldgym.types import Prompts


class Judge(Protocol):
    """A frozen network that reads actions from video."""

    def labels(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, 3) uint8 -> (B, T-1, A) int64."""
        ...

    def features(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, 3) uint8 -> (B, D)."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """One row of the table.

    Attributes:
        name: "truth", "shuffled" or the model's name.
        kind: "truth", "shuffled", "baseline", "token", "diffusion", …
        sampling: sampling options that were used.
        frames: (N, T, H, W, 3) uint8, prefix included.
        judged: what the judge read.
        scored: metric name -> scores.
        seconds: wall time of generating and judging.
        donors: in the shuffled row, (N,) whose actions each clip was judged against.
    """

    name: str
    kind: str
    sampling: Mapping[str, Any]
    frames: np.ndarray
    judged: scores.Judged
    scored: Mapping[str, scores.Scored]
    seconds: Mapping[str, float]
    donors: np.ndarray | None = None


def derangement(clips: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) a random cycle through all clips, so that no clip is its own donor."""
    order = rng.permutation(clips)
    donors = np.empty(clips, np.int64)
    donors[order] = np.roll(order, 1)
    return donors


@torch.inference_mode()
def run(
    suite: Suite, prompts: Prompts, judge: Judge, models: Mapping[str, entries.Generator], seed: int, batch: int, device: str
) -> list[Answer]:
    """Every row of a suite's table.

    Args:
        suite: the protocol.
        prompts: N tasks of the suite.
        judge: the held-out judge.
        models: name -> model, in the order of the table.
        seed: all randomness derives from it; a clip's noise from it and the clip's id alone.
        batch: clips at once; no effect on the result.
        device: where the judge runs.
    """
    if len(prompts) < 2:
        raise InputError(f"a suite needs at least 2 clips, not {len(prompts)}: shuffled actions come from another clip")
    return list(_Run(suite, prompts, judge, seed, batch, device).answers(models))


class _Run:
    """What the rows of one table share."""

    def __init__(self, suite: Suite, prompts: Prompts, judge: Judge, seed: int, batch: int, device: str):
        self.suite, self.prompts, self.judge, self.seed, self.batch, self.device = suite, prompts, judge, seed, batch, device
        self.spec = action_spec(suite.spec)
        config = suite.bootstrap
        rng = generator(seed, suite.name, "bootstrap")
        self.bootstrap = Bootstrap.draw(len(prompts), config.resamples, rng, config.level, config.refits)

    def answers(self, models: Mapping[str, entries.Generator]) -> Iterator[Answer]:
        prompts, suite = self.prompts, self.suite
        start = time.perf_counter()
        read, features = self.read("truth", prompts.truth)
        seconds = {"generate": 0.0, "judge": time.perf_counter() - start}
        given = prompts.actions[:, suite.prefix - 1 :]
        truth = self.judged(given, read, features, features, prompts.truth)
        yield self.answer("truth", "truth", prompts.truth, truth, seconds)

        donors = derangement(len(prompts), generator(self.seed, suite.name, "shuffled"))
        floor = dataclasses.replace(truth, given=given[donors])
        yield self.answer("shuffled", "shuffled", prompts.truth, floor, {"generate": 0.0, "judge": 0.0}, donors=donors)

        for name, model in models.items():
            start = time.perf_counter()
            options = entries.sampling(model, suite)
            frames = self.generate(name, model, options)
            middle = time.perf_counter()
            judged = self.judged(given, *self.read(name, frames), features, frames)
            seconds = {"generate": middle - start, "judge": time.perf_counter() - middle}
            yield self.answer(name, getattr(model, "kind", "model"), frames, judged, seconds, options)

    def generate(self, name: str, model: entries.Generator, options: Mapping[str, Any]) -> np.ndarray:
        """(N, T, H, W, 3) uint8."""
        seeds = [torch_seed(self.seed, clip) for clip in self.prompts.ids]
        parts = []
        for rows in self.batches(f"{name}: generating"):
            part = self.prompts[rows]
            parts.append(entries.generate(name, model, part.prefix, part.actions, seeds[rows], options))
        return np.concatenate(parts)

    def read(self, name: str, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels (N, T-1, A) int64 and features (N, D) float64 of frames (N, T, H, W, 3)."""
        labels, features = [], []
        for rows in self.batches(f"{name}: judging"):
            part = torch.from_numpy(np.ascontiguousarray(frames[rows])).to(self.device)
            labels.append(self.judge.labels(part).cpu().numpy())
            features.append(self.judge.features(part).double().cpu().numpy())
        return np.concatenate(labels), np.concatenate(features)

    def judged(
        self, given: np.ndarray, read: np.ndarray, features: np.ndarray, truth_features: np.ndarray, frames: np.ndarray
    ) -> scores.Judged:
        """Drop the prefix: nothing that was given is scored."""
        first = self.suite.prefix
        truth = self.prompts.truth
        return scores.Judged(
            self.spec,
            given,
            read[:, first - 1 :],
            features,
            truth_features,
            frames[:, first:],
            truth[:, first:],
            frames is truth,
        )

    def answer(
        self,
        name: str,
        kind: str,
        frames: np.ndarray,
        judged: scores.Judged,
        seconds: Mapping[str, float],
        options: Mapping[str, Any] | None = None,
        donors: np.ndarray | None = None,
    ) -> Answer:
        """Score one row."""
        scored = scores.score(judged, self.bootstrap, self.suite.metrics)
        return Answer(name, kind, dict(options or {}), frames, judged, scored, seconds, donors)

    def batches(self, title: str) -> Iterator[slice]:
        """Slices of at most `batch` clips, with a progress bar over clips."""
        with tqdm(total=len(self.prompts), desc=title, unit="clip") as bar:
            for start in range(0, len(self.prompts), self.batch):
                rows = slice(start, min(start + self.batch, len(self.prompts)))
                yield rows
                bar.update(rows.stop - rows.start)
