"""The reward benchmark (ours): clips of the real game whose order is known, and how a reward ranks them.

For every clip that was played there are versions with known faults (`worldgym.eval.protocols.variants`): other actions from
the same start, actions late or mirrored, frozen, shuffled or damaged frames, reconstructions, a world model's output. Rewards
compete: each scores every version under the actions that were commanded, with the truth at hand if it wants it.

Rows: the reward of every version, under "versions". Baselines: "constant" and "random" (chance), "truth-aware" (ceiling: is
told which actions were played). What a reward costs per clip follows from the entry's time in the result file.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from worldgym import rewards
from worldgym.actions import spec as action_spec
from worldgym.envs.denoise import DenoiseVectorEnv
from worldgym.errors import InputError, unknown
from worldgym.eval.metrics import ranking
from worldgym.eval.protocols import entries, variants
from worldgym.eval.protocols.base import Protocol
from worldgym.eval.protocols.local_sources import local_sources
from worldgym.eval.results import rows
from worldgym.eval.results.answers import Answers, Entrant, Metric, Question, Row, ScoredMetric
from worldgym.eval.results.digests import digest
from worldgym.eval.results.statistics import Bootstrap
from worldgym.eval.results.suite import suite_seeds
from worldgym.rewards import Reward
from worldgym.rng import generator
from worldgym.types import Prompts


@dataclasses.dataclass(frozen=True)
class Options:
    """What a suite of this protocol can set."""

    ignore: tuple[str, ...] = ("darkened", "tinted", "reconstructed")
    """Versions with the true actions in another look, which a reward of actions must not care about."""
    codec: str = "doom-rooms/frame-codec"
    """Makes the version "reconstructed"."""
    model: str = ""
    """Makes the version "model"; none when empty."""


def _told(task: Question, version: str, seed: int) -> float:
    """The share of right actions; where it is unknown, below all that is known."""
    return task.extra["right"].get(version, -1.0)


BASELINES = {
    "constant": lambda task, version, seed: 0.0,
    "random": lambda task, version, seed: float(generator(seed, version, "reward").random()),
    "truth-aware": _told,
}


class RewardRanking(Protocol):
    """Versions of a clip, in the order that is known."""

    Options = Options
    entrants = "reward"
    references = ()
    ceilings = ("truth-aware",)
    metrics = {
        "wrong_actions": Metric(
            "higher", "Pairs of versions with different numbers of wrong actions that are ranked right; chance .5.", True
        ),
        "ranking": Metric(
            "higher", "Pairs (truth, faulty version) in which the truth is above, mean of kinds; chance .5.", True
        ),
        "correlation": Metric("higher", "Spearman correlation of reward and share of right actions, within a clip."),
        "ignores": Metric(
            "higher", "Another look of the truth changes the reward less than wrong actions do; chance .5.", True
        ),
    }

    def tasks(self, seed: int, clips: int) -> list[Question]:
        """Play test clips and make all their versions."""
        seeds = suite_seeds(self.suite, seed, clips)
        return variants.tasks(self.suite, self.options.codec, self.options.model, seeds, seed, self.device)

    def judges(self) -> tuple[str, ...]:
        """No networks, because the order of versions is known; the networks that make versions are part of the suite."""
        return tuple(name for name in (self.options.codec, self.options.model) if name)

    def load_judges(self) -> None:
        """Nothing to load."""

    def enter(self, name: str) -> Entrant:
        """A baseline, a bundled reward by its short name ("idm"), or "package.module:Class"."""
        bench = self._bench()
        if name in BASELINES:
            return Entrant(name, "baseline", BASELINES[name], source="baseline")
        if entries.is_attribute(name):
            own = entries.attribute(name)
            if not (isinstance(own, type) and issubclass(own, Reward)):
                raise InputError(f"{name!r} is no reward: it must be a subclass of worldgym.rewards.Reward")
            digest, modules = entries.source_sha256(own), local_sources(own)
            return Entrant(name, "reward", own(bench), weights=digest, source="module", modules=modules)
        known = bundled()
        if name not in known:
            raise unknown("reward", name, [*known, *BASELINES])
        return Entrant(name, "reward", known[name](bench), weights=entries.source_sha256(known[name]), source="reward")

    def entrants_known(self) -> dict[str, Any]:
        """Rewards of the library and baselines."""
        return {**bundled(), **BASELINES}

    def answer(self, entrant: Entrant, tasks: Sequence[Question], seeds: Sequence[int]) -> Answers:
        """The reward of every version of every task, clip by clip: no neighbour can change a row."""
        return Answers([self._row(entrant, task, seed) for task, seed in zip(tasks, seeds, strict=True)], [None] * len(tasks))

    def _row(self, entrant: Entrant, task: Question, seed: int) -> Row:
        row: Row = {"id": task.id}
        try:
            values = self._values(entrant, task, seed)
        except Exception as error:  # whatever somebody's reward raises is a result, not a reason to lose the run
            return {**row, "failure": " ".join(f"{type(error).__name__}: {error}".split())[:300]}
        bad = [name for name, value in values.items() if not math.isfinite(value)]
        if bad:
            return {**row, "failure": f"the reward of version {bad[0]!r} is {values[bad[0]]}, not a finite number"}
        return {**row, **self.given(entrant.name, task), "versions": {n: rows.number(v) for n, v in values.items()}}

    def _values(self, entrant: Entrant, task: Question, seed: int) -> dict[str, float]:
        """The reward of every version."""
        versions, reward = task.extra["versions"], entrant.player
        if not isinstance(reward, Reward):
            return {name: reward(task, name, seed) for name in versions}
        actions, truth = (torch.from_numpy(x).to(self.device)[None] for x in (task.actions, task.truth))
        values = {}
        for name, frames in versions.items():
            made = torch.from_numpy(frames).to(self.device)[None]
            total = reward.score(made, actions, truth if reward.uses_truth else None, self.suite.prefix).total
            if tuple(total.shape) != (1,):
                raise InputError(f"score gave shape {tuple(total.shape)} for 1 clip; one number per clip is needed")
            values[name] = float(total)
        return values

    def _bench(self) -> DenoiseVectorEnv:
        """An environment of the suite's size for rewards to wrap; it is never stepped."""
        suite, (height, width) = self.suite, self.suite.size
        truth = np.zeros((1, suite.frames, height, width, 3), np.uint8)
        actions = np.zeros((1, suite.frames - 1, len(action_spec(suite.spec).sizes)), np.int64)
        prompts = Prompts(truth[:, : suite.prefix], actions, truth, ("bench",))
        return DenoiseVectorEnv(
            1, prompts=prompts, frames=suite.frames, prefix=suite.prefix, spec=suite.spec, device=self.device
        )

    def given(self, name: str, task: Question) -> Row:
        """How many of the commanded actions each version shows, and the hash of all versions."""
        right = {version: rows.number(share) for version, share in task.extra["right"].items()}
        return {"right": right, "versions_sha256": digest(*task.extra["versions"].values())}

    def scores(self, all_rows: Sequence[Row], bootstrap: Bootstrap) -> dict[str, ScoredMetric]:
        """All metrics from the versions' rewards."""
        table = {name: np.array([row["versions"][name] for row in all_rows], float) for name in all_rows[0]["versions"]}
        right = {name: np.array([row["right"][name] for row in all_rows], float) for name in all_rows[0]["right"]}
        per_clip: dict[str, dict[str, np.ndarray]] = {
            "wrong_actions": ranking.by_share(table, right),
            "ranking": ranking.against_truth(table, [name for name in table if name not in ("truth", *self.options.ignore)]),
            "correlation": {"": ranking.correlation(table, right)},
            "ignores": ranking.ignoring(table, [name for name in self.options.ignore if name in table]),
        }
        scored = {}
        for name in self.suite.metrics:
            parts = per_clip[name]
            groups = {kind: bootstrap.mean(values) for kind, values in parts.items() if kind}
            scored[name] = ScoredMetric(bootstrap.mean(np.mean(list(parts.values()), axis=0)), groups)
        return scored


def bundled() -> dict[str, type[Reward]]:
    """Rewards of the library by short name; guards are no rewards."""
    classes = [getattr(rewards, name) for name in rewards.__all__]
    mine = [cls for cls in classes if isinstance(cls, type) and issubclass(cls, Reward) and cls is not Reward]
    return {cls.name: cls for cls in mine if cls is not rewards.Guards}
