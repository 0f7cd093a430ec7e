"""Action following (MineWorld, RLIR): a held-out judge reads the actions back from the video.

Rows: "given" and "predicted" labels, per-clip numbers under "scores", the judge's features. References: "truth" (the
ceiling) and "shuffled", the true video judged against another clip's actions (the floor).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import torch

from worldgym.actions import spec as action_spec
from worldgym.eval.metrics import action_following as following
from worldgym.eval.metrics.frechet import frechet
from worldgym.eval.metrics.psnr import psnr
from worldgym.eval.metrics.reencoding import reencode
from worldgym.eval.metrics.ssim import ssim
from worldgym.eval.protocols import entries
from worldgym.eval.protocols.base import ModelProtocol
from worldgym.eval.protocols.clips import record
from worldgym.eval.protocols.looks import DISTANCE, JUDGE, METRICS, Looks, networks
from worldgym.eval.results import rows
from worldgym.eval.results.answers import Entrant, Metric, Question, Row, ScoredMetric
from worldgym.eval.results.statistics import Bootstrap, Score
from worldgym.eval.results.suite import Suite
from worldgym.judges.flow_trees import FlowTrees
from worldgym.rng import generator, torch_seed
from worldgym.zoo import load_judge

RATIOS = {  # what a confusion matrix says, and in which column
    "precision": (following.precision_recall_f1, 0),
    "recall": (following.precision_recall_f1, 1),
    "f1": (following.precision_recall_f1, 2),
    "f1_micro": (following.micro_f1, 0),
}
READ = {
    "camera_error": following.camera_error,
    "exact_match": following.exact_match,
    "group_accuracy": following.group_accuracy,
}
PIXELS = {"psnr": psnr, "ssim": ssim}


@dataclasses.dataclass(frozen=True)
class Options:
    """What a suite of this protocol can set, for metrics of looks."""

    quality: str = JUDGE
    """The held-out judge of frames."""
    perceptual: str = DISTANCE
    """The perceptual distance: a latent codec or quality net by zoo name, "lpips-alex" or "lpips-vgg"."""
    fps: float = 35 / 6
    """Frames per second, for dynamic degree."""
    second: str = ""
    """A second judge of actions, of another family, for f1_second."""
    reencode: bool = False
    """Judges of actions see every clip through `worldgym.eval.metrics.reencoding`."""


class ActionFollowing(ModelProtocol):
    """One frame and actions in, video out, actions read back."""

    Options = Options
    second: FlowTrees | None = None
    references = ("truth", "shuffled")
    metrics = {
        "f1": Metric("higher", "F1 of the actions read back: macro over labels, mean over the groups in use.", True),
        "f1_second": Metric("higher", "F1 as the second judge reads it: boosted trees on block motion, no network."),
        "precision": Metric("higher", "Precision, averaged in the same way."),
        "recall": Metric("higher", "Recall, averaged in the same way."),
        "f1_micro": Metric(
            "higher", "Micro F1 of a group, the share of its labels read as given; mean over the groups in use."
        ),
        "camera_error": Metric("lower", "Mean distance between the camera bins given and read, in bins."),
        "exact_match": Metric("higher", "Share of steps at which every group in use was read as given."),
        "group_accuracy": Metric("higher", "Share of (step, group in use) pairs that were read as given."),
        "psnr": Metric("higher", "Peak signal-to-noise ratio against the true video, dB."),
        "ssim": Metric("higher", "Structural similarity to the true video."),
        "frechet_idm_heldout": Metric("lower", "Fréchet distance to the true clips on the held-out judge's features."),
        **METRICS,
    }

    def tasks(self, seed: int, clips: int) -> list[Question]:
        """Test clips from the game."""
        return self.with_donors(record(self.suite, seed, clips), seed, self.suite)

    @staticmethod
    def with_donors(tasks: Sequence[Question], seed: int, suite: Suite) -> list[Question]:
        """The same tasks, each with the clip under "donor" whose actions it is judged against in the shuffled row."""
        donors = derangement(len(tasks), generator(seed, suite.name, "shuffled"))
        return [dataclasses.replace(task, extra={"donor": tasks[donor]}) for task, donor in zip(tasks, donors, strict=True)]

    def judges(self) -> tuple[str, ...]:
        """The judges of actions, and where the suite asks for looks the networks behind them."""
        looks = networks(self.options.quality, self.options.perceptual) if self._looks else ()
        return (self.suite.judge, *((self.options.second,) if self.options.second else ()), *looks)

    @property
    def _looks(self) -> bool:
        """Whether the suite names a metric of looks."""
        return bool(METRICS.keys() & set(self.suite.metrics))

    def load_judges(self) -> None:
        """The held-out judges."""
        self.judge = entries.load_judge(self.suite, self.device)
        self.second = load_judge(self.options.second, FlowTrees, self.device) if self.options.second else None
        if self._looks:
            self.looks = Looks(self.options.quality, self.options.perceptual, self.device)

    def measure(self, entrant: Entrant, tasks: Sequence[Question], frames: np.ndarray) -> list[Row]:
        """What the judge reads; nothing that was given is scored."""
        shown = self._shown(tasks, frames)
        predicted, features = self._read(shown)
        measured = [self._labels(entrant, task, read) for task, read in zip(tasks, predicted, strict=True)]
        for row, own in zip(measured, features, strict=True):
            row["features"] = rows.pack(own)
        if self.second is not None:
            self._read_again(measured, shown)
        if entrant.source != "reference":  # the true frames say nothing about themselves
            self._compare(measured, tasks, frames)
        if self._looks:
            self._look(entrant, measured, frames, np.stack([task.truth for task in tasks]))
        return measured

    def given(self, name: str, task: Question) -> Row:
        """The actions that the clip is judged against; in the shuffled row also the id of the clip that they come from."""
        asked = task.extra["donor"] if name == "shuffled" else task
        given = rows.columns(action_spec(self.suite.spec).names, asked.actions[self.suite.prefix - 1 :])
        return {"given": given, "given_from": asked.id} if name == "shuffled" else {"given": given}

    def _labels(self, entrant: Entrant, task: Question, predicted: np.ndarray) -> Row:
        """What was given and what was read."""
        read = rows.columns(action_spec(self.suite.spec).names, predicted[self.suite.prefix - 1 :])
        return {**self.given(entrant.name, task), "predicted": read, "scores": {}}

    def _shown(self, tasks: Sequence[Question], frames: np.ndarray) -> np.ndarray:
        """Frames (B, T, H, W, 3) as the judges of actions see them; the question decides how they are re-encoded."""
        if not self.options.reencode:
            return frames
        seeds = [torch_seed(0, task.id, "re-encoding") for task in tasks]
        return np.stack([reencode(clip, seed) for clip, seed in zip(frames, seeds, strict=True)])

    def _read_again(self, measured: Sequence[Row], shown: np.ndarray) -> None:
        """Add what the second judge reads in (B, T, H, W, 3)."""
        read = self.second.labels(torch.from_numpy(np.ascontiguousarray(shown)).to(self.device)).cpu().numpy()
        for row, labels in zip(measured, read, strict=True):
            row["second"] = rows.columns(action_spec(self.suite.spec).names, labels[self.suite.prefix - 1 :])

    def _compare(self, measured: Sequence[Row], tasks: Sequence[Question], frames: np.ndarray) -> None:
        """Add what compares frames (B, T, H, W, 3) with the true ones."""
        truth = np.stack([task.truth for task in tasks])
        first, features = self.suite.prefix, self._read(self._shown(tasks, truth))[1]
        wanted = [name for name in PIXELS if name in self.suite.metrics]
        pixels = {name: PIXELS[name](frames[:, first:], truth[:, first:]) for name in wanted}
        for index, row in enumerate(measured):
            row["truth_features"] = rows.pack(features[index])
            row["scores"] = {name: rows.number(values[index]) for name, values in pixels.items()}

    def _look(self, entrant: Entrant, measured: Sequence[Row], frames: np.ndarray, truth: np.ndarray) -> None:
        """Add how frames (B, T, H, W, 3) look."""
        beside = None if entrant.source == "reference" else truth
        looks = self.looks.measure(self.suite.metrics, frames, beside, self.suite.prefix, self.options.fps)
        for index, row in enumerate(measured):
            row["scores"] |= {name: rows.number(values[index]) for name, values in looks.items()}

    def _read(self, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Labels (B, T-1, A) and features (B, D) of frames (B, T, H, W, 3)."""
        with torch.inference_mode():
            part = torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)
            return self.judge.labels(part).cpu().numpy(), self.judge.features(part).double().cpu().numpy()

    def scores(self, all_rows: Sequence[Row], bootstrap: Bootstrap) -> dict[str, ScoredMetric]:
        """All metrics from rows."""
        spec = action_spec(self.suite.spec)
        given, read = (np.stack([rows.labels(spec.names, row[key]) for row in all_rows]) for key in ("given", "predicted"))
        return {name: self._score(name, given, read, all_rows, bootstrap) for name in self.suite.metrics}

    def _score(
        self, name: str, given: np.ndarray, read: np.ndarray, all_rows: Sequence[Row], bootstrap: Bootstrap
    ) -> ScoredMetric:
        spec = action_spec(self.suite.spec)
        if name == "f1_second":
            read = np.stack([rows.labels(spec.names, row["second"]) for row in all_rows])
            name = "f1"
        if name in RATIOS:
            return _ratio(*RATIOS[name], following.confusions(given, read, spec), spec.names, bootstrap)
        if name in READ:
            return ScoredMetric(bootstrap.mean(READ[name](given, read, spec)))
        if name in PIXELS or name in METRICS:
            return ScoredMetric(bootstrap.mean(rows.values(all_rows, name)))
        return ScoredMetric(_frechet(all_rows, bootstrap))

    def captions(self, row: Row) -> np.ndarray | None:
        """What the judge read."""
        return rows.labels(action_spec(self.suite.spec).names, row["predicted"])


