"""What the algorithms have in common: prompts, rollouts and rewards, from which each computes its own loss.

- `Learner`: `iterate` is one iteration; an algorithm writes `learn`.
- `Rewards`: of all rows of an iteration. `rows_needed(settings)`: rows that an environment must have.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from worldgym.errors import InputError
from worldgym.rng import torch_seed
from worldgym.runs.ranks import Ranks
from worldgym.train.layout import Layout
from worldgym.train.policy import Policy
from worldgym.train.rollout import Rollout, RolloutPlan, play
from worldgym.train.selection import prompt_turn, target_clip
from worldgym.train.settings import Settings
from worldgym.train.update import Update


class Learner:
    """A policy that plays, is scored by its environment and is updated, one `iterate` at a time.

    Randomness is a function of (rollout.seed, iteration): what `update` keeps is all that must be kept.

    Attributes:
        env: the environment in its rewards. policy: what is trained. update: how its weights move.
        reference: the policy as it was, where a divergence from it is part of the loss; else None.

    Args:
        env: batched; `rows_needed` rows for this process.
        policy: a world model's.
        settings: of rollouts, algorithm and optimisation.
        ranks: the processes; alone when left out.
        weights: of reward terms, where they are looked at one by one (terms "each", --frame-discount); 1 each when left out.
    """

    def __init__(
        self,
        env: Any,
        policy: Policy,
        settings: Settings,
        ranks: Ranks | None = None,
        weights: Mapping[str, float] | None = None,
    ):
        if policy.kind != settings.rollout.kind:
            raise InputError(f"{settings.algorithm.place} cannot train a {policy.kind} model")
        self.env, self.policy, self.settings, self.ranks = env, policy, settings, ranks or Ranks()
        self.algorithm, self.optimisation, self.seed = settings.algorithm, settings.optimisation, settings.rollout.seed
        self.weights = dict(weights or {})
        self.layout = Layout(settings.rollout.prompt_batch, settings.rollout.group, self.ranks.rank, self.ranks.world)
        self.reference = policy.frozen_copy() if self.algorithm.kl else None
        self.update = Update(policy, self.optimisation, self.ranks, self.seed)
        self._seconds = {"rollout": 0.0, "reward": 0.0}  # of the last iteration's play

    def iterate(self, iteration: int, rate: float = 1.0, share: float = 0.0) -> dict[str, float]:
        """Roll out, score, update.

        Args:
            iteration: from 0; names the random streams.
            rate: learning rate as a share of its peak.
            share: elapsed share of the run, for the curriculum "grow".

        Returns:
            Numbers for the log.

        Raises:
            InputError: a reward, a loss or a gradient is not a finite number; the weights are those of before the update.
        """
        start = time.perf_counter()
        self.update.set_rate(rate)
        logs = self.learn(iteration, share)
        seconds = time.perf_counter() - start
        spent = {name: part / seconds for name, part in self._seconds.items()}
        return {
            **logs,
            "lr": rate * self.optimisation.lr,
            "clips_per_second": self.settings.rollout.rows / seconds,
            "seconds": seconds,
            **{f"{name}_share": part for name, part in spent.items()},
            "update_share": 1 - sum(spent.values()),
        }

    def learn(self, iteration: int, share: float) -> dict[str, float]:
        """One iteration of the algorithm: from prompts to optimizer steps; returns numbers for the log."""
        raise NotImplementedError

    # --- parts of an iteration ---------------------------------------------------------------------------------------------

    def play(self, iteration: int, share: float, model: nn.Module | None = None) -> Rollout:
        """This process's rollouts of an iteration, by the policy's weights or those of `model`."""
        start = time.perf_counter()
        with self.ranks.autocast():
            rollout = play(self.env, self.policy, self.plan(iteration, share), model)
        rewarding = rollout.reward_seconds
        self._seconds = {"rollout": time.perf_counter() - start - rewarding, "reward": rewarding}
        return rollout

    def plan(self, iteration: int, share: float = 0.0) -> RolloutPlan:
        """What is played in an iteration."""
        core, own, rollout = self.env.unwrapped, self.algorithm, self.settings.rollout
        pieces, whole = core.clips // own.span, 1000
        if not pieces:
            raise InputError(f"--span is {own.span}, but an episode has {core.clips} clips")
        if own.compare == "grow":
            piece = target_clip("grow", min(int(whole * share), whole - 1), pieces, whole)
        else:
            piece = target_clip("last" if own.compare == "videos" else own.compare, iteration, pieces)
        stop = core.clips if piece == pieces - 1 else (piece + 1) * own.span
        clips = range(stop) if own.level == "sample" else range(stop - own.span, stop)
        prompts = prompt_turn(len(core.prompts), rollout.prompt_batch, self.seed, iteration)
        seed = torch_seed(self.seed, "iteration", iteration)
        return RolloutPlan(prompts, self.layout, seed, own.level, clips, own.same_noise)

    def rewards(self, rollout: Rollout, iteration: int) -> Rewards:
        """Everybody's rewards in global order, checked."""
        found = Rewards(
            self.everyone(rollout.reward),
            {name: self.everyone(values) for name, values in rollout.terms.items()},
            {name: self.everyone(values) for name, values in rollout.frames.items()},
            self.settings.rollout.group,
        )
        bad = [name for name, values in {"reward": found.total, **found.terms}.items() if not values.isfinite().all()]
        if bad:  # every process sees the same numbers and stops
            raise InputError(
                f"the {' and '.join(bad)} of iteration {iteration} holds a value that is not a finite number; "
                "nothing was updated, the last checkpoint is good: mend the reward and go on with --resume"
            )
        return found

    def weighted(self, terms: Mapping[str, Tensor]) -> list[tuple[float, Tensor]]:
        """Terms with their weights; what weighs 0 is left out."""
        found = [(self.weights.get(name, 0.0 if self.weights else 1.0), values) for name, values in terms.items()]
        found = [(weight, values) for weight, values in found if weight]
        if not found:
            raise InputError(
                f"the environment reports the reward terms {', '.join(terms) or 'none'}, but weights are given for "
                f"{', '.join(self.weights) or 'none'}; this setting needs terms with weights"
            )
        return found

    def everyone(self, values: Tensor) -> Tensor:
        """This process's (b, …) -> all rows' (P G, …) in global order."""
        return self.layout.ordered(self.ranks.gather(values))

    def best_weights(self) -> nn.Module:
        """The model to save: averaged weights where they are kept."""
        return self.update.best_weights()

    @property
    def rows_needed(self) -> int:
        """Rows that this process's environment must have."""
        return rows_needed(self.settings, self.ranks.rank, self.ranks.world)


@dataclasses.dataclass(frozen=True, eq=False)
class Rewards:
    """Rewards of all rows of an iteration.

    Attributes:
        total: (N,). terms: by name (N,). frames: by name (N, F). group: G.
    """

    total: Tensor
    terms: dict[str, Tensor]
    frames: dict[str, Tensor]
    group: int

    def logs(self) -> dict[str, float]:
        """Mean reward, spread inside groups, mean of every term."""
        inside = self.total.unflatten(0, (-1, self.group)).std(1, correction=0).mean()
        terms = {f"terms/{name}": float(values.mean()) for name, values in self.terms.items()}
        return {"reward": float(self.total.mean()), "reward_spread": float(inside), **terms}


def rows_needed(settings: Settings, rank: int = 0, world: int = 1) -> int:
    """Rows of the environment: one per rollout, or at level "clip" one per prompt slot."""
    layout = Layout(settings.rollout.prompt_batch, settings.rollout.group, rank, world)
    return len(layout.slots) * (len(layout.members) if settings.algorithm.level == "sample" else 1)
