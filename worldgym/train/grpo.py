"""GRPO of a world model (arXiv 2402.03300; RLIR, arXiv 2509.23958): play, compare inside groups, raise what was better.

- `GrpoConfig`: its settings. `Grpo`: `learn` is the whole way, from prompts to optimizer steps (`update.py`).
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.rewards import advantages
from worldgym.rng import generator
from worldgym.train import kl, surrogate
from worldgym.train.learner import Learner, Rewards
from worldgym.train.policy import clip_count, rows_of, steps_per_clip
from worldgym.train.rollout import Rollout
from worldgym.train.selection import step_subset
from worldgym.train.settings import LoopConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrpoConfig(LoopConfig):
    """Group-relative policy optimisation (arXiv 2402.03300) of a world model."""

    credit: Literal["clip", "frame"] = "clip"
    """clip: one advantage for all steps of a rollout; frame: each frame's steps get that frame's own rewards."""
    discount: float = 0.0
    """With credit "frame": what a later frame's reward counts for an earlier frame."""
    clip_low: float = 0.2
    """The ratio is clipped below 1 - clip_low."""
    clip_high: float = 0.2
    """The ratio is clipped above 1 + clip_high."""
    logprob: Literal["sum", "mean"] = "sum"
    """Reduction of a step's log-prob over its dimensions; published diffusion code takes the mean."""
    old: Literal["acted", "recomputed"] = "acted"
    """Old log-probs: those of the steps as they were taken; or recomputed, for half precision on a GPU."""
    kl: float = 0.0
    """Weight of the divergence from the base model; 0 needs no second model."""
    kl_kind: Literal["k1", "k2", "k3"] = "k3"
    """Estimator of the divergence."""
    noise: Literal["flow-grpo", "dance-grpo", "rlir", "cps"] = "flow-grpo"
    """How steps are made stochastic (diffusion), see `worldgym.models.diffusion.noise_kernels`."""
    noise_level: float | None = None
    """Of the noise; the named paper's when left out."""
    last_noise: bool = True
    """Whether the last step of a clip adds noise, too; without, it is not trained and frames stay clean (diffusion)."""


class Grpo(Learner):
    """Group-relative policy optimisation of a token or a diffusion world model.

    Action tokens are given and have no log-prob, so they never enter the loss.

    Example:
        >>> learner = Grpo(env, Policy(world), GrpoConfig(prompt_batch=4, group=8))     # doctest: +SKIP
        >>> for iteration in range(100):                                                # doctest: +SKIP
        ...     print(learner.iterate(iteration)["reward"])
    """

    config: GrpoConfig

    def learn(self, iteration: int, share: float) -> dict[str, float]:
        """From prompts to optimizer steps."""
        rollout = self.play(iteration, share)
        rewards = self.rewards(rollout, iteration)  # of all processes
        advantage = self.layout.mine(self.advantage(rewards))  # (b,) or (b, clips)
        steps = self.steps(rollout, iteration)
        columns = [step - rollout.clips.start * steps_per_clip(rollout.trajectory) for step in steps]
        weights = advantages.per_step(advantage, rollout.logprob.shape[1])[:, columns]
        old = self.old(rollout, steps, columns)

        def loss(rows: list[int], epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
            return self.loss(rollout, rows, steps, old[rows], weights[rows])

        return {**rewards.logs(), **self.update(len(old), iteration, loss, worst=("ratio_off",))}

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
        """The clipped surrogate, summed over some rows, and numbers to watch.

        Args:
            rollout: of this process.
            rows: b local rows.
            steps: S step numbers.
            old: (b, S) logprob_sum when the steps were taken.
            advantage: (b, S).
        """
        config, trajectory = self.config, rows_of(rollout.trajectory, rows)
        new = self.update.scorer(trajectory, steps)
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
        return loss * len(rows), {**logs, "loss": loss.detach()}

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
        drawn = step_subset(1, levels, clips, config.step_share, random, self.policy.quiet_end, config.early)
        return [int(step) for step in drawn[0] if step in set(usable)]
