"""The records of evaluation: questions, entrants, their answers, metrics.

- `Question`: one test clip. `Entrant`: who answers. `Answers`: rows (and frames to show) for some tasks.
- `Metric`, `ScoredMetric`: a metric as suites name it, and its value for one entry. `Answer`: one row of the table.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldgym.eval.results.digests import digest
from worldgym.eval.results.statistics import Score

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Question:
    """One test clip.

    Attributes:
        id: unique and stable within the suite, as "<world>/<seed>/<first frame>".
        prefix: (P, H, W, 3) uint8, the frames that are given.
        actions: (T-1, A) int64; the first P-1 lie inside the prefix. T may differ between tasks.
        truth: (T, H, W, 3) uint8, what truly happened, prefix included.
        condition: what kind of clip this is, as {"actions": "basic", "horizon": "short"}; copied into the row.
        extra: whatever the protocol's own `measure` needs (poses, donors, …); never written.
    """

    id: str
    prefix: np.ndarray
    actions: np.ndarray
    truth: np.ndarray
    condition: Mapping[str, str] = dataclasses.field(default_factory=dict)
    extra: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        shapes = f"prefix={list(self.prefix.shape)}, actions={list(self.actions.shape)}"
        return f"Question({self.id!r}, {shapes}, {dict(self.condition)})"

    def sha256(self) -> str:
        """Hash of what is asked and what truly happened."""
        return digest(self.prefix, self.actions, self.truth)


@dataclasses.dataclass(frozen=True, eq=False)
class Entrant:
    """A model, reward or baseline in a suite, and what the result file says about it.

    Attributes:
        name: as it was asked for.
        kind: "truth", "shuffled", "baseline", "token", "diffusion", "model", "videos", "reward", …
        player: the `Generator` (or reward); None for a reference.
        sampling: options that go to every call.
        weights: sha256 of what decides its behaviour: the model's file, the module's source, the videos; None for a
            reference or baseline.
        source: "reference", "baseline", "zoo", "module", "folder" or "reward".
        origin: what was asked for, where `name` is a label; set by the job.
        leaked: its card says that what the suite holds out took part in its training (--allow-leak).
        modules: sha256 of the local source files behind somebody's own class, by module name; decides about resuming.
    """

    name: str
    kind: str
    player: Any
    sampling: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    weights: str | None = None
    source: str = "zoo"
    origin: str = ""
    leaked: bool = False
    modules: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def declared(self) -> dict[str, Any]:
        """Sampling options as a result file has them, and whether something leaked."""
        return {**self.sampling, **({"leak": True} if self.leaked else {})}


@dataclasses.dataclass(frozen=True, eq=False)
class Answers:
    """What one entrant did with some tasks.

    Attributes:
        rows: one JSON object per task: "id" and either "failure" (one sentence) or the protocol's own values.
        frames: per task (T, H, W, 3) uint8, or None where there is nothing to show.
    """

    rows: Sequence[Row]
    frames: Sequence[np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class Metric:
    """A metric as suites name it."""

    better: str
    """"higher" or "lower"."""
    about: str = ""
    """One sentence for tables and pages."""
    breakdown: bool = False
    """Show its groups as lines of their own in tables."""


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredMetric:
    """One metric of one entry."""

    score: Score
    groups: Mapping[str, Score] = dataclasses.field(default_factory=dict)
    """Per action group, condition, …, where the metric has any."""


@dataclasses.dataclass(frozen=True, eq=False)
class Answer:
    """One row of the table.

    Attributes:
        entrant: who.
        rows: one JSON object per clip.
        scores: metric -> JSON values.
        shown: index of a clip -> its frames (T, H, W, 3) uint8, for the clips that pictures show.
        seconds: of all pieces together.
    """

    entrant: Entrant
    rows: Sequence[Row]
    scores: Mapping[str, Any]
    shown: Mapping[int, np.ndarray]
    seconds: float

    @property
    def name(self) -> str:
        """The entry's name."""
        return self.entrant.name
