"""Direct fine-tuning on differentiable rewards: a judge's own gradient in the place of comparisons.

- `TokenDraft`, `DiffusionDraft`: its settings. `Draft`: `learn` is the whole way, from prompts to optimizer steps
  (`update.py`).
- `nudged`: clips that react to the velocities of some steps.

GRPO and NFT learn from numbers alone. Where the judge is a network, its gradient says at once which way every pixel should
go (DRaFT, arXiv 2309.17400; AlignProp, arXiv 2310.03739). A video is played by the plain ODE; then for some steps k of a clip

    x0 = x0_played + w sum_k (sigma_{k+1} - sigma_k) (v_k - stop(v_k)),      w = steps that may learn / steps that do

has the value of the clip that was played and the gradient of those steps' velocities, each given the noisy clip and the
frames before it as they were (stop-gradient on a step's input, DRTune, arXiv 2405.00760): one model pass per step in place of
a chain through all of them, and early steps learn as well as late ones.

A code of a token model has no gradient, but what it stands for is a few numbers e, and to first order in them the expected
reward is linear in the probabilities: e = e_drawn + E[e] - stop(E[e]) under the distribution that was drawn from (the
straight-through estimator, arXiv 1308.3432). What the reward is: `worldgym.rewards.smooth`.

It pays what the judge pays, ever more exactly: a judge that was no reward must watch (reward hacking).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.judges.adversary import Adversary, realism, rivalry
from worldgym.models.codecs.codec import as_shown
from worldgym.models.diffusion.trajectory import DenoiseTrajectory
from worldgym.models.layers.sampling import expected
from worldgym.models.token.trajectory import TokenTrajectory
from worldgym.rng import generator, torch_seed
from worldgym.runs.ranks import Ranks
from worldgym.train import kl
from worldgym.train.learner import Learner
from worldgym.train.policy import Policy, rows_of, steps_per_clip
from worldgym.train.rollout import Rollout
from worldgym.train.selection import step_count, step_subset
from worldgym.train.settings import Algorithm, Settings


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftSettings(Algorithm):
    """Direct fine-tuning of a world model on differentiable rewards (DRaFT, arXiv 2309.17400)."""

    least_group: ClassVar[int] = 1  # nothing is compared

    views: bool = True
    """Judges look through the augmentations of their own training, drawn anew every time."""
    adversary: float = 0.0
    """Weight of a judge of looks that learns beside the policy to tell its videos from true ones (arXiv 2511.20256)."""
    adversary_lr: float = 5e-4
    """Its learning rate, constant."""

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.adversary < float("inf"):
            raise InputError(f"--adversary is {self.adversary}, but it must be a number of at least 0")
        if not 0 < self.adversary_lr < float("inf"):
            raise InputError(f"--adversary-lr must be above 0, not {self.adversary_lr}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenDraft(DraftSettings):
    """Draft of a token model: all codes learn, and the divergence is the KL per code."""

    kind: ClassVar[str] = "token"
    place: ClassVar[str] = "draft of token models"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionDraft(DraftSettings):
    """Draft of a diffusion model; the divergence is |v - v_base|^2."""

    kind: ClassVar[str] = "diffusion"
    place: ClassVar[str] = "draft of diffusion models"

    step_share: float = 1.0
    """Share of the denoising steps that learn, drawn anew in every iteration."""
    early: float = 1.0
    """Share of the denoising steps, noisiest first, among which they are drawn: what moves is decided there."""


class PictureScore(Protocol):
    """A differentiable score of pictures; `worldgym.rewards.smooth.Objective` is one."""

    def __call__(
        self, pictures: Tensor, actions: Tensor, truth: Tensor, given: int, seeds: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """(B, T, H, W, 3) float, (B, T-1, A), (B, T, H, W, 3) uint8 -> the score (B, T - given) and its terms by name."""
        ...


class Draft(Learner):
    """Reward gradients on whole videos of a token or a diffusion world model.

    Args:
        env, policy, settings, ranks, weights: as in `Learner`.
        objective: what is to grow.
    """

    algorithm: DraftSettings

    def __init__(
        self,
        env: Any,
        policy: Policy,
        settings: Settings,
        ranks: Ranks | None = None,
        weights: Mapping[str, float] | None = None,
        *,
        objective: PictureScore,
    ):
        super().__init__(env, policy, settings, ranks, weights)
        self.objective = objective
        self.codec = env.unwrapped.codec.requires_grad_(False)
        self.adversary: Adversary | None = None
        if self.algorithm.adversary:
            self.adversary = Adversary(self.seed).to(self.ranks.device)
            self.update.add("adversary", self.adversary, self.algorithm.adversary_lr, betas=(0.0, 0.99))

    def learn(self, iteration: int, share: float) -> dict[str, float]:
        """From prompts to optimizer steps."""
        core = self.env.unwrapped
        rollout = self.play(iteration, share)
        rewards = self.rewards(rollout, iteration)  # for the log: what is followed is `objective`
        given, truth = core.video()[:, : core.prefix], core.truth()
        levels = self.levels(rollout, iteration)

        def loss(rows: list[int], epoch: int) -> tuple[Tensor, dict[str, Tensor]]:
            seeds = [torch_seed(self.seed, "views", iteration, epoch, self.layout.rows[row]) for row in rows]
            return self.loss(rollout, rows, levels[rows], given[rows], truth[rows], seeds)

        return {**rewards.logs(), **self.update(len(truth), iteration, loss)}

    def loss(
        self, rollout: Rollout, rows: list[int], steps: np.ndarray, given: Tensor, truth: Tensor, seeds: list[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss summed over some rows, and numbers to watch.

        Args:
            rollout: of this process.
            rows: b local rows.
            steps: (b, S) step numbers that learn; equally many of every clip. Of a token model all codes learn.
            given: (b, P, H, W, 3) uint8, the given frames.
            truth: (b, T, H, W, 3) uint8.
            seeds: (b) of the judges' augmentations.
        """
        trajectory = rows_of(rollout.trajectory, rows)
        made, away = (self.of_codes if self.policy.kind == "token" else self.of_steps)(trajectory, steps)
        pictures = torch.cat([given.float() / 255, made], 1)
        score, terms = self.objective(pictures, trajectory.actions, truth, given.shape[1], seeds)
        loss = -score.mean()
        logs = {f"smooth/{name}": values.detach().mean() for name, values in terms.items()}
        if self.adversary is not None:
            shown, true = (x[:, given.shape[1] - 1 :] for x in (as_shown(pictures), self.best_possible(given, truth)))
            likeness = realism(self.adversary, shown, true).mean()
            rival, told = rivalry(self.adversary, shown, true, seeds)
            loss = loss - self.algorithm.adversary * likeness + rival  # each has its own weights' gradient
            logs |= {"smooth/realism": likeness.detach(), "adversary": rival.detach(), "adversary_told": told}
        if away is not None:
            loss, logs["kl"] = loss + self.algorithm.kl * away, away.detach()
        return loss * len(rows), {**logs, "loss": loss.detach()}

    def best_possible(self, given: Tensor, truth: Tensor) -> Tensor:
        """What truly happened as the codec can draw it, (b, T, H, W, 3) in [0, 1]: its own faults are not the policy's."""
        after = self.codec.decode(self.codec.encode(truth[:, given.shape[1] :]))
        return torch.cat([given, after], 1).float() / 255

    def of_steps(self, trajectory: DenoiseTrajectory, steps: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """The pictures of a diffusion model that react to its velocities, (b, F, H, W, 3), and |v - v_base|^2."""
        count = steps_per_clip(trajectory)
        clips, level = torch.from_numpy(steps // count), torch.from_numpy(steps % count)
        noisy = trajectory.path[torch.arange(len(steps))[:, None], clips, level]
        asked = {"noisy": noisy, "sigma": noisy.new_tensor(trajectory.sigmas)[level], "clips": clips[0].tolist()}
        v, away = self.update.scorer(trajectory, **asked), None
        if self.reference is not None:
            with torch.no_grad():
                base = self.reference(trajectory, **asked)
            away = kl.velocity(v, base, lead=2).mean()
        change = noisy.new_tensor(np.diff(trajectory.sigmas))[level]
        x0 = nudged(trajectory.path[:, :, -1], v, change, step_count(self.algorithm.early, count))
        return self.codec.pictures(x0.flatten(1, 2)), away

    def of_codes(self, trajectory: TokenTrajectory, steps: np.ndarray) -> tuple[Tensor, Tensor | None]:
        """The pictures of a token model that react to its logits, (b, F, H, W, 3), and KL(policy | base) per code."""
        codes, drawing = trajectory.codes[:, trajectory.prefix :], self.settings.rollout
        logits, away = self.update.scorer(trajectory, logits=True), None
        if self.reference is not None:
            with torch.no_grad():
                base = self.reference(trajectory, logits=True).log_softmax(-1)
            now = logits.log_softmax(-1)
            away = (now.exp() * (now - base)).sum(-1).mean()
        table = self.codec.values(torch.arange(self.codec.codes, device=codes.device))
        mean = expected(logits, table, drawing.top_p, drawing.temperature)
        return self.codec.pictures(table[codes] + (mean - mean.detach())), away

    def levels(self, rollout: Rollout, iteration: int) -> np.ndarray:
        """(b, S) step numbers of each local row; a row's own subset, whoever plays it."""
        count, settings = steps_per_clip(rollout.trajectory), self.algorithm
        if self.policy.kind == "token":
            return np.zeros((len(self.layout.rows), 0), np.int64)
        random, rows = generator(self.seed, "levels", iteration), self.settings.rollout.rows
        drawn = step_subset(rows, count, len(rollout.clips), settings.step_share, random, early=settings.early)
        return drawn[self.layout.rows]


def nudged(x0: Tensor, v: Tensor, change: Tensor, usable: int) -> Tensor:
    """Finished clips with the gradient of some of their steps.

    Args:
        x0: (B, N, c, C, h, w), the clips as they were played.
        v: (B, N n, c, C, h, w) velocities of n steps of every clip, clip after clip, with gradient.
        change: (B, N n) sigma_{k+1} - sigma_k of those steps.
        usable: steps of a clip from which the n were drawn; the sum over n is scaled to one over all of these.

    Returns:
        (B, N, c, C, h, w), the values of x0.
    """
    count = v.shape[1] // x0.shape[1]
    push = change.reshape(*change.shape, *(1,) * (v.ndim - 2)) * (v - v.detach())
    return x0 + usable / count * push.unflatten(1, (x0.shape[1], count)).sum(2)
