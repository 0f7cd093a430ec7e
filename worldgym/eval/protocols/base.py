"""What a kind of suite must define: tasks, rows, scores.

- `Protocol`: the contract. `ModelProtocol`: the same for world models, where only tasks, rows of frames and scores are left
  to write.

The order is always tasks -> frames -> **rows** (plain JSON values, one object per clip) -> **scores** (from rows alone). What
is written to a result file are the rows, so anybody can compute the scores again without a model, and the rows again from
clips.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from worldgym.errors import InputError, unknown
from worldgym.eval.protocols import entries
from worldgym.eval.results.answers import Answers, Entrant, Metric, Question, Row, ScoredMetric
from worldgym.eval.results.digests import digest
from worldgym.eval.results.statistics import Bootstrap
from worldgym.eval.results.suite import Suite


@dataclasses.dataclass(frozen=True)
class NoOptions:
    """A protocol without options of its own."""


class Protocol(abc.ABC):
    """One kind of suite.

    Attributes:
        Options: a frozen dataclass; the suite's table [protocol_options] must fit it (lists become tuples).
        metrics: every metric that a suite of this protocol can name.
        references: rows that exist without any model, as "truth"; they come first in the table.
        ceilings: entrants that are told the answer: shown on a leaderboard, not ranked.
        entrants: what competes: "model" or "reward".
        options: the suite's options.

    Raises:
        InputError: the suite names a metric or option that this protocol does not have.
    """

    Options: ClassVar[type] = NoOptions
    metrics: ClassVar[Mapping[str, Metric]] = {}
    references: ClassVar[tuple[str, ...]] = ("truth",)
    ceilings: ClassVar[tuple[str, ...]] = ()
    entrants: ClassVar[str] = "model"

    def __init__(self, suite: Suite, device: str = "cpu"):
        self.suite, self.device = suite, device
        self.options = self._options(dict(suite.protocol_options))
        for name in suite.metrics:
            if name not in self.metrics:
                raise unknown(f"metric of protocol {suite.protocol!r}", name, self.metrics)

    def _options(self, values: dict[str, Any]) -> Any:
        known = {field.name for field in dataclasses.fields(self.Options)}
        for name in values:
            if name not in known:
                raise unknown(f"option of protocol {self.suite.protocol!r}", name, known)
        try:
            return self.Options(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})
        except TypeError as error:
            raise InputError(f"protocol_options of suite {self.suite.name!r} are wrong: {error}") from None

    # --- what a protocol writes ------------------------------------------------------------------------------------------

    @abc.abstractmethod
    def tasks(self, seed: int, clips: int) -> list[Question]:
        """The test clips, the same for any number of processes; draws from `worldgym.rng.generator(seed, suite.name, …)`.

        Args:
            seed: the run's seed.
            clips: how many.
        """

    def judges(self) -> tuple[str, ...]:
        """Names (zoo names or paths) of every network that scores; their hashes go into the result."""
        return (self.suite.judge,) if self.suite.judge else ()

    @abc.abstractmethod
    def load_judges(self) -> None:
        """Load them onto `self.device`; called once, before the long work, never when scores are computed from rows."""

    @abc.abstractmethod
    def enter(self, name: str) -> Entrant:
        """A reference, or an entrant by name; loads it.

        Raises:
            InputError: there is none, or it does not fit the suite.
        """

    @abc.abstractmethod
    def answer(self, entrant: Entrant, tasks: Sequence[Question], seeds: Sequence[int]) -> Answers:
        """Rows for some tasks; this is what takes long. Tasks of one call have one T; `seeds` has one integer per task.

        A row depends on its own task and seed only, never on its neighbours in the batch.
        """

    @abc.abstractmethod
    def scores(self, rows: Sequence[Row], bootstrap: Bootstrap) -> dict[str, ScoredMetric]:
        """All metrics that the suite names, from rows alone (rows as read from JSON, never a row with "failure").

        Comparisons also ask for a single row: metrics that one clip cannot have are NaN there.
        """

    def entrants_known(self) -> Mapping[str, Any]:
        """Entrants that are the library's own, beside bundled models, by name; for suites that judge rewards."""
        return {}

    def given(self, name: str, task: Question) -> Row:
        """Values of an entry's row that follow from the task alone; `--verify` compares them."""
        return {}

    def captions(self, row: Row) -> np.ndarray | None:
        """(T-P, A) int labels that the judge read, to write under the frames of the picture; None for nothing."""
        return None


class ModelProtocol(Protocol):
    """A protocol whose entrants are world models. Left to write: `tasks`, `load_judges`, `measure`, `scores`.

    "truth" answers with what truly happened; other `references` must be handled in `reference_frames`.
    """

    def enter(self, name: str) -> Entrant:
        """See `Protocol.enter`."""
        if name in self.references:
            return Entrant(name, name, None, source="reference")
        return entries.load(name, self.suite, self.device)

    @abc.abstractmethod
    def measure(self, entrant: Entrant, tasks: Sequence[Question], frames: np.ndarray) -> list[Row]:
        """Rows of JSON values for frames (B, T, H, W, 3) uint8 of tasks of one T; "id", "frames_sha256" and
        "condition" are added by the caller. Numbers through `rows.number` (rounded, NaN -> None).
        """

    def reference_frames(self, name: str, task: Question) -> np.ndarray:
        """(T, H, W, 3) uint8 with which a reference answers."""
        return task.truth

    def answer(self, entrant: Entrant, tasks: Sequence[Question], seeds: Sequence[int]) -> Answers:
        """Frames, then rows; a clip on which the entrant raises becomes a row with "failure"."""
        frames: list[Any]
        if entrant.player is None:
            frames = [self.reference_frames(entrant.name, task) for task in tasks]
        else:
            frames = entries.generate_or_fail(entrant, tasks, seeds)
        good = [i for i, made in enumerate(frames) if isinstance(made, np.ndarray)]
        measured = {}
        if good:
            rows = self.measure(entrant, [tasks[i] for i in good], np.stack([frames[i] for i in good]))
            measured = dict(zip(good, rows, strict=True))
        all_rows = [_row(task, frames[i], measured.get(i)) for i, task in enumerate(tasks)]
        return Answers(all_rows, [made if isinstance(made, np.ndarray) else None for made in frames])


def _row(task: Question, made: Any, measured: Row | None) -> Row:
    """What every row begins with, then the protocol's own values or the failure."""
    head: Row = {"id": task.id, **({"condition": dict(task.condition)} if task.condition else {})}
    if measured is None:
        return {**head, "failure": str(made)}
    return {**head, "frames_sha256": digest(made), **measured}
