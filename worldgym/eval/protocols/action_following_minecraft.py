"""Action following in Minecraft: the protocol of MineWorld and RLIR, as published.

The first frame of each validation clip and 15 actions go in. The 15 frames that come out are written as mp4 and read back
(MineWorld evaluates files), shown to VPT's inverse dynamics model in one call at 128x128, and its labels compared with the
recorded ones: macro precision, recall and F1 over all frames of all clips per task, then the plain mean over 7 tasks; camera
in VPT's 11 bins; looks against the true frames at 224x384.

Data and networks are published files (`worldgym.models.files.published_files`). Clips and the inverse dynamics model must be
there; a metric of looks whose file is not there is null, and the run says what to type.

Rows: "given" and "predicted" labels of the 7 tasks and 11-bin camera, per-clip numbers, I3D features.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch

from worldgym.actions import spec as action_spec
from worldgym.data.video_file import through_codec
from worldgym.data.vpt import validation_windows
from worldgym.errors import InputError
from worldgym.eval.metrics import action_following as following
from worldgym.eval.metrics import published_macro
from worldgym.eval.metrics.frechet import frechet
from worldgym.eval.metrics.psnr import psnr
from worldgym.eval.metrics.ssim import ssim
from worldgym.eval.protocols import entries, published_looks
from worldgym.eval.protocols.action_following import derangement
from worldgym.eval.protocols.base import ModelProtocol
from worldgym.eval.results import rows
from worldgym.eval.results.answers import Entrant, Metric, Question, Row, ScoredMetric
from worldgym.eval.results.statistics import Bootstrap, Score
from worldgym.judges import vpt_idm
from worldgym.models.files import published_files
from worldgym.rng import generator

RATIOS = {"precision": 0, "recall": 1, "f1": 2}
CLIPWISE = ("camera_error", "psnr", "ssim", "lpips", "imaging_quality", "dynamic_degree")
CLIPS = "mineworld-validation"


@dataclasses.dataclass(frozen=True)
class Options:
    """What the published protocol leaves open.

    Attributes:
        codec: whether generated frames go through an mp4 file, as in MineWorld's evaluation.
        fps: frames per second of that file; also thins frames for the dynamic degree.
    """

    codec: bool = True
    fps: int = 6


class ActionFollowingMinecraft(ModelProtocol):
    """One frame and actions in, video out, actions read back by VPT's inverse dynamics model."""

    Options = Options
    references = ("truth", "shuffled")
    metrics = {
        "f1": Metric("higher", "Macro F1 over all frames, mean over 7 tasks.", True),
        "precision": Metric("higher", "Macro precision, averaged in the same way."),
        "recall": Metric("higher", "Macro recall, averaged in the same way."),
        "f1_micro": Metric("higher", "Micro F1, averaged in the same way."),
        "camera_error": Metric("lower", "Mean distance between camera bins given and read; VPT's 11 bins, up to 10 degrees."),
        "psnr": Metric("higher", "Peak signal-to-noise ratio against the true video, dB."),
        "ssim": Metric("higher", "Structural similarity to the true video."),
        **published_looks.METRICS,
    }

    def tasks(self, seed: int, clips: int) -> list[Question]:
        """The first clips of MineWorld's validation folder, in its order; the seed only draws the shuffled row's donors."""
        suite = self.suite
        questions = []
        for window in validation_windows(published_files.locate(CLIPS), clips, suite.frames, suite.size):
            extra = {"degrees": window.degrees}
            questions.append(Question(window.id, window.frames[: suite.prefix], window.actions, window.frames, extra=extra))
        if len(questions) < 2:
            raise InputError(f"{str(published_files.folder() / CLIPS)!r} holds {len(questions)} clips; at least 2 are needed")
        donors = derangement(len(questions), generator(seed, suite.name, "shuffled"))
        pairs = zip(questions, donors, strict=True)
        return [dataclasses.replace(task, extra={**task.extra, "donor": questions[donor]}) for task, donor in pairs]

    def judges(self) -> tuple[str, ...]:
        """The inverse dynamics model, and the files of looks that are here."""
        return (self.suite.judge, *published_looks.files(self.suite.metrics))

    def load_judges(self) -> None:
        """All networks; says which metrics will be null."""
        self.judge = entries.load_judge(self.suite, self.device)
        self.looks = published_looks.PublishedLooks(self.suite.metrics, self.device)
        self._true_features: dict[str, np.ndarray] = {}
        for name, reason in self.looks.missing.items():
            print(f"note: {name} will be empty: {reason}")

    def given(self, name: str, task: Question) -> Row:
        """The labels that a clip is judged against; in the shuffled row also the id of the clip that they come from."""
        asked = task.extra["donor"] if name == "shuffled" else task
        first, groups = self.suite.prefix - 1, len(action_spec(self.suite.spec).groups)
        camera = vpt_idm.CAMERA.quantise(asked.extra["degrees"][first:])
        row: Row = {"given": self._columns(asked.actions[first:, :groups], camera)}
        return {**row, "given_from": asked.id} if name == "shuffled" else row

    def measure(self, entrant: Entrant, tasks: Sequence[Question], frames: np.ndarray) -> list[Row]:
        """Rows of what the judge reads and how the frames look; frames that were given are not scored."""
        return [self._row(entrant, task, clip[self.suite.prefix :]) for task, clip in zip(tasks, frames, strict=True)]

    def _row(self, entrant: Entrant, task: Question, made: np.ndarray) -> Row:
        real = entrant.source == "reference"
        if self.options.codec and not real:
            made = through_codec(made, self.options.fps)
        row: Row = {**self.given(entrant.name, task), "predicted": self._read(made)}
        given, read = (self._labels(row[key])[:, -2:] for key in ("given", "predicted"))
        scores = {"camera_error": rows.number(np.abs(given - read).mean())}
        seen = {"imaging_quality": self.looks.quality(made), "dynamic_degree": self.looks.dynamic(made, self.options.fps)}
        if not real:  # comparing the true frames with themselves means nothing
            truth = task.truth[self.suite.prefix :]
            seen |= {"psnr": psnr(made[None], truth[None])[0], "ssim": ssim(made[None], truth[None])[0]}
            seen["lpips"] = self.looks.distance(made, truth)
            row |= self._features(task, made, truth)
        row["scores"] = scores | {name: rows.number(value) for name, value in seen.items() if value is not None}
        return row

    def _features(self, task: Question, made: np.ndarray, truth: np.ndarray) -> Row:
        if "fvd" not in self.looks.networks:
            return {}
        if task.id not in self._true_features:
            self._true_features[task.id] = self.looks.features(truth)
        pairs = {"features": self.looks.features(made), "truth_features": self._true_features[task.id]}
        return {name: [rows.pack(prefix) for prefix in value] for name, value in pairs.items()}

    def _read(self, made: np.ndarray) -> dict[str, str]:
        """What the judge reads from frames (T-P, H, W, 3) in one call."""
        spec = action_spec(self.suite.spec)
        with torch.inference_mode():
            shown = torch.from_numpy(np.ascontiguousarray(made)).to(self.device)
            buttons, camera = self.judge.read(shown[None])
            labels = vpt_idm.columns(spec, buttons[0], camera[0])[:, : len(spec.groups)]
        return self._columns(labels.cpu().numpy(), camera[0].cpu().numpy())

    @property
    def _names(self) -> tuple[str, ...]:
        return (*(group.name for group in action_spec(self.suite.spec).groups), "pitch", "yaw")

    def _columns(self, groups: np.ndarray, camera: np.ndarray) -> dict[str, str]:
        return rows.columns(self._names, np.concatenate([groups, camera], 1))

    def _labels(self, value: dict[str, str]) -> np.ndarray:
        return rows.labels(self._names, value)

    def scores(self, all_rows: Sequence[Row], bootstrap: Bootstrap) -> dict[str, ScoredMetric]:
        """All metrics from rows."""
        spec = action_spec(self.suite.spec)
        given, read = (np.stack([self._labels(row[key]) for row in all_rows]) for key in ("given", "predicted"))
        parts = following.confusions(given, read, spec)
        return {name: self._score(name, parts, all_rows, bootstrap) for name in self.suite.metrics}

    def _score(self, name: str, parts: np.ndarray, all_rows: Sequence[Row], bootstrap: Bootstrap) -> ScoredMetric:
        if name in CLIPWISE:
            return ScoredMetric(bootstrap.mean(rows.values(all_rows, name)))
        if name == "fvd":
            return ScoredMetric(_fvd(all_rows, bootstrap))
        column = RATIOS.get(name)

        def tasks(sums: np.ndarray) -> np.ndarray:  # (…, groups, K, K) -> (…, groups)
            return published_macro.micro(sums) if column is None else published_macro.macro(sums)[..., column]

        groups = {
            self._names[g]: bootstrap.summed(parts[:, g : g + 1], lambda sums: tasks(sums)[..., 0])
            for g in range(parts.shape[1])
        }
        return ScoredMetric(bootstrap.summed(parts, lambda sums: tasks(sums).mean(-1)), groups)

    def captions(self, row: Row) -> np.ndarray | None:
        """What the judge read, in columns of the spec."""
        spec, read = action_spec(self.suite.spec), self._labels(row["predicted"])
        shown = np.tile(spec.null, (len(read), 1))
        shown[:, : len(spec.groups)] = read[:, :-2]
        for name, column in (("pitch", -2), ("yaw", -1)):
            axis = spec.columns[spec.column(name)]
            shown[:, spec.column(name)] = axis.quantise(vpt_idm.CAMERA.centers)[read[:, column]]
        return shown


def _fvd(all_rows: Sequence[Row], bootstrap: Bootstrap) -> Score:
    """The Fréchet distance at every prefix length, averaged."""
    if len(all_rows) < 2 or not all("truth_features" in row for row in all_rows):
        return Score(np.nan)
    a, b = (np.stack([[rows.unpack(x) for x in row[key]] for row in all_rows]) for key in ("features", "truth_features"))

    def distance(x: np.ndarray, y: np.ndarray) -> float:
        return float(np.mean([frechet(x[:, p], y[:, p]) for p in range(x.shape[1])]))

    score = bootstrap.refitted(lambda picked: distance(a[picked], b[picked]), distance(a, b))
    return dataclasses.replace(score, low=max(score.low, 0.0))  # a distance cannot be negative, but the moved interval could
