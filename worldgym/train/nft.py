"""Negative-aware fine-tuning of a diffusion world model (DiffusionNFT, arXiv 2509.16117; WorldCompass, arXiv 2602.09022).

The old policy, a moving average of the weights, plays by the plain ODE. The best and the worst rollouts of every group are
noised again, and the velocity is pulled to the good ones and pushed away from the bad ones.

A clip x0 that the old policy made is noised again to x = (1 - sigma) x0 + sigma eps. With the present velocity v and the old
one v_old:

    v+ = beta v + (1 - beta) v_old        x0+ = x - sigma v+
    v- = (1 + beta) v_old - beta v        x0- = x - sigma v-
    loss = r |x0+ - x0|^2 / w+  +  (1 - r) |x0- - x0|^2 / w-,      w = mean |x0± - x0|, no gradient, at least `floor`

r in [0, 1] says how likely the clip counts as good. Good clips pull v to themselves, bad ones push it away along the mirror
image, and nothing needs the sampler's log-probs: any solver may generate. At v = v_old both branches are the same number, so
the loss does not depend on r while its gradient is proportional to 2 r - 1.

- `NftSettings`: its settings. `Nft`: `learn` is the whole way, from prompts to optimizer steps (`update.py`).
- `nft_loss`; `old_velocity`: "ema" as in the papers, "detached" as WorldCompass was released.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from worldgym.errors import InputError, unknown
from worldgym.models.diffusion import flow
from worldgym.models.diffusion.trajectory import DenoiseTrajectory
from worldgym.rewards import advantages
from worldgym.rewards.advantages import optimality
from worldgym.rng import RowNoise, generator, torch_seed
from worldgym.train import ema, kl
from worldgym.train.layout import Layout
from worldgym.train.learner import Learner, Rewards
from worldgym.train.policy import rows_of, steps_per_clip
from worldgym.train.rollout import Rollout
from worldgym.train.selection import best_of_n, step_subset
from worldgym.train.settings import Algorithm, flag

OLD = ("ema", "detached")
OLD_DECAY = {  # of the old policy's weights, by the optimizer step
    "worldcompass": ema.DecaySchedule(0.2, 0.01, 0.9),
    "diffusion-nft": ema.DecaySchedule(0.0, 0.001, 0.5),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class NftSettings(Algorithm):
    """Negative-aware fine-tuning of a diffusion world model (DiffusionNFT, arXiv 2509.16117; WorldCompass, 2602.09022)."""

    kind: ClassVar[str] = "diffusion"
    place: ClassVar[str] = "nft"

    compare: Literal["videos", "last", "cycle", "grow"] = "videos"
    """Members of a group: whole videos; or candidates for a clip behind a shared prefix, through env.fork: the last clip;
    1, 2, … N in turn ("min2max" of WorldCompass); or later and later over the run."""
    span: int = 1
    """Clips of the model that are candidates together, and the step of "cycle" and "grow"; above 1,
    rewards read whole videos."""
    best_of: int = 0
    """Rollouts of a group that are kept, half of them the best and half the worst; 0 keeps all."""
    old: Literal["worldcompass", "diffusion-nft", "detached"] = "worldcompass"
    """The old policy: weights averaged as in one of the papers (`OLD_DECAY`); or the policy itself without gradient, as
    WorldCompass was released (it acts by the first paper's average, then)."""
    loss_scale: float = 1.0
    """Factor of the loss without the divergence |v - v_base|^2; DiffusionNFT c / beta."""
    advantage: Literal["group", "global", "leave-one-out"] = "group"
    """A reward against its group: divided by the group's standard deviation, by that of all rows, or not at all."""
    advantage_clip: float = 5.0
    """Largest advantage: there a rollout counts as good, or as bad, for certain."""
    terms: Literal["sum", "each"] = "sum"
    """sum: the environment's reward is normalised; each: every term on its own, then weighted (WorldCompass)."""
    step_share: float = 1.0
    """Share of the denoising steps that learn, drawn anew in every iteration."""
    early: float = 1.0
    """Share of the denoising steps, noisiest first, among which they are drawn: what moves is decided there."""

    def __post_init__(self):
        super().__post_init__()
        for name in ("span", "advantage_clip"):
            if not getattr(self, name) > 0:
                raise InputError(f"{flag(name)} must be above 0, not {getattr(self, name)}")
        if self.best_of and self.best_of < 2:
            raise InputError(f"--best-of is {self.best_of}, but at least 2 must be kept; 0 keeps all")


class Nft(Learner):
    """Negative-aware fine-tuning, on whole videos or on one clip behind a shared prefix.

    Attributes:
        old: the old policy, which acts.
    """

    algorithm: NftSettings

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        self.decay = OLD_DECAY.get(self.algorithm.old, OLD_DECAY["worldcompass"])
        self.old = self.update.follow("old", self.decay)

    def learn(self, iteration: int, share: float) -> dict[str, float]:
        """From prompts to optimizer steps."""
        settings = self.algorithm
        rollout = self.play(iteration, share, self.old.model)
        rewards = self.rewards(rollout, iteration)  # of all processes
        advantage = self.advantage(rewards)
        kept = best_of_n(advantage, rewards.group, settings.best_of or rewards.group).tolist()  # global rows
        r = self.layout.mine(optimality(advantage, settings.advantage_clip))
        mine, weights = self.work(kept)
        levels = self.levels(rollout, iteration)

        def loss(part: list[int], epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
            rows = [mine[i] for i in part]
            each, seen = self.loss(rollout, rows, r[rows], levels[rows], (iteration, epoch))
            return (each * each.new_tensor([weights[i] for i in part])).sum(), {**seen, "loss": each.mean().detach()}

        logs = self.update(len(mine), iteration, loss)
        return {**rewards.logs(), **logs, "kept": float(len(kept)), "old_decay": self.decay(self.update.updates)}

    def loss(
        self, rollout: Rollout, rows: list[int], r: Tensor, steps: np.ndarray, names: tuple[int, int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of some rows (b,), and numbers to watch.

        Args:
            rollout: of this process.
            rows: b local rows.
            r: (b,) optimality.
            steps: (b, S) step numbers, whose noise levels are trained; the same clips in every row.
            names: iteration and epoch, of the noise.
        """
        settings, trajectory = self.algorithm, rows_of(rollout.trajectory, rows)
        count = steps_per_clip(trajectory)
        clips = [int(step) // count for step in steps[0]]
        sigma = trajectory.latents.new_tensor(np.asarray(trajectory.sigmas)[steps % count])
        x0 = clean_clips(trajectory, clips)
        seeds = [torch_seed(self.seed, "again", *names, self.layout.rows[row]) for row in rows]
        noisy = flow.noised(x0, RowNoise(seeds, x0.device).normal(*x0.shape[1:]), sigma)
        v = self.update.scorer(trajectory, noisy=noisy, sigma=sigma, clips=clips)
        v_old = old_velocity(
            "detached" if settings.old == "detached" else "ema",
            v,
            lambda: self.old(trajectory, noisy=noisy, sigma=sigma, clips=clips),
        )
        good = r[:, None].expand(sigma.shape)
        each = settings.loss_scale * nft_loss(v, v_old, x0, noisy, sigma, good, lead=2).mean(1)
        logs = {"optimality": r.mean(), "moved": (v.detach() - v_old).square().mean()}
        if self.reference is not None:
            with torch.no_grad():
                base = self.reference(trajectory, noisy=noisy, sigma=sigma, clips=clips)
            away = kl.velocity(v, base, lead=2).mean(1)
            each, logs["kl"] = each + settings.kl * away, away.mean().detach()
        return each, logs

    def advantage(self, rewards: Rewards) -> Tensor:
        """(N,) of all rows: the summed reward, or each term on its own and then weighted, against the group; clipped."""
        settings = self.algorithm
        if settings.terms == "each":
            found = advantages.composed(self.weighted(rewards.terms), rewards.group, settings.advantage)
        else:
            found = advantages.advantage(settings.advantage, rewards.total, rewards.group)
        return found.clamp(-settings.advantage_clip, settings.advantage_clip)

    def work(self, kept: list[int]) -> tuple[list[int], list[float]]:
        """Local rows of this process among the kept ones, padded to a length that all processes share, and their weights.

        Padded rows weigh 0, the others alike on all processes: 1 on a process that is alone.
        """
        chosen = set(kept)
        mine = [local for local, row in enumerate(self.layout.rows) if row in chosen]
        ranks = [Layout(self.layout.prompts, self.layout.group, k, self.layout.world) for k in range(self.layout.world)]
        longest = max(len(chosen & set(layout.rows)) for layout in ranks)
        longest += -longest % self.optimisation.minibatches
        missing = longest - len(mine)
        weight = self.layout.world * longest / len(kept)
        return mine + [0] * missing, [weight] * len(mine) + [0.0] * missing

    def levels(self, rollout: Rollout, iteration: int) -> np.ndarray:
        """(b, S) step numbers of each local row; a row's own subset, whoever plays it."""
        trajectory, settings, rows = rollout.trajectory, self.algorithm, self.settings.rollout.rows
        random = generator(self.seed, "levels", iteration)
        count = steps_per_clip(trajectory)
        drawn = step_subset(rows, count, len(rollout.clips), settings.step_share, random, early=settings.early)
        return drawn[self.layout.rows] + rollout.clips.start * count


def clean_clips(trajectory: DenoiseTrajectory, clips: list[int]) -> Tensor:
    """(B, S, c, C, h, w): finished clips by number, repeats welcome."""
    size, prefix = trajectory.path.shape[3], trajectory.prefix
    return torch.stack([trajectory.latents[:, prefix + n * size : prefix + (n + 1) * size] for n in clips], 1)


def old_velocity(old: str, v: Tensor, ema: Callable[[], Tensor]) -> Tensor:
    """v_old: (B, …) without gradient.

    Args:
        old: "ema": what the policy that generated says, the papers' rule; "detached": the present velocity itself, which is
            what WorldCompass' released code comes down to (a signed, reward-weighted regression) and saves one model call.
        v: (B, …) the present velocity.
        ema: computes the old policy's velocity; called for "ema" only.
    """
    if old not in OLD:
        raise unknown("old policy", old, OLD)
    if old == "detached":
        return v.detach()
    with torch.no_grad():
        return ema().detach()


def nft_loss(
    v: Tensor,
    v_old: Tensor,
    x0: Tensor,
    noisy: Tensor,
    sigma: Tensor | float,
    optimality: Tensor,
    beta: float = 1.0,
    floor: float = 1e-5,
    lead: int = 1,
) -> Tensor:
    """The loss of every clip: (B,), or (B, S) with lead=2. Take the mean; DiffusionNFT then multiplies by c / beta.

    Args:
        v: (B, …) the present policy's velocity at `noisy`, with gradient.
        v_old: same shape, see `old_velocity`.
        x0: same shape, the clip that was generated.
        noisy: same shape, x0 noised to `sigma`.
        sigma: a number, or a tensor that covers the leading axes.
        optimality: r, (B,) or (B, S), in [0, 1].
        beta: strength of the step from old to new, above 0.
        floor: least w.
        lead: axes that are kept.
    """
    if not beta > 0:
        raise InputError(f"beta is {beta}, but it must be above 0")
    v, v_old, x0, noisy = v.float(), v_old.float(), x0.float(), noisy.float()
    positive = _distance(flow.clean_of(noisy, beta * v + (1 - beta) * v_old, sigma), x0, floor, lead)
    negative = _distance(flow.clean_of(noisy, (1 + beta) * v_old - beta * v, sigma), x0, floor, lead)
    r = flow.spread(optimality, positive)
    return r * positive + (1 - r) * negative


def _distance(x0_hat: Tensor, x0: Tensor, floor: float, lead: int) -> Tensor:
    """mean (x0_hat - x0)^2 / w over all axes but the first `lead`."""
    error = (x0_hat - x0).flatten(lead)
    # a mean of absolute values over many dimensions is summed in float64, as in both reference programs
    weight = error.detach().abs().double().mean(-1).clamp(min=floor)
    return error.square().mean(-1) / weight.to(error.dtype)
