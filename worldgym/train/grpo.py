"""GRPO of a world model (arXiv 2402.03300; RLIR, arXiv 2509.23958): play, compare inside groups, raise what was better.

- `Grpo`: `iterate` is in `learner.py`; what makes it GRPO is here.
"""

from __future__ import annotations

from collections import defaultdict

import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.rng import generator
from worldgym.train import advantages, kl, subsets, surrogate
from worldgym.train.learner import Learner, Rewards
from worldgym.train.policy import clip_count, rows_of, steps_per_clip
from worldgym.train.rollout import Rollout
from worldgym.train.settings import GrpoConfig


class Grpo(Learner):
    """Group-relative policy optimisation of a token or a diffusion world model.

    Action tokens are given and have no log-prob, so they never enter the loss.

    Example:
        >>> learner = Grpo(env, Policy(world), GrpoConfig(prompt_batch=4, group=8))     # doctest: +SKIP
        >>> for iteration in range(100):                                                # doctest: +SKIP
        ...     print(learner.iterate(iteration)["reward"])
    """

    config: GrpoConfig

    def learn(self, rollout: Rollout, rewards: Rewards, iteration: int) -> dict[str, float]:
        """Update on this process's rollouts; advantages come from everybody's rewards."""
        advantage = self.layout.mine(self.advantage(rewards))  # (b,) or (b, clips)
        steps = self.steps(rollout, iteration)
        columns = [step - rollout.clips.start * steps_per_clip(rollout.trajectory) for step in steps]
        weights = advantages.per_step(advantage, rollout.logprob.shape[1])[:, columns]
        old, logs = self.old(rollout, steps, columns), defaultdict(list)
        for epoch in range(self.config.epochs):
            for minibatch in self.parts(len(old), iteration, epoch):
                total = sum(map(len, minibatch))
                for rows in minibatch:
                    with self.ranks.accumulating(self.scorer, last=rows is minibatch[-1]):
                        loss, seen = self.loss(rollout, rows, steps, old[rows], weights[rows])
                        self.ranks.backward(loss * len(rows) / total)
                    for name, value in {**seen, "loss": loss.detach()}.items():
                        logs[name].append((float(value), len(rows)))
                logs["gradient"].append((self.step(), 1))
        means = {name: sum(v * n for v, n in values) / sum(n for _, n in values) for name, values in logs.items()}
        return means | {"ratio_off": max(v for v, _ in logs["ratio_off"])}

    @torch.no_grad()
    def old(self, rollout: Rollout, steps: list[int], columns: list[int]) -> Tensor:
        """(b, S) logprob_sum before the update: as the steps were taken, or computed again the way the loss does."""
        if self.config.old == "acted":
            return rollout.logprob[:, columns]
        rows = range(len(rollout.logprob))
        parts = [rows[i : i + self.config.micro] for i in range(0, len(rows), self.config.micro)]
        with self.ranks.autocast():
            return torch.cat([self.policy(rows_of(rollout.trajectory, list(part)), steps) for part in parts])

    def loss(
        self, rollout: Rollout, rows: list[int], steps: list[int], old: Tensor, advantage: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The clipped surrogate of some rows, and numbers to watch.

        Args:
            rollout: of this process.
            rows: b local rows.
            steps: S step numbers.
            old: (b, S) logprob_sum when the steps were taken.
            advantage: (b, S).
        """
        config, trajectory = self.config, rows_of(rollout.trajectory, rows)
        new = self.scorer(trajectory, steps)
        if config.logprob == "sum":
            found = surrogate.clip_sum(new, old, advantage, config.clip_low, config.clip_high)
            scale = 1
        else:
            scale = self.policy.dimensions(trajectory)
            found = surrogate.clip_mean(new, old, advantage, scale, config.clip_low, config.clip_high)
        loss = -surrogate.average(found.objective)
        logs = {
            "ratio": found.ratio.mean(),
            "ratio_off": (found.ratio - 1).abs().max(),
            "clip_share": found.clip_share,
            "kl_old": kl.k3(new.detach() / scale, old / scale).mean(),
        }
        if self.reference is not None:
            with torch.no_grad():
                base = self.reference(trajectory, steps)
            away = kl.estimate(config.kl_kind, new / scale, base / scale).mean()
            loss, logs["kl"] = loss + config.kl * away, away.detach()
        return loss, logs

    def advantage(self, rewards: Rewards) -> Tensor:
        """(N,), or with credit "frame" (N, clips), of all rows."""
        config = self.config
        if config.credit == "clip":
            return super().advantage(rewards)
        without = [name for name, weight in self.weights.items() if weight and name not in rewards.frames]
        if without:
            raise InputError(
                f"the reward {without[0]!r} gives one number per clip, and credit 'frame' needs one per frame; "
                "give --credit clip, or a reward that scores every frame"
            )
        frames = sum(weight * values for weight, values in self.weighted(rewards.frames))
        clips = frames.unflatten(1, (-1, self.env.unwrapped.clip_frames)).mean(2)  # a clip's steps make all its frames
        found = advantages.frame_credit(clips, config.group, config.advantage, config.discount)
        return found.clamp(-config.advantage_clip, config.advantage_clip)

    def steps(self, rollout: Rollout, iteration: int) -> list[int]:
        """Numbers of the steps that learn."""
        trajectory, config = rollout.trajectory, self.config
        usable = self.policy.trained_steps(trajectory, rollout.clips)
        if self.policy.kind == "token" or config.step_share == config.early == 1:
            return usable
        random = generator(config.seed, "steps", iteration)
        levels, clips = steps_per_clip(trajectory), clip_count(trajectory)
        drawn = subsets.step_subset(1, levels, clips, config.step_share, random, self.policy.quiet_end, config.early)
        return [int(step) for step in drawn[0] if step in set(usable)]
