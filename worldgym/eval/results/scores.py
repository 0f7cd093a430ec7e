"""The "scores" of a result file, computed from its rows: the same code for the run, for `--verify` and for the leaderboard.

- `of_rows(protocol, parts)`: plain JSON values. `failed(rows)`: rows that hold a failure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from worldgym.eval.results import rows as row_values
from worldgym.eval.results.answers import Metric, Row, ScoredMetric
from worldgym.eval.results.statistics import Bootstrap, Score
from worldgym.eval.results.suite import Suite
from worldgym.rng import generator


class Scorer(Protocol):
    """What turns rows into metrics; `worldgym.eval.protocols.base.Protocol` is one."""

    suite: Suite
    metrics: Mapping[str, Metric]

    def scores(self, rows: Sequence[Row], bootstrap: Bootstrap) -> dict[str, ScoredMetric]:
        """Every metric that the suite names, from rows alone."""
        ...


def failed(rows: Sequence[Row]) -> list[Row]:
    """The rows of clips on which the entry failed."""
    return [row for row in rows if "failure" in row]


def bootstrap_of(protocol: Scorer, seeds: Sequence[int], clips: Sequence[int]) -> Bootstrap:
    """The draws for some seeds of one suite, the same for every entry, stratified over seeds."""
    config = protocol.suite.bootstrap
    rng = generator(seeds[0], protocol.suite.name, "bootstrap", *seeds[1:])
    return Bootstrap.draw(clips, config.resamples, rng, config.level, config.refits)


def of_rows(protocol: Scorer, parts: Mapping[int, Sequence[Row]]) -> dict[str, Any]:
    """Every metric of the suite.

    Args:
        protocol: of the suite.
        parts: seed -> its rows; several seeds are put together, and every resample draws as many clips from each.

    Returns:
        Metric -> "better", "value", "low", "high", perhaps "iqm" and "groups". All values are null when a clip
        failed.
    """
    together = [row for part in parts.values() for row in part]
    if failed(together) or not together:
        scored = {name: ScoredMetric(Score(float("nan"))) for name in protocol.suite.metrics}
    else:
        scored = protocol.scores(together, bootstrap_of(protocol, list(parts), [len(part) for part in parts.values()]))
    return {name: _plain(protocol.metrics[name].better, scored[name]) for name in protocol.suite.metrics}


def _plain(better: str, scored: ScoredMetric) -> dict[str, Any]:
    """A metric's score, its direction, and its groups where it has any; a group that is never used is null."""
    values: dict[str, Any] = {"better": better, **row_values.plain(scored.score)}
    if scored.groups:
        parts = {group: row_values.plain(score) for group, score in scored.groups.items()}
        values["groups"] = {group: part if part["value"] is not None else None for group, part in parts.items()}
    return values
