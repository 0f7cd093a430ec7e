"""The settings of a training run: one frozen dataclass per learner, the command line is made from them.

- `RunConfig`: what all learners share. `CodecRunConfig`, `TokenRunConfig`, `DiffusionRunConfig`, `JudgeRunConfig`,
  `QualityRunConfig`, `CameraRunConfig`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, ClassVar, Literal

from worldgym.errors import InputError
from worldgym.runs.schedule import Budget

# What may differ between a run and its continuation: where it lives, how long it goes on, what is written when.
FREE = (
    *("data", "held", "out", "cache", "codec", "steps", "minutes", "resume", "device", "threads"),
    *("save_every", "validate_every", "final_share", "held_share", "compile"),
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig:
    """Settings that all learners share."""

    learner: ClassVar[str] = ""
    data: Path
    """Folder of recorded clips (python -m worldgym.record)."""
    out: Path
    """Folder of the run; model.safetensors and model.json appear there."""
    preset: str = "nano"
    """Size of the network."""
    override: tuple[str, ...] = ()
    """Fields of the network's config that differ from the preset, as in --override hidden=128 layers=4."""
    steps: int | None = None
    """Budget in steps; a resumed run equals an uninterrupted one bit for bit (CPU, same threads)."""
    minutes: float | None = None
    """Budget in minutes of training, validation included; a resumed run goes on for the rest."""
    resume: bool = False
    """Go on where the run in --out was stopped or killed; starts one if there is none."""
    seed: int = 0
    """Of the first weights, the data order and all noise."""
    device: str = "auto"
    """cpu, cuda, cuda:1 …; auto takes a GPU if there is one (bf16 there)."""
    threads: int | None = None
    """CPU threads of torch; its own choice if not given."""
    batch_frames: int = 64
    """Frames per step, whatever the window."""
    optimizer: Literal["muon", "adamw"] = "adamw"
    """muon: block matrices by Muon, the rest by AdamW."""
    lr: float = 2e-3
    """Peak rate of AdamW."""
    muon_lr: float = 0.02
    """Peak rate of Muon."""
    weight_decay: float = 0.01
    """Decoupled, on matrices and convolutions."""
    warmup: float = 0.03
    """Share of the budget in which the rate rises."""
    final_lr: float = 0.02
    """Rate at the end, as a share of the peak."""
    decay: float = 1.0
    """Share of the budget at its end in which the rate falls; before it, it is constant. 1: it falls from the warm-up on."""
    precision: Literal["auto", "float32", "bf16"] = "auto"
    """What products are computed in; weights and optimizer state are float32. auto: bf16 where the processor has it."""
    compile: Literal["auto", "on", "off"] = "auto"
    """Compile the network's blocks (10 to 60 seconds once); auto does on a GPU."""
    clip: float = 1.0
    """Largest norm of the gradient."""
    average: float = 0.998
    """Decay of the averaged weights, which are the model."""
    save_every: float = 60.0
    """Seconds between checkpoints."""
    validate_every: float = 300.0
    """Seconds between validations; there is always one at the end."""
    validate_frames: int = 1024
    """Frames of the validation split that are looked at."""

    def __post_init__(self):
        _ = self.budget
        for name in ("batch_frames", "lr", "muon_lr", "clip", "save_every", "validate_every", "validate_frames"):
            if not getattr(self, name) > 0:
                raise InputError(f"--{name.replace('_', '-')} must be above 0, not {getattr(self, name)}")
        if not 0 < self.decay <= 1:
            raise InputError(f"--decay must be in (0, 1], not {self.decay}")
        for name in ("warmup", "final_lr", "average"):
            if not 0 <= getattr(self, name) < 1:
                raise InputError(f"--{name.replace('_', '-')} must be in [0, 1), not {getattr(self, name)}")

    @property
    def budget(self) -> Budget:
        """Steps or minutes."""
        return Budget(self.steps, self.minutes)

    def fixed(self) -> dict[str, Any]:
        """JSON of what must not change when the run is resumed; the budget's kind is part of it."""
        values = {k: v for k, v in dataclasses.asdict(self).items() if k not in FREE}
        values = {k: list(v) if isinstance(v, tuple) else v for k, v in values.items()}  # as JSON brings them back
        return {**values, "learner": self.learner, "budget": "steps" if self.steps is not None else "minutes"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class CodecRunConfig(RunConfig):
    """Train a codec: frames to codes (frame) or to latents (latent) and back."""

    learner: ClassVar[str] = "codec"
    kind: Literal["frame", "latent"] = "frame"
    """frame: discrete codes, for token models; latent: continuous, for diffusion."""
    init: str | None = None
    """Model to start from, by zoo name or path; its config replaces the preset."""
    decoder_only: bool = False
    """Train the decoder on and leave codes or latents as they are, so that models trained on them stay valid."""
    perceptual: float = 0.0
    """Weight of a distance on the features of the reward quality net; 1 keeps textures that squared error blurs."""
    adversary: float = 0.0
    """Weight of a patch adversary with feature matching; 0.1 is a good one."""
    adversary_from: float = 0.0
    """Share of the budget from which on it takes part: with nothing to tell apart but blur it teaches nothing."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WorldModelRunConfig(RunConfig):
    """What both families of world model share."""

    codec: str
    """Codec by zoo name or path."""
    init: str | None = None
    """World model to start from, by zoo name or path, trained behind the same codec; its config replaces the preset."""
    held: Path | None = None
    """Folder of more clips, with held actions (python -m worldgym.record --player mixed): a part of every batch."""
    held_share: float = 0.25
    """Share of a batch's windows that come from --held."""
    cache: Path | None = None
    """Folder of the encoded data set; by default "encoded" beside the run, shared by runs with the same codec."""
    optimizer: Literal["muon", "adamw"] = "muon"
    batch_frames: int = 64
    lengths: tuple[str, ...] = ()
    """Lengths of windows, drawn anew at every step, as frames:share (16:0.75 64:0.25); replaces the three fields below."""
    window: int = 4
    """Frames per training window, sampled anywhere in a clip."""
    final_window: int = 16
    """Frames per window at the end."""
    final_share: float = 0.15
    """Share of the budget with the final window."""

    def __post_init__(self):
        super().__post_init__()
        if not 2 <= self.window <= self.final_window:
            raise InputError(f"--window must be from 2 to --final-window ({self.final_window}), not {self.window}")
        for name in ("final_share", "held_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"--{name.replace('_', '-')} must be in [0, 1], not {getattr(self, name)}")
        for length, _ in self.mixed:
            if not 2 <= length <= self.batch_frames:
                raise InputError(f"--lengths has windows of {length} frames; 2 to --batch-frames ({self.batch_frames}) fit")
        if self.init and self.override:
            raise InputError(f"--override {self.override[0]} changes nothing beside --init, whose network is taken as it is")
        if self.batch_frames < self.final_window:
            raise InputError(f"--batch-frames ({self.batch_frames}) must hold one window ({self.final_window})")

    @property
    def mixed(self) -> tuple[tuple[int, float], ...]:
        """`lengths` as numbers: frames, and their share of the steps."""
        try:
            return tuple((int(frames), float(share)) for frames, share in (text.split(":") for text in self.lengths))
        except ValueError:
            raise InputError(f"--lengths takes frames:share, as in 16:0.75 64:0.25, not {' '.join(self.lengths)}") from None


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenRunConfig(WorldModelRunConfig):
    """Train a token model on a frame codec's codes."""

    learner: ClassVar[str] = "token"
    schedule: Literal["raster", "diagonal"] = "raster"
    """Order in which codes will be drawn; diagonal trains for parallel decoding (24 passes for a frame instead of 84)."""
    corrupt: float = 0.0
    """Largest share of a frame's codes that is replaced in half of the frames the model reads, so that its own mistakes are
    familiar."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiffusionRunConfig(WorldModelRunConfig):
    """Train a frame diffusion model on a latent codec's latents."""

    learner: ClassVar[str] = "diffusion"
    rollouts: float = 0.0
    """Share of the steps whose context is the model's own video instead of the true one (the targets stay true)."""
    rollouts_from: float = 0.5
    """Share of the budget from which on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class JudgeRunConfig(RunConfig):
    """Train an inverse dynamics model: clips to the actions behind them."""

    learner: ClassVar[str] = "judge"
    batch_frames: int = 256
    window: int = 16
    """Frames per training window, sampled anywhere in a clip."""
    split_half: Literal["0", "1", "none"] = "none"
    """Which half of the training seeds to use; a reward and the judge that evaluates it take different ones."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class QualityRunConfig(RunConfig):
    """Train a quality net: frames to how good they look."""

    learner: ClassVar[str] = "quality"
    batch_frames: int = 96
    codecs: tuple[str, ...] = ("doom-rooms/frame-codec", "doom-rooms/latent-codec")
    """Codecs whose reconstructions are ranked, by zoo name or path."""
    models: tuple[str, ...] = ("doom-rooms/token-nano", "doom-rooms/diffusion-nano")
    """World models whose clips are ranked below real ones, by zoo name or path; the i-th beside the i-th codec."""
    generated: int = 96
    """Clips to generate per world model."""
    cache: Path | None = None
    """Folder of generated clips; by default "encoded" beside the run."""
    split_half: Literal["0", "1", "none"] = "none"
    """Which half of the training seeds to use; a reward and the judge that evaluates it take different ones."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class CameraRunConfig(JudgeRunConfig):
    """Train a camera motion model: clips to the motion of the camera, from true poses."""

    learner: ClassVar[str] = "camera"
    held: Path | None = None
    """Folder of more clips, with held actions (python -m worldgym.record --player mixed): half of every batch."""
