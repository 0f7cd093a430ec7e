"""Negative-aware fine-tuning of a diffusion world model (DiffusionNFT, arXiv 2509.16117; WorldCompass, arXiv 2602.09022).

- `Nft`: `iterate` is in `learner.py`, the loss in `nft_loss.py`; what lies between is here.

The old policy, a moving average of the weights, plays by the plain ODE. The best and the worst rollouts of every group are
noised again, and the velocity is pulled to the good ones and pushed away from the bad ones.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict

import numpy as np
import torch
from torch import Tensor, nn

from worldgym.errors import InputError
from worldgym.models.diffusion import flow
from worldgym.models.diffusion.trajectory import DenoiseTrajectory
from worldgym.rng import RowNoise, generator, torch_seed
from worldgym.train import ema, kl, nft_loss, subsets
from worldgym.train.best_of_n import best_of_n
from worldgym.train.layout import Layout
from worldgym.train.learner import Learner, Rewards
from worldgym.train.policy import rows_of, steps_per_clip
from worldgym.train.rollout import Rollout, RolloutPlan
from worldgym.train.settings import NftConfig


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
        self.old = self.policy.frozen_copy()
        self._decay = ema.DecaySchedule(self.config.old_decay, self.config.old_growth, self.config.old_limit)

    def acting_model(self) -> nn.Module:
        """The old policy's weights."""
        return self.old.model

    def task(self, iteration: int, share: float = 0.0) -> RolloutPlan:
        """As in `Learner`, with guidance."""
        return dataclasses.replace(super().task(iteration, share), guidance=self.config.guidance)

    def stepped(self) -> None:
        """Let the old policy follow."""
        ema.update(self.old, self.policy, self._decay(self.updates - 1))

    def modules(self) -> dict[str, nn.Module]:
        """As in `Learner`, and the old policy."""
        return {**super().modules(), "old": self.old.model}

    def learn(self, rollout: Rollout, rewards: Rewards, iteration: int) -> dict[str, float]:
        """Update on this process's share of the kept rollouts."""
        config = self.config
        advantage = self.advantage(rewards)
        kept = self.kept(advantage)
        r = self.layout.mine(nft_loss.optimality(advantage, config.advantage_clip))
        rows, weights = self.work(kept)
        scale = self.ranks.world * len(rows) / len(kept)  # padded rows count 0, the others alike on all processes
        levels = self.levels(rollout, iteration)
        logs = defaultdict(list)
        for epoch in range(config.epochs):
            for minibatch in self.parts(len(rows), iteration, epoch):
                total = sum(map(len, minibatch))
                for part in minibatch:
                    chosen = [rows[i] for i in part]
                    with self.ranks.accumulating(self.scorer, last=part is minibatch[-1]):
                        each, seen = self.loss(rollout, chosen, r[chosen], levels[chosen], (iteration, epoch))
                        loss = (each * each.new_tensor([weights[i] for i in part])).sum() / total * scale
                        self.ranks.backward(loss)
                    for name, value in {**seen, "loss": each.mean().detach()}.items():
                        logs[name].append((float(value), len(part)))
                logs["gradient"].append((self.step(), 1))
        means = {name: sum(v * n for v, n in values) / sum(n for _, n in values) for name, values in logs.items()}
        return means | {"kept": float(len(kept)), "old_decay": self._decay(self.updates)}

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
        v = self.scorer(trajectory, noisy=noisy, sigma=sigma, clips=clips)
        v_old = nft_loss.old_velocity(config.old, v, lambda: self.old(trajectory, noisy=noisy, sigma=sigma, clips=clips))
        optimality = r[:, None].expand(sigma.shape)
        each = config.loss_scale * nft_loss.nft_loss(v, v_old, x0, noisy, sigma, optimality, config.beta, lead=2).mean(1)
        logs = {"optimality": r.mean(), "moved": (v.detach() - v_old).square().mean()}
        if self.reference is not None:
            with torch.no_grad():
                base = self.reference(trajectory, noisy=noisy, sigma=sigma, clips=clips)
            away = kl.velocity(v, base, lead=2).mean(1)
            each, logs["kl"] = each + config.kl * away, away.mean().detach()
        return each, logs

    def kept(self, advantage: Tensor) -> list[int]:
        """Global rows that are trained on."""
        group, keep = self.config.group, self.config.best_of or self.config.group
        return best_of_n(advantage, group, keep).tolist()

    def work(self, kept: list[int]) -> tuple[list[int], list[float]]:
        """Local rows of this process among the kept ones, padded to a length that all processes share, and their weights."""
        chosen = set(kept)
        mine = [local for local, row in enumerate(self.layout.rows) if row in chosen]
        ranks = [Layout(self.layout.prompts, self.layout.group, k, self.layout.world) for k in range(self.layout.world)]
        longest = max(len(chosen & set(layout.rows)) for layout in ranks)
        longest += -longest % self.config.minibatches
        missing = longest - len(mine)
        return mine + [0] * missing, [1.0] * len(mine) + [0.0] * missing

    def levels(self, rollout: Rollout, iteration: int) -> np.ndarray:
        """(b, S) step numbers of each local row; a row's own subset, whoever plays it."""
        trajectory, config = rollout.trajectory, self.config
        random = generator(config.seed, "levels", iteration)
        count = steps_per_clip(trajectory)
        drawn = subsets.step_subset(config.rows, count, len(rollout.clips), config.step_share, random, early=config.early)
        return drawn[self.layout.rows] + rollout.clips.start * count


def clean_clips(trajectory: DenoiseTrajectory, clips: list[int]) -> Tensor:
    """(B, S, c, C, h, w): finished clips by number, repeats welcome."""
    size, prefix = trajectory.path.shape[3], trajectory.prefix
    return torch.stack([trajectory.latents[:, prefix + n * size : prefix + (n + 1) * size] for n in clips], 1)
