"""GRPO of a world model (arXiv 2402.03300; RLIR, arXiv 2509.23958): play, compare inside groups, raise what was better.

- `TokenGrpo`, `DiffusionGrpo`: its settings. `Grpo`: `learn` is the whole way, from prompts to optimizer steps
  (`update.py`).
"""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

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
from worldgym.train.settings import Algorithm

ADVANTAGE_CLIP = 5.0  # of all papers that say one for GRPO


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrpoSettings(Algorithm):
    """Group-relative policy optimisation (arXiv 2402.03300) of a world model."""

    compare: Literal["videos", "last", "cycle", "grow"] = "videos"
    """Members of a group: whole videos; or candidates for one clip behind a shared prefix, through env.fork: the last clip;
    1, 2, … N in turn ("min2max" of WorldCompass); or later and later over the run."""
    frame_discount: float | None = None
    """None: one advantage for all steps of a rollout. A number: each frame's steps get that frame's own reward, and this
    share of what each later frame earns."""
    clip: float = 0.2
    """The ratio is clipped outside [1 - clip, 1 + clip]."""
    advantage: Literal["group", "global", "leave-one-out"] = "group"
    """A reward against its group: divided by the group's standard deviation, by that of all rows, or not at all."""

    def __post_init__(self):
        super().__post_init__()
        if not self.clip > 0:
            raise InputError(f"--clip must be above 0, not {self.clip}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenGrpo(GrpoSettings):
    """GRPO of a token model: a step's log-prob is that of its code."""

    kind: ClassVar[str] = "token"
    place: ClassVar[str] = "grpo of token models"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionGrpo(GrpoSettings):
    """GRPO of a diffusion model: a step's log-prob is the mean over its dimensions, as in published code."""

    kind: ClassVar[str] = "diffusion"
    place: ClassVar[str] = "grpo of diffusion models"

    noise: Literal["flow-grpo", "dance-grpo", "rlir", "cps"] = "flow-grpo"
    """How steps are made stochastic, see `worldgym.models.diffusion.noise_kernels`."""
    noise_level: float | None = None
    """Of the noise; the named paper's when left out."""
    last_noise: bool = True
    """Whether the last step of a clip adds noise, too; without, it is not trained and frames stay clean."""
    same_noise: bool = False
    """A group of whole videos starts from the same noise."""
    step_share: float = 1.0
    """Share of the denoising steps that learn, drawn anew in every iteration."""
    early: float = 1.0
    """Share of the denoising steps, noisiest first, among which they are drawn: what moves is decided there."""


class Grpo(Learner):
    """Group-relative policy optimisation of a token or a diffusion world model.

    Action tokens are given and have no log-prob, so they never enter the loss.

    Attributes:
        kl_kind: estimator of the divergence from the base model.

    Example:
        >>> settings = Settings(rollout=TokenRollout(prompt_batch=4, group=8), algorithm=TokenGrpo())  # doctest: +SKIP
        >>> learner = Grpo(env, Policy(world), settings)                                # doctest: +SKIP
        >>> for iteration in range(100):                                                # doctest: +SKIP
        ...     print(learner.iterate(iteration)["reward"])
    """

    algorithm: GrpoSettings
    kl_kind = "k3"

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
        """(b, S) logprob_sum before the update: as the steps were taken; in half precision computed again as in the loss."""
        if not self.ranks.half:
            return rollout.logprob[:, columns]
        rows = range(len(rollout.logprob))
        parts = [rows[i : i + self.optimisation.micro] for i in range(0, len(rows), self.optimisation.micro)]
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
        settings, trajectory = self.algorithm, rows_of(rollout.trajectory, rows)
        new, scale = self.update.scorer(trajectory, steps), self.policy.dimensions(trajectory)
        found = surrogate.clip_mean(new, old, advantage, scale, settings.clip, settings.clip)
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
            away = kl.estimate(self.kl_kind, new / scale, base / scale).mean()
            loss, logs["kl"] = loss + settings.kl * away, away.detach()
        return loss * len(rows), {**logs, "loss": loss.detach()}

    def advantage(self, rewards: Rewards) -> Tensor:
        """(N,), or with a discount over frames (N, clips), of all rows."""
        name, group, discount = self.algorithm.advantage, rewards.group, self.algorithm.frame_discount
        if discount is None:
            found = advantages.advantage(name, rewards.total, group)
            return found.clamp(-ADVANTAGE_CLIP, ADVANTAGE_CLIP)
        without = [name for name, weight in self.weights.items() if weight and name not in rewards.frames]
        if without:
            raise InputError(
                f"the reward {without[0]!r} gives one number per clip, and --frame-discount needs one per frame; "
                "give --frame-discount None, or a reward that scores every frame"
            )
        frames = sum(weight * values for weight, values in self.weighted(rewards.frames))
        clips = frames.unflatten(1, (-1, self.env.unwrapped.clip_frames)).mean(2)  # a clip's steps make all its frames
        found = advantages.frame_credit(clips, group, name, discount)
        return found.clamp(-ADVANTAGE_CLIP, ADVANTAGE_CLIP)

    def steps(self, rollout: Rollout, iteration: int) -> list[int]:
        """Numbers of the steps that learn."""
        trajectory, settings = rollout.trajectory, self.algorithm
        usable = self.policy.trained_steps(trajectory, rollout.clips)
        if self.policy.kind == "token" or settings.step_share == settings.early == 1:
            return usable
        random = generator(self.seed, "steps", iteration)
        levels, clips = steps_per_clip(trajectory), clip_count(trajectory)
        drawn = step_subset(1, levels, clips, settings.step_share, random, self.policy.quiet_end, settings.early)
        return [int(step) for step in drawn[0] if step in set(usable)]
