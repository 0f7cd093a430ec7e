"""The settings of a post-training run: the algorithm's own, and where and how it runs.

- `TrainRunConfig`: what all runs share. `GrpoRun`, `NftRun`, `DraftRun`: with the algorithm's settings. The command line is
  made from them.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar, Literal

from worldgym.errors import InputError
from worldgym.runs.schedule import Budget
from worldgym.train.draft import DraftConfig
from worldgym.train.grpo import GrpoConfig
from worldgym.train.nft import NftConfig
from worldgym.train.settings import LoopConfig, flag

# What may differ between a run and its continuation: where it lives, how long it goes on, what is written when.
FREE = (
    *("out", "prompts", "iterations", "minutes", "resume", "device", "threads", "save_every", "snapshot_every", "wandb"),
    *("micro", "checkpointing", "sharded"),
)

SHORT = {"if": "interaction_following", "vq": "quality"}  # the papers' words for rewards


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainRunConfig(LoopConfig):
    """Where and how a run takes place."""

    algorithm: ClassVar[str] = ""
    out: Path
    """Folder of the run; model.safetensors and model.json appear there."""
    model: str = "doom-rooms/token-nano"
    """World model to start from: a zoo name, a file or a run's folder."""
    env: str | None = None
    """Environment's id; by default the one for this kind of model."""
    reward: tuple[str, ...] = ("idm",)
    """Rewards by name, each with a weight if not 1, as in --reward if=2 drift=1."""
    reward_option: tuple[str, ...] = ()
    """Arguments of rewards, as in --reward-option idm.mode=exact."""
    due: Literal["episode", "clip"] = "episode"
    """When rewards are due: on all generated frames, or on those of the last clip."""
    guards: bool = True
    """Report drift of brightness and contrast and the share of frozen frames beside the rewards."""
    prompts: str = "doom-rooms"
    """Clip store to take prompts from (its training seeds), or a world to record them from, once, beside the run."""
    prompt_count: int = 1000
    """Different prompts."""
    frames: int = 16
    """T, given and generated."""
    prefix: int = 1
    """P, given."""
    denoise_steps: int = 10
    """K per clip (diffusion)."""
    shift: float = 1.0
    """Of the grid of noise levels (diffusion)."""
    schedule: Literal["raster", "diagonal", "diagonal-compat"] = "raster"
    """Order in which codes are drawn (token)."""
    iterations: int | None = None
    """Budget in iterations; a resumed run equals an uninterrupted one bit for bit (CPU, same threads)."""
    minutes: float | None = None
    """Budget in minutes; a resumed run goes on for the rest."""
    resume: bool = False
    """Go on where the run in --out was stopped or killed; starts one if there is none."""
    device: str = "auto"
    """cpu, cuda, cuda:1 …; auto takes a GPU if there is one."""
    threads: int | None = None
    """CPU threads of torch; its own choice if not given."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """bf16: rollouts and updates under autocast, weights stay float32."""
    lora: int = 0
    """Rank of low-rank adapters to train instead of all weights (needs peft); 0 trains all weights."""
    checkpointing: bool = False
    """Recompute blocks in the backward pass: less memory, more time, the same numbers."""
    sharded: bool = False
    """Under torchrun: cut weights, gradients and moments into pieces (FSDP) instead of copying them (DDP)."""
    save_every: float = 60.0
    """Seconds between checkpoints."""
    snapshot_every: int = 0
    """Iterations between models that are kept (step-000050.safetensors …); 0 keeps the last only."""
    wandb: str | None = None
    """Project to log to with Weights & Biases, where it is installed."""

    def __post_init__(self):
        super().__post_init__()
        _ = self.budget, self.weights, self.options  # said now, not after prompts were recorded
        for name in ("prompt_count", "denoise_steps", "save_every"):
            if not getattr(self, name) > 0:
                raise InputError(f"{flag(name)} must be above 0, not {getattr(self, name)}")
        if not self.reward:
            raise InputError("--reward is empty: name at least one, as in --reward idm")

    @property
    def budget(self) -> Budget:
        """Iterations or minutes."""
        return Budget(self.iterations, self.minutes)

    @property
    def weights(self) -> dict[str, float]:
        """Rewards by name with their weights."""
        return dict(_named_number(text) for text in self.reward)

    @property
    def options(self) -> dict[str, dict[str, Any]]:
        """Arguments of rewards by name."""
        found: dict[str, dict[str, Any]] = {}
        for text in self.reward_option:
            name, _, rest = text.partition(".")
            name = SHORT.get(name, name)
            key, _, value = rest.partition("=")
            if not (name and key and value) or name not in self.weights:
                raise InputError(f"--reward-option {text!r} is no <reward>.<argument>=<value> of a reward that is used")
            found.setdefault(name, {})[key] = _number(value)
        return found

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Settings that have a default."""
        return {f.name: f.default for f in dataclasses.fields(cls) if f.default is not dataclasses.MISSING}

    def fixed(self) -> dict[str, Any]:
        """JSON of what must not change when the run is resumed; the budget's kind is part of it."""
        values = {name: value for name, value in self.values().items() if name not in FREE}
        return {**values, "algorithm": self.algorithm, "budget": "iterations" if self.minutes is None else "minutes"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrpoRun(TrainRunConfig, GrpoConfig):
    """Train a world model by GRPO."""

    algorithm: ClassVar[str] = "grpo"


@dataclasses.dataclass(frozen=True, kw_only=True)
class NftRun(TrainRunConfig, NftConfig):
    """Train a diffusion world model by negative-aware fine-tuning."""

    algorithm: ClassVar[str] = "nft"
    model: str = "doom-rooms/diffusion-nano-v3"


@dataclasses.dataclass(frozen=True, kw_only=True)
class DraftRun(TrainRunConfig, DraftConfig):
    """Train a world model on the gradient of its judges."""

    algorithm: ClassVar[str] = "draft"
    model: str = "doom-rooms/diffusion-nano-v3"


def _named_number(text: str) -> tuple[str, float]:
    name, _, number = text.partition("=")
    try:
        return SHORT.get(name, name), float(number or 1)
    except ValueError:
        raise InputError(f"--reward {text!r}: {number!r} is no weight; write {name}=2, or {name} for weight 1") from None


def _number(text: str) -> Any:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return {"true": True, "false": False, "none": None}.get(text.lower(), text)
