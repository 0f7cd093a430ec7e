"""The settings that all algorithms share, in small frozen sections; a field exists only where it acts.

- `Task`: what is trained on what. `TokenRollout`, `DiffusionRollout`: how it plays. `Optimisation`: how weights move.
  `Algorithm`: the base of each algorithm's own section, which stands in that algorithm's file. `Run`: where and how a run
  takes place.
- `Settings`: the sections that a learner needs. `flag(name)`: a field as the command line spells it.

`worldgym.train.config` puts them together for a run; the papers' values are in `worldgym.train.presets`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar, Literal

from worldgym.errors import InputError
from worldgym.runs.schedule import Budget

SHORT = {"if": "interaction_following", "vq": "quality"}  # the papers' words for rewards


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """What is trained on what: model, rewards, prompts."""

    place: ClassVar[str] = "the task"

    model: str = "doom-rooms/token-nano"
    """World model to start from: a zoo name, a file or a run's folder."""
    env: str | None = None
    """Environment's id; by default the one for this kind of model."""
    reward: tuple[str, ...] = ("idm",)
    """Rewards by name, each with a weight if not 1, as in --reward if=2 drift=1."""
    reward_option: tuple[str, ...] = ()
    """Arguments of rewards, as in --reward-option idm.mode=exact."""
    prompts: str = "doom-rooms"
    """Clip store to take prompts from (its training seeds), or a world to record them from, once, beside the run."""
    prompt_count: int = 1000
    """Different prompts."""
    frames: int = 16
    """T, given and generated."""
    prefix: int = 1
    """P, given."""

    def __post_init__(self):
        _ = self.weights, self.options  # said now, not after prompts were recorded
        _above_zero(self, "prompt_count", "frames", "prefix")
        if not self.reward:
            raise InputError("--reward is empty: name at least one, as in --reward idm")

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


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rollout:
    """How much is played."""

    kind: ClassVar[str] = ""

    seed: int = 0
    """Of prompts, noise and subsets: everything that happens is a function of (seed, iteration)."""
    prompt_batch: int = 8
    """Prompts per iteration, over all processes."""
    group: int = 8
    """G, rollouts per prompt."""

    def __post_init__(self):
        _above_zero(self, "prompt_batch", "group")

    @property
    def rows(self) -> int:
        """Rollouts per iteration, over all processes."""
        return self.prompt_batch * self.group


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenRollout(Rollout):
    """How a token model plays."""

    kind: ClassVar[str] = "token"
    place: ClassVar[str] = "rollouts of token models"

    schedule: Literal["raster", "diagonal", "diagonal-compat"] = "raster"
    """Order in which codes are drawn."""
    top_p: float = 1.0
    """Codes are drawn among the likeliest that have this probability together."""
    temperature: float = 1.0
    """Of drawing."""

    def __post_init__(self):
        super().__post_init__()
        _above_zero(self, "temperature", "top_p")


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionRollout(Rollout):
    """How a diffusion model plays."""

    kind: ClassVar[str] = "diffusion"
    place: ClassVar[str] = "rollouts of diffusion models"

    denoise_steps: int = 10
    """K per clip."""
    shift: float = 1.0
    """Of the grid of noise levels."""

    def __post_init__(self):
        super().__post_init__()
        _above_zero(self, "denoise_steps", "shift")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How weights move."""

    place: ClassVar[str] = "the optimisation"

    micro: int = 8
    """Rows per backward pass; gradients are accumulated."""
    minibatches: int = 1
    """Optimizer steps per pass over an iteration's rows."""
    epochs: int = 1
    """Passes over an iteration's rows."""
    lr: float = 3e-5
    """Peak learning rate of AdamW."""
    warmup: float = 0.0
    """Share of the budget in which the rate rises."""
    final_lr: float = 0.0
    """Rate at the end of the cosine, as a share of the peak; 1 keeps it constant."""
    weight_decay: float = 0.0
    """Of AdamW, decoupled."""
    grad_clip: float = 1.0
    """Largest norm of the gradient."""
    ema: float = 0.0
    """Decay of the averaged weights that are saved as the model, per optimizer step; 0 saves the last weights."""

    def __post_init__(self):
        _above_zero(self, "micro", "minibatches", "epochs", "lr", "grad_clip")
        for name in ("warmup", "final_lr", "ema"):
            if not 0 <= getattr(self, name) <= 1 or name == "ema" and self.ema == 1:
                raise InputError(f"{flag(name)} must be a share from 0 to 1, not {getattr(self, name)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Algorithm:
    """The base of an algorithm's own section: what plays ask of it, where it has no field for it.

    Attributes:
        kind: of the models that it trains. place: where its fields act, for messages.
        least_group: smallest group that makes sense.
        compare: see the algorithms that have it as a field. span: clips that are compared and trained together.
        same_noise: a group starts from the same noise.
    """

    kind: ClassVar[str] = ""
    place: ClassVar[str] = ""
    least_group: ClassVar[int] = 2
    span: ClassVar[int] = 1
    same_noise: ClassVar[bool] = False
    compare: ClassVar[str] = "videos"

    kl: float = 0.0
    """Weight of the divergence from the base model; 0 needs no second model."""

    @property
    def level(self) -> str:
        """ "sample": whole videos; "clip": one prefix per prompt, then candidates for one clip, through env.fork."""
        return "sample" if self.compare == "videos" else "clip"

    def __post_init__(self):
        for name in ("step_share", "early"):
            if not 0 < getattr(self, name, 1) <= 1:
                raise InputError(f"{flag(name)} must be above 0 and at most 1, not {getattr(self, name)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """What a learner is made from.

    Raises:
        InputError: sections for different kinds of model, or a group that is too small.
    """

    rollout: TokenRollout | DiffusionRollout
    algorithm: Algorithm
    optimisation: Optimisation = dataclasses.field(default_factory=Optimisation)
    task: Task = dataclasses.field(default_factory=Task)

    def __post_init__(self):
        if self.algorithm.kind != self.rollout.kind:
            raise InputError(f"settings of {self.algorithm.place} do not go with {self.rollout.place}")
        if self.rollout.group < self.algorithm.least_group:
            raise InputError(f"--group is {self.rollout.group}: advantages compare rollouts of a prompt, give at least 2")
        if getattr(self.algorithm, "best_of", 0) > self.rollout.group:
            raise InputError(
                f"--best-of is {self.algorithm.best_of}, but from groups of {self.rollout.group} one can keep 2 to "
                f"{self.rollout.group}"
            )

    @property
    def due(self) -> str:
        """When rewards are due: candidates of one clip on that clip's frames, all else on all generated frames."""
        return "clip" if self.algorithm.level == "clip" and self.algorithm.span == 1 else "episode"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Run:
    """Where and how a run takes place."""

    place: ClassVar[str] = "the run"

    out: Path
    """Folder of the run; model.safetensors and model.json appear there."""
    iterations: int | None = None
    """Budget in iterations; a resumed run equals an uninterrupted one bit for bit (CPU, same threads)."""
    minutes: float | None = None
    """Budget in minutes; a resumed run goes on for the rest."""
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
        if self.iterations is None and self.minutes is None:
            raise InputError("give a budget: --iterations 100 or --minutes 30")
        if self.iterations is not None and self.minutes is not None:
            raise InputError("give one budget, --iterations or --minutes, not both")
        _ = self.budget
        _above_zero(self, "save_every")

    @property
    def budget(self) -> Budget:
        """Iterations or minutes."""
        return Budget(self.iterations, self.minutes)


def flag(name: str) -> str:
    """The command-line spelling of a field."""
    return "--" + name.replace("_", "-")


def _above_zero(section: Any, *names: str) -> None:
    for name in names:
        if not getattr(section, name) > 0:
            raise InputError(f"{flag(name)} must be above 0, not {getattr(section, name)}")


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
