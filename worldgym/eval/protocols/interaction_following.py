"""Interaction following (WorldCompass): whether the camera moves along with held actions.

Clips begin at rest in a room; then single actions ("basic") or a translation with a rotation ("composite") are held for some
steps at a time, over a short, middle or long horizon. A held-out camera judge reads the motion; the labels that it must find
are those of the game's true poses. References: "truth" (the ceiling) and "shuffled", the true video judged against the labels
of another clip of the same horizon (the floor).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from worldgym.errors import InputError
from worldgym.eval.metrics.image_quality import qualities, visual_quality
from worldgym.eval.metrics.interaction_following import PARTS, interaction_following, true_labels
from worldgym.eval.metrics.reencoding import reencode
from worldgym.eval.protocols.action_following import derangement
from worldgym.eval.protocols.base import ModelProtocol
from worldgym.eval.results import progress, rows
from worldgym.eval.results import suite as suites
from worldgym.eval.results.answers import Entrant, Metric, Question, Row, ScoredMetric
from worldgym.eval.results.statistics import Bootstrap
from worldgym.judges.camera_labels import COLUMNS, Rules
from worldgym.rng import generator, torch_seed
from worldgym.zoo import as_camera_judge

LEAST = 2  # clips per cell, so that every clip has a donor


@dataclasses.dataclass(frozen=True)
class Options:
    """What the suite fixes."""

    actions: tuple[str, ...] = ("basic", "composite")
    """Kinds of held actions, see `worldgym.worlds.held`."""
    horizons: tuple[str, ...] = ("short", "mid", "long")
    """Names."""
    generated: tuple[int, ...] = (4, 8, 15)
    """Frames to generate, per horizon."""
    hold: tuple[int, ...] = (4, 4, 5)
    """Steps for which one thing is held, per horizon."""
    translation: tuple[float, ...] = Rules.translation
    """Map units per step above which the camera moves; the best counts."""
    rotation: float = Rules.rotation
    """Degrees per step above which it turns."""
    quality: str = ""
    """The held-out judge of frames, for visual_quality."""
    reencode: bool = False
    """The camera judge sees every clip through `worldgym.eval.metrics.reencoding`."""

    def __post_init__(self):
        if not len(self.horizons) == len(self.generated) == len(self.hold):
            raise InputError("horizons, generated and hold must have the same number of entries")

    @property
    def rules(self) -> Rules:
        """The thresholds."""
        return Rules(self.translation, self.rotation)


class InteractionFollowing(ModelProtocol):
    """One frame and held actions in, video out, camera motion read back."""

    Options = Options
    references = ("truth", "shuffled")
    metrics = {
        "if_exact": Metric("higher", "Share of steps with the right camera label of 81, at the best threshold.", True),
        "if_fine": Metric("higher", "Mean of the shares with the right translation and the right rotation.", True),
        "translation_accuracy": Metric("higher", "Share of steps with the right translation label of 9."),
        "rotation_accuracy": Metric("higher", "Share of steps with the right rotation label of 9."),
        "visual_quality": Metric("higher", "VQ: mean quality of every fourth generated frame, in [0, 1].", True),
    }

    def _check_clips(self, clips: int) -> list[tuple[str, int]]:
        """Cells, as (kind of actions, index of the horizon)."""
        cells = [(kind, index) for index in range(len(self.options.horizons)) for kind in self.options.actions]
        if clips < LEAST * len(cells):
            raise InputError(f"suite {self.suite.name!r} needs at least {LEAST * len(cells)} clips, {LEAST} per cell")
        return cells

    def tasks(self, seed: int, clips: int) -> list[Question]:
        """Clips of the game, cell by cell, each with the clip whose labels it is judged against in the shuffled row."""
        cells = self._check_clips(clips)
        seeds = suites.suite_seeds(self.suite, seed, clips)
        questions: list[Question] = []
        with progress.bar(None, "playing the test clips", clips) as bar:
            for index in range(len(self.options.horizons)):
                ours = [(kind, seeds[c :: len(cells)]) for c, (kind, i) in enumerate(cells) if i == index]
                same = [task for kind, own in ours for task in self._record(kind, index, own, bar)]
                donors = derangement(len(same), generator(seed, self.suite.name, "shuffled", index))
                questions += [_with_donor(task, same[donor]) for task, donor in zip(same, donors, strict=True)]
        return questions

    def _record(self, kind: str, index: int, seeds: Sequence[int], bar: tqdm) -> list[Question]:
        from worldgym.worlds.held import HeldRecorder

        recorder = HeldRecorder(self.suite.world, kind, self.options.hold[index])
        try:
            return [self._task(recorder, kind, index, seed, bar) for seed in seeds]
        finally:
            recorder.close()

    def _task(self, recorder: Any, kind: str, index: int, seed: int, bar: tqdm) -> Question:
        first = self.suite.prefix
        clip = recorder.play(seed, first + self.options.generated[index]).clip
        labels, clear = (x[first - 1 :] for x in true_labels(clip.poses, self.options.rules))
        bar.update()
        return Question(
            f"{self.suite.world}/{seed}/0",
            clip.frames[:first],
            clip.actions,
            clip.frames,
            {"actions": kind, "horizon": self.options.horizons[index]},
            {"labels": labels, "clear": clear},
        )

    def judges(self) -> tuple[str, ...]:
        """The camera judge, and the judge of frames where the suite names one."""
        return tuple(name for name in (self.suite.judge, self.options.quality) if name)

    def load_judges(self) -> None:
        """See `Protocol.load_judges`."""
        from worldgym import zoo

        self.camera = as_camera_judge(self.suite.judge, self.device)
        self.frames_judge = zoo.load(self.options.quality, device=self.device) if self.options.quality else None

    def measure(self, entrant: Entrant, tasks: Sequence[Question], frames: np.ndarray) -> list[Row]:
        """Rows of what the camera judge reads; frames that were given are not scored."""
        first = self.suite.prefix
        quality = visual_quality(self._qualities(frames[:, first:]))
        measured = []
        for task, clip, value in zip(tasks, frames, quality, strict=True):
            if self.options.reencode:
                clip = reencode(clip, torch_seed(0, task.id, "re-encoding"))
            with torch.inference_mode():  # one by one, so that a batch equals its singles
                motion = self.camera.motion(torch.from_numpy(np.ascontiguousarray(clip))[None].to(self.device))[0]
            read: Row = {
                "motion": rows.pack(motion[first - 1 :].cpu().numpy().ravel()),
                "scores": {"visual_quality": rows.number(value)},
            }
            measured.append({**self.given(entrant.name, task), **read})
        return measured

    def given(self, name: str, task: Question) -> Row:
        """The camera labels that the clip is judged against, and in the shuffled row whose they are."""
        asked = task.extra["donor"] if name == "shuffled" else task
        given = {"labels": " ".join(map(str, asked.extra["labels"]))}
        given["clear"] = " ".join(map(str, asked.extra["clear"].astype(int)))
        return {**given, "labels_from": asked.id} if asked is not task else given

    def _qualities(self, frames: np.ndarray) -> np.ndarray:
        if self.frames_judge is None:
            return np.full(frames.shape[:2], np.nan)
        return qualities(frames, self.frames_judge, self.device)

    def scores(self, all_rows: Sequence[Row], bootstrap: Bootstrap) -> dict[str, ScoredMetric]:
        """All metrics from rows, over all clips, per kind of actions, and per cell."""
        followed = [_follow(row, self.options.rules) for row in all_rows]
        values = {name: np.array([one[name] for one in followed]) for name in PARTS}
        values |= {"visual_quality": rows.values(all_rows, "visual_quality")}
        names = dict(zip(self.metrics, (*PARTS, "visual_quality"), strict=True))
        kinds = np.array([row["condition"]["actions"] for row in all_rows])
        cells = np.array([f"{row['condition']['actions']} {row['condition']['horizon']}" for row in all_rows])
        wanted = [(kinds, kind) for kind in self.options.actions]
        wanted += [(cells, f"{kind} {horizon}") for kind in self.options.actions for horizon in self.options.horizons]

        def scored(value: np.ndarray) -> ScoredMetric:
            groups = {name: bootstrap.mean_where(value, labels == name) for labels, name in wanted}
            return ScoredMetric(bootstrap.mean(value), groups)

        return {name: scored(values[names[name]]) for name in self.suite.metrics}


def _with_donor(task: Question, donor: Question) -> Question:
    return dataclasses.replace(task, extra={**task.extra, "donor": donor})


def _follow(row: Row, rules: Rules) -> dict[str, float]:
    """Scores of one row's motion against its labels."""
    motion = rows.unpack(row["motion"]).reshape(1, -1, len(COLUMNS))
    labels, clear = (np.array([list(map(int, row[key].split()))]) for key in ("labels", "clear"))
    return {name: float(value[0]) for name, value in interaction_following(motion, labels, clear > 0, rules).items()}
