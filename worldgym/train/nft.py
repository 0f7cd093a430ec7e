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

- `NftConfig`: its settings. `Nft`: `learn` is the whole way, from prompts to optimizer steps (`update.py`).
- `nft_loss`; `old_velocity`: "ema" as in the papers, "detached" as WorldCompass was released.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from worldgym.errors import InputError, unknown
from worldgym.models.diffusion import flow
from worldgym.models.diffusion.trajectory import DenoiseTrajectory
from worldgym.rewards.advantages import optimality
from worldgym.rng import RowNoise, generator, torch_seed
from worldgym.train import ema, kl
from worldgym.train.layout import Layout
from worldgym.train.learner import Learner
from worldgym.train.policy import rows_of, steps_per_clip
from worldgym.train.rollout import Rollout
from worldgym.train.selection import best_of_n, step_subset
from worldgym.train.settings import LoopConfig

OLD = ("ema", "detached")


@dataclasses.dataclass(frozen=True, kw_only=True)
class NftConfig(LoopConfig):
    """Negative-aware fine-tuning of a diffusion world model (DiffusionNFT, arXiv 2509.16117; WorldCompass, 2602.09022)."""

    best_of: int = 0
    """Rollouts of a group that are kept, half of them the best and half the worst; 0 keeps all."""
    old: Literal["ema", "detached"] = "ema"
    """The old policy: averaged weights, as in the paper; or the policy itself without gradient, as released."""
    beta: float = 1.0
    """How far v+ and v- lie from the old policy's velocity."""
    old_decay: float = 0.2
    """Decay of the old policy's weights at the first step."""
    old_growth: float = 0.01
    """Added to that decay at every optimizer step."""
    old_limit: float = 0.9
    """The largest decay of the old policy's weights."""
    kl: float = 0.0
    """Weight of |v - v_base|^2 (DiffusionNFT 1e-4)."""
    loss_scale: float = 1.0
    """Factor of the loss without that term; DiffusionNFT c / beta."""
    guidance: float = 0.0
    """Action guidance while playing (ours): the members of a group get weights from 0 to this, and the reward decides."""

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.guidance < float("inf"):
            raise InputError(f"--guidance is {self.guidance}, but it must be a number of at least 0")
        if self.best_of and not 2 <= self.best_of <= self.group:
            raise InputError(f"--best-of is {self.best_of}, but from groups of {self.group} one can keep 2 to {self.group}")


class Nft(Learner):
    """Negative-aware fine-tuning, on whole videos or on one clip behind a shared prefix.

    Attributes:
        old: the old policy, which acts.
    """

    config: NftConfig

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        if self.policy.kind != "diffusion":
            raise InputError("NFT trains velocities, but this is a token model; use grpo")
        self.decay = ema.DecaySchedule(self.config.old_decay, self.config.old_growth, self.config.old_limit)
        self.old = self.update.follow("old", self.decay)

    def learn(self, iteration: int, share: float) -> dict[str, float]:
        """From prompts to optimizer steps."""
        config = self.config
        rollout = self.play(iteration, share, self.old.model, config.guidance)
        rewards = self.rewards(rollout, iteration)  # of all processes
        advantage = self.advantage(rewards)
        kept = best_of_n(advantage, config.group, config.best_of or config.group).tolist()  # global rows
        r = self.layout.mine(optimality(advantage, config.advantage_clip))
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
        config, trajectory = self.config, rows_of(rollout.trajectory, rows)
        count = steps_per_clip(trajectory)
        clips = [int(step) // count for step in steps[0]]
        sigma = trajectory.latents.new_tensor(np.asarray(trajectory.sigmas)[steps % count])
        x0 = clean_clips(trajectory, clips)
        seeds = [torch_seed(config.seed, "again", *names, self.layout.rows[row]) for row in rows]
        noisy = flow.noised(x0, RowNoise(seeds, x0.device).normal(*x0.shape[1:]), sigma)
        v = self.update.scorer(trajectory, noisy=noisy, sigma=sigma, clips=clips)
        v_old = old_velocity(config.old, v, lambda: self.old(trajectory, noisy=noisy, sigma=sigma, clips=clips))
        good = r[:, None].expand(sigma.shape)
        each = config.loss_scale * nft_loss(v, v_old, x0, noisy, sigma, good, config.beta, lead=2).mean(1)
        logs = {"optimality": r.mean(), "moved": (v.detach() - v_old).square().mean()}
        if self.reference is not None:
            with torch.no_grad():
                base = self.reference(trajectory, noisy=noisy, sigma=sigma, clips=clips)
            away = kl.velocity(v, base, lead=2).mean(1)
            each, logs["kl"] = each + config.kl * away, away.mean().detach()
        return each, logs

    def work(self, kept: list[int]) -> tuple[list[int], list[float]]:
        """Local rows of this process among the kept ones, padded to a length that all processes share, and their weights.

        Padded rows weigh 0, the others alike on all processes: 1 on a process that is alone.
        """
        chosen = set(kept)
        mine = [local for local, row in enumerate(self.layout.rows) if row in chosen]
        ranks = [Layout(self.layout.prompts, self.layout.group, k, self.layout.world) for k in range(self.layout.world)]
        longest = max(len(chosen & set(layout.rows)) for layout in ranks)
        longest += -longest % self.config.minibatches
        missing = longest - len(mine)
        weight = self.layout.world * longest / len(kept)
        return mine + [0] * missing, [weight] * len(mine) + [0.0] * missing

    def levels(self, rollout: Rollout, iteration: int) -> np.ndarray:
        """(b, S) step numbers of each local row; a row's own subset, whoever plays it."""
        trajectory, config = rollout.trajectory, self.config
        random = generator(config.seed, "levels", iteration)
        count = steps_per_clip(trajectory)
        drawn = step_subset(config.rows, count, len(rollout.clips), config.step_share, random, early=config.early)
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
