"""The settings of the learning algorithms, frozen; the papers' values are in `worldgym.train.presets`.

- `LoopConfig`: what they share. `GrpoConfig`, `NftConfig`, `DraftConfig`.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar, Literal

from worldgym.errors import InputError

ABOVE_ZERO = ("span", "prompt_batch", "group", "micro", "minibatches", "epochs", "lr", "grad_clip", "temperature", "clip_high")
SHARES = ("warmup", "final_lr", "ema")


@dataclasses.dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """What the algorithms share."""

    least_group: ClassVar[int] = 2

    seed: int = 0
    """Of prompts, noise and subsets: everything that happens is a function of (seed, iteration)."""
    level: Literal["sample", "clip"] = "sample"
    """sample: G whole videos per prompt; clip: one prefix per prompt, then G candidates for one clip, through env.fork."""
    curriculum: Literal["last", "cycle", "grow"] = "last"
    """Which clip an iteration ends with: the last; 1, 2, … N in turn ("min2max" of WorldCompass); or later and later."""
    span: int = 1
    """Clips of the model that are compared and trained together at level "clip", and the curriculum's step."""
    prompt_batch: int = 8
    """Prompts per iteration, over all processes."""
    group: int = 8
    """G, rollouts per prompt."""
    micro: int = 8
    """Rows per backward pass; gradients are accumulated."""
    minibatches: int = 1
    """Optimizer steps per pass over an iteration's rows."""
    epochs: int = 1
    """Passes over an iteration's rows."""
    lr: float = 3e-5
    """Peak learning rate."""
    warmup: float = 0.0
    """Share of the budget in which the rate rises."""
    final_lr: float = 0.0
    """Rate at the end of the cosine, as a share of the peak; 1 keeps it constant."""
    weight_decay: float = 0.0
    """Of AdamW, decoupled."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Of AdamW."""
    grad_clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.0
    """Decay of the averaged weights that are saved as the model, per optimizer step; 0 saves the last weights."""
    advantage: Literal["group", "global", "leave-one-out"] = "group"
    """A reward against its group: divided by the group's standard deviation, by that of all rows, or not at all."""
    advantage_clip: float = 5.0
    """Largest advantage."""
    terms: Literal["sum", "each"] = "sum"
    """sum: the environment's reward is normalised; each: every term on its own, then weighted (WorldCompass)."""
    step_share: float = 1.0
    """Share of the denoising steps that learn, drawn anew in every iteration (diffusion)."""
    early: float = 1.0
    """Share of the denoising steps, noisiest first, among which they are drawn: what moves is decided there (diffusion)."""
    top_p: float = 1.0
    """Of rollouts (token)."""
    temperature: float = 1.0
    """Of rollouts (token)."""
    same_noise: bool = False
    """A group starts from the same noise (diffusion, sample level)."""

    def __post_init__(self):
        for name in ABOVE_ZERO:
            if hasattr(self, name) and not getattr(self, name) > 0:
                raise InputError(f"{flag(name)} must be above 0, not {getattr(self, name)}")
        for name in SHARES:
            if not 0 <= getattr(self, name) <= 1 or name == "ema" and self.ema == 1:
                raise InputError(f"{flag(name)} must be a share from 0 to 1, not {getattr(self, name)}")
        if not 0 < self.step_share <= 1:
            raise InputError(f"--step-share must be above 0 and at most 1, not {self.step_share}")
        if not 0 < self.early <= 1:
            raise InputError(f"--early must be above 0 and at most 1, not {self.early}")
        if self.group < self.least_group:
            raise InputError(f"--group is {self.group}: advantages compare rollouts of a prompt, give at least 2")

    @property
    def rows(self) -> int:
        """Rollouts per iteration, over all processes."""
        return self.prompt_batch * self.group

    def values(self) -> dict[str, Any]:
        """The algorithm's settings as JSON values."""
        return {name: list(v) if isinstance(v, tuple) else v for name, v in dataclasses.asdict(self).items()}


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


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftConfig(LoopConfig):
    """Direct fine-tuning of a world model on differentiable rewards (DRaFT, arXiv 2309.17400)."""

    least_group: ClassVar[int] = 1  # nothing is compared

    kl: float = 0.0
    """Weight of the divergence from the base model: |v - v_base|^2, or KL per code (token)."""
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


def flag(name: str) -> str:
    """The command-line spelling of a field."""
    return "--" + name.replace("_", "-")
