"""The settings that all algorithms share, frozen; the papers' values are in `worldgym.train.presets`.

- `LoopConfig`: each algorithm's file extends it. `flag(name)`: a field as the command line spells it.
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


def flag(name: str) -> str:
    """The command-line spelling of a field."""
    return "--" + name.replace("_", "-")
