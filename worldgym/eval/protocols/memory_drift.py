"""Memory and drift (ours): whether a place looks the same when the camera comes back, and how quality holds over long videos.

A tour is a scripted walk through the true game that comes back (look away and back, full turns, out and home again), of 64 or
more frames. Models that hold fewer frames go on from their own last ones (`worldgym.eval.protocols.sliding`)
and forget what is older.

Rows: revisiting frames, distances to the truth and qualities per frame, means over clips under "scores". References: "truth".
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from worldgym.errors import unknown
from worldgym.eval.metrics import revisit_error as memory
from worldgym.eval.metrics.drift import brightness_drift, quality_drift
from worldgym.eval.metrics.image_quality import image_quality, qualities
from worldgym.eval.metrics.perceptual import distances
from worldgym.eval.protocols import entries
from worldgym.eval.protocols.base import ModelProtocol
from worldgym.eval.protocols.looks import DISTANCE, JUDGE, METRICS, Looks, networks
from worldgym.eval.protocols.sliding import Continued
from worldgym.eval.protocols.tours import SCRIPTS, Guide
from worldgym.eval.results import rows
from worldgym.eval.results.answers import Entrant, Metric, Question, Row, ScoredMetric
from worldgym.eval.results.statistics import Bootstrap
from worldgym.eval.results.suite import suite_seeds

MOST = 64  # starts that are tried per tour


@dataclasses.dataclass(frozen=True)
class Options:
    """What a suite of this protocol can set."""

    tours: tuple[str, ...] = tuple(SCRIPTS)
    """Which tours, in turn."""
    window: int = 16
    """Frames that a model holds at once where it can't hold all."""
    context: int = 8
    """Frames carried over from window to window."""
    perceptual: str = DISTANCE
    """The distance d: a latent codec or quality net by zoo name, "lpips-alex" or "lpips-vgg"."""
    part: int = 16
    """Frames per part of a video, for quality over time."""

    def __post_init__(self):
        for name in self.tours:
            if name not in SCRIPTS:
                raise unknown("tour", name, SCRIPTS)


class MemoryDrift(ModelProtocol):
    """Tours that come back."""

    Options = Options
    metrics = {
        "revisit_error": Metric("lower", "Distance to the true frame wherever the camera has come back, in [0, 1].", True),
        "first_visit_error": Metric("lower", "The same over all other generated frames."),
        "revisit_consistency": Metric("lower", "Distance to what was shown at the first visit; standing still wins it."),
        "image_quality": METRICS["image_quality"],
        "quality_drift": METRICS["quality_drift"],
        "brightness_drift": Metric("lower", "Mean difference to the true brightness over the last 16 frames, in [0, 1]."),
    }

    def tasks(self, seed: int, clips: int) -> list[Question]:
        """Tours from starts of the reserved test range."""
        suite = self.suite
        guide = Guide(suite.world, suite.frames)
        try:
            return guide.tours(self.options.tours, iter(suite_seeds(suite, seed, MOST * clips)), clips)
        finally:
            guide.close()

    def enter(self, name: str) -> Entrant:
        """A model that holds too few frames goes on window by window."""
        if name in self.references:
            return super().enter(name)
        options = self.options
        entrant = entries.load(name, dataclasses.replace(self.suite, frames=options.window), self.device)
        longest = getattr(getattr(getattr(entrant.player, "model", None), "config", None), "max_frames", self.suite.frames)
        if longest >= self.suite.frames:
            return entrant
        return dataclasses.replace(entrant, player=Continued(entrant.player, options.window, options.context))

    def judges(self) -> tuple[str, ...]:
        """The held-out quality net, and the net behind the distance."""
        return networks(self.suite.judge or JUDGE, self.options.perceptual)

    def load_judges(self) -> None:
        """Load it, and the distance."""
        self.looks = Looks(self.judges()[0], self.options.perceptual, self.device)

    def measure(self, entrant: Entrant, tasks: Sequence[Question], frames: np.ndarray) -> list[Row]:
        """Rows of distances to the truth at revisits and elsewhere, and of quality."""
        truth = np.stack([task.truth for task in tasks])
        quality = qualities(frames, self.looks.judge, self.device)
        apart = distances(frames, truth, self.looks.distance, self.device)
        per_clip = {
            "image_quality": image_quality(quality[:, self.suite.prefix :]),
            "quality_drift": quality_drift(quality),
            "brightness_drift": brightness_drift(frames, truth),
        }
        measured = []
        for index, task in enumerate(tasks):
            pairs = task.extra["revisits"]
            own = {name: values[index] for name, values in per_clip.items()}
            own |= self._memory(frames[index], apart[index], pairs)
            if entrant.source == "reference":  # comparing the true frames with themselves means nothing
                own |= dict.fromkeys(("revisit_error", "first_visit_error", "brightness_drift"), np.nan)
            row = {**self.given(entrant.name, task), "quality": rows.pack(quality[index])}
            measured.append({**row, "scores": {name: rows.number(value) for name, value in own.items()}})
        return measured

    def given(self, name: str, task: Question) -> Row:
        """The frames at which the camera is back."""
        return {"revisits": " ".join(map(str, task.extra["revisits"][:, 1]))}

    def _memory(self, frames: np.ndarray, apart: np.ndarray, pairs: np.ndarray) -> dict[str, float]:
        """Numbers of one clip: frames (T, H, W, 3), distances to the truth (T,), pairs (R, 2)."""
        earlier, later = (frames[pairs[:, k]][None] for k in (0, 1))
        return {
            "revisit_error": memory.revisit_error(apart, pairs),
            "first_visit_error": memory.first_visit_error(apart, pairs, self.suite.prefix),
            "revisit_consistency": float(distances(later, earlier, self.looks.distance, self.device).mean()),
        }

    def scores(self, all_rows: Sequence[Row], bootstrap: Bootstrap) -> dict[str, ScoredMetric]:
        """Means over clips, per tour; image quality per part of the video."""
        scored = {name: ScoredMetric(*rows.clipwise(all_rows, name, bootstrap, "tour")) for name in self.suite.metrics}
        if "image_quality" in scored:
            curves = np.stack([rows.unpack(row["quality"]) for row in all_rows])[:, self.suite.prefix :]
            starts = range(0, curves.shape[1], self.options.part)
            parts = {f"frames {s + 1}-{s + self.options.part}": curves[:, s : s + self.options.part].mean(1) for s in starts}
            over_time = {name: bootstrap.mean(values) for name, values in parts.items()}
            scored["image_quality"] = dataclasses.replace(scored["image_quality"], groups=over_time)
        return scored
