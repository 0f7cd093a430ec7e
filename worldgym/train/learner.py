"""What the loops share: whose turn it is to be prompted, how weights move, what must never happen silently.

- `Learner`: prompts, optimizer, averaged weights; `Grpo` and `Nft` are learners.
- `Rewards`: of all rows of an iteration. `shares(rows, parts)`: rows in parts of equal size.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from worldgym.errors import InputError
from worldgym.rng import generator, torch_seed
from worldgym.runs.ranks import Ranks
from worldgym.train import advantages, curriculum, ema
from worldgym.train.layout import Layout
from worldgym.train.policy import Policy
from worldgym.train.rollout import Rollout, RolloutPlan, play
from worldgym.train.settings import LoopConfig


class Learner:
    """A policy that plays, is scored by its environment and is updated, one `iterate` at a time.

    Randomness is a function of (config.seed, iteration): weights, optimizer and averages are all that must be kept.

    Attributes:
        env: the environment in its rewards. policy: what is trained. average: its averaged weights, or None.
        updates: optimizer steps so far.

    Args:
        env: batched; `rows_needed` rows for this process.
        policy: a world model's.
        config: the algorithm's settings.
        ranks: the processes; alone when left out.
        weights: of reward terms, where they are looked at one by one (terms "each", credit "frame"); 1 each when left out.
    """

    def __init__(
        self,
        env: Any,
        policy: Policy,
        config: LoopConfig,
        ranks: Ranks | None = None,
        weights: Mapping[str, float] | None = None,
    ):
        self.env, self.policy, self.config, self.ranks = env, policy, config, ranks or Ranks()
        self.weights = dict(weights or {})
        self.layout = Layout(config.prompt_batch, config.group, self.ranks.rank, self.ranks.world)
        self.average = policy.frozen_copy() if config.ema else None
        self.reference = policy.frozen_copy() if config.kl else None
        self.scorer = self.ranks.prepare(policy)
        trained = [p for p in self.scorer.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, config.lr, config.betas, weight_decay=config.weight_decay)
        self.updates = 0

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
        with self.ranks.autocast():
            rollout = play(self.env, self.policy, self.task(iteration, share), self.acting_model())
        played = time.perf_counter()
        rewards = self.rewards(rollout, iteration)
        self.optimizer.param_groups[0]["lr"] = rate * self.config.lr  # a second group, if any, has its own
        logs = self.ranks.mean(self.learn(rollout, rewards, iteration))
        seconds = time.perf_counter() - start
        return {
            **rewards.logs(),
            **logs,
            "lr": rate * self.config.lr,
            "clips_per_second": self.config.rows / seconds,
            "seconds": seconds,
            "rollout_share": (played - start - rollout.reward_seconds) / seconds,
            "reward_share": rollout.reward_seconds / seconds,
            "update_share": (seconds - played + start) / seconds,
        }

    def learn(self, rollout: Rollout, rewards: Rewards, iteration: int) -> dict[str, float]:
        """The algorithm's own part: update on this process's rollouts."""
        raise NotImplementedError

    def acting_model(self) -> nn.Module | None:
        """Weights that act; the policy's own when None."""
        return None

    def stepped(self) -> None:
        """Called after every optimizer step."""

    # --- parts of an iteration ---------------------------------------------------------------------------------------------

    def task(self, iteration: int, share: float = 0.0) -> RolloutPlan:
        """What is played in an iteration."""
        core, config = self.env.unwrapped, self.config
        pieces, whole = core.clips // config.span, 1000
        if not pieces:
            raise InputError(f"--span is {config.span}, but an episode has {core.clips} clips")
        if config.curriculum == "grow":
            piece = curriculum.target_clip("grow", min(int(whole * share), whole - 1), pieces, whole)
        else:
            piece = curriculum.target_clip(config.curriculum, iteration, pieces)
        stop = core.clips if piece == pieces - 1 else (piece + 1) * config.span
        clips = range(stop) if config.level == "sample" else range(stop - config.span, stop)
        prompts = prompt_turn(len(core.prompts), config.prompt_batch, config.seed, iteration)
        seed = torch_seed(config.seed, "iteration", iteration)
        return RolloutPlan(prompts, self.layout, seed, config.level, clips, config.same_noise)

    def rewards(self, rollout: Rollout, iteration: int) -> Rewards:
        """Everybody's rewards in global order, checked."""
        found = Rewards(
            self.everyone(rollout.reward),
            {name: self.everyone(values) for name, values in rollout.terms.items()},
            {name: self.everyone(values) for name, values in rollout.frames.items()},
            self.config.group,
        )
        bad = [name for name, values in {"reward": found.total, **found.terms}.items() if not values.isfinite().all()]
        if bad:  # every process sees the same numbers and stops
            raise InputError(
                f"the {' and '.join(bad)} of iteration {iteration} holds a value that is not a finite number; "
                "nothing was updated, the last checkpoint is good: mend the reward and go on with --resume"
            )
        return found

    def advantage(self, rewards: Rewards) -> Tensor:
        """(N,) of all rows: the summed reward, or each term on its own and then weighted, against the group; clipped."""
        config = self.config
        if config.terms == "each":
            parts = self.weighted(rewards.terms)
            total = sum(weight for weight, _ in parts)
            found = sum(w / total * advantages.advantage(config.advantage, values, config.group) for w, values in parts)
        else:
            found = advantages.advantage(config.advantage, rewards.total, config.group)
        return found.clamp(-config.advantage_clip, config.advantage_clip)

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

    def parts(self, count: int, iteration: int, epoch: int) -> Iterator[list[list[int]]]:
        """Minibatches of `count` local rows, each a list of rows per backward pass."""
        config = self.config
        order = list(range(count))
        if config.minibatches > 1:
            order = generator(config.seed, "minibatches", iteration, epoch).permutation(count).tolist()
        for part in map(sorted, shares(order, config.minibatches)):  # neighbours share their prompt: read it once
            yield [part[i : i + config.micro] for i in range(0, len(part), config.micro)]

    def step(self) -> float:
        """Clip the gradient, move the weights and their average; returns the gradient's norm."""
        norm = float(self.ranks.clip(self.scorer, self.config.grad_clip))
        if not norm < float("inf"):
            self.optimizer.zero_grad(set_to_none=True)
            raise InputError(
                f"the gradient's norm is {norm} at update {self.updates}; the weights were left alone and the last checkpoint "
                "is good: lower --lr and go on with --resume"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ranks.pull(self.policy, self.scorer)
        if self.average is not None:
            decay = min(self.config.ema, (1 + self.updates) / (10 + self.updates))  # a short run forgets its start
            ema.update(self.average, self.policy, decay)
        self.updates += 1
        self.stepped()
        return norm

    @property
    def rows_needed(self) -> int:
        """Rows that this process's environment must have."""
        return rows_needed(self.config, self.ranks.rank, self.ranks.world)

    def modules(self) -> dict[str, nn.Module]:
        """Everything with weights that must be kept, by name."""
        return {"model": self.policy.model, **({"average": self.average.model} if self.average is not None else {})}

    def trained(self) -> dict[str, nn.Parameter]:
        """The optimizer's parameters under the policy's names."""
        names = [name for name, parameter in self.policy.named_parameters() if parameter.requires_grad]
        return dict(zip(names, self.optimizer.param_groups[0]["params"], strict=True))

    def best_weights(self) -> nn.Module:
        """The model to save: averaged weights where they are kept."""
        return (self.average or self.policy).model


class Rewards:
    """Rewards of all rows of an iteration.

    Attributes:
        total: (N,). terms: by name (N,). frames: by name (N, F). group: G.
    """

    def __init__(self, total: Tensor, terms: dict[str, Tensor], frames: dict[str, Tensor], group: int):
        self.total, self.terms, self.frames, self.group = total, terms, frames, group

    def logs(self) -> dict[str, float]:
        """Mean reward, spread inside groups, mean of every term."""
        inside = self.total.unflatten(0, (-1, self.group)).std(1, correction=0).mean()
        terms = {f"terms/{name}": float(values.mean()) for name, values in self.terms.items()}
        return {"reward": float(self.total.mean()), "reward_spread": float(inside), **terms}


def rows_needed(config: LoopConfig, rank: int = 0, world: int = 1) -> int:
    """Rows of the environment: one per rollout, or at level "clip" one per prompt slot."""
    layout = Layout(config.prompt_batch, config.group, rank, world)
    return len(layout.slots) * (len(layout.members) if config.level == "sample" else 1)


def prompt_turn(prompts: int, count: int, seed: int, iteration: int) -> list[int]:
    """Prompts of an iteration: all in random order before any comes again."""
    chosen, orders = [], {}
    for index in range(iteration * count, (iteration + 1) * count):
        epoch, place = divmod(index, prompts)
        if epoch not in orders:
            orders[epoch] = generator(seed, "prompts", epoch).permutation(prompts)
        chosen.append(int(orders[epoch][place]))
    return chosen


def shares(rows: Sequence[int], parts: int) -> list[list[int]]:
    """Rows in `parts` of equal size.

    Raises:
        InputError: they cannot be shared evenly.
    """
    if len(rows) % parts:
        raise InputError(f"{len(rows)} rows cannot be shared by {parts} minibatches; choose a divisor with --minibatches")
    size = len(rows) // parts
    return [list(rows[i : i + size]) for i in range(0, len(rows), size)]