def derangement(clips: int, rng: np.random.Generator) -> np.ndarray:
    """(N,) a random cycle through all clips, so that no clip is its own donor."""
    order = rng.permutation(clips)
    donors = np.empty(clips, np.int64)
    donors[order] = np.roll(order, 1)
    return donors


def _ratio(
    ratios: Callable[[np.ndarray], np.ndarray], column: int, parts: np.ndarray, names: Sequence[str], bootstrap: Bootstrap
) -> ScoredMetric:
    """Precision, recall or F1 of confusions (N, groups, K, K), over all groups and per group."""
    total = bootstrap.summed(parts, lambda sums: following.over_groups(ratios(sums))[:, column])
    groups = {names[g]: bootstrap.summed(parts[:, g], lambda sums: ratios(sums)[:, column]) for g in range(parts.shape[1])}
    return ScoredMetric(total, groups)


def _frechet(all_rows: Sequence[Row], bootstrap: Bootstrap) -> Score:
    if len(all_rows) < 2 or not all("truth_features" in row for row in all_rows):
        return Score(np.nan)
    a, b = (np.stack([rows.unpack(row[key]) for row in all_rows]) for key in ("features", "truth_features"))
    score = bootstrap.refitted(lambda picked: frechet(a[picked], b[picked]), frechet(a, b))
    return dataclasses.replace(score, low=max(score.low, 0.0))  # a distance cannot be negative, but the moved interval could
