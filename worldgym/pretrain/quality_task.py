"""Training a quality net: which of two frames looks better.

- `QualityTask`: ladders of damaged, reconstructed and generated frames of (half of) the training seeds; validated by the
  share of pairs that it ranks right.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from worldgym import zoo
from worldgym.files import sha256
from worldgym.judges import quality
from worldgym.pretrain.clips import Clips
from worldgym.pretrain.config import QualityRunConfig
from worldgym.pretrain.generated import generated
from worldgym.pretrain.ladders import FIXED, RUNGS, Ladders, accuracy, pairs
from worldgym.pretrain.networks import configure
from worldgym.pretrain.task import evenly

FRAMES = 16  # of a generated clip


class QualityTask:
    """Ladders of frames to their order; see `worldgym.pretrain.task.Task`."""

    kind = "quality"

    def __init__(self, config: QualityRunConfig, device: torch.device):
        self.config, self.device = config, device
        self.clips = Clips.open(config.data, config.split_half)
        self.codecs = [zoo.load(name, device) for name in config.codecs]
        digests = {name: sha256(zoo.locate(name)) for name in (*config.codecs, *config.models)}
        self.train = self._ladders(self.clips.train, config.generated, digests)
        self.held_out = self._ladders(self.clips.validation, max(2, config.generated // 4), digests)
        self.origin = {**self.clips.origin, "split_half": config.split_half, "seen": digests}

    def build(self) -> nn.Module:
        """A `Quality` for the store's frames."""
        return quality.Quality(configure(quality.PRESETS, self.config.preset, self.config.override, **self.clips.picture))

    def loss(self, module: nn.Module, step: int, share: float) -> tuple[torch.Tensor, dict]:
        """Bradley-Terry on a step's ladders."""
        indices = self.clips.rows(self.config.seed, step, max(2, self.config.batch_frames // RUNGS))
        frames, kinds = self.train.draw(indices, self.config.seed, step)
        return quality.ranking_loss(module(frames.flatten(0, 1)), pairs(kinds).to(frames.device))

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Shares of pairs ranked right, on validation clips at fixed severities."""
        ladders = self.held_out
        count = max(2, self.config.validate_frames // (RUNGS * len(ladders.kinds)))
        indices = self.clips.validation[evenly(len(self.clips.validation), count)]
        moments = np.arange(len(indices)) % self.clips.length
        levels, found = np.tile(FIXED, (len(indices), 1)), {}
        for kind in ladders.kinds:
            frames = ladders.of(kind, indices, moments, levels, torch.Generator().manual_seed(0))
            found[kind] = torch.cat([module(piece) for piece in frames.split(16)])
        return accuracy(found)

    def _ladders(self, clips: np.ndarray, count: int, digests: dict[str, str]) -> Ladders:
        config = self.config
        chosen = clips[evenly(len(clips), count)]
        folder = config.cache or config.out.resolve().parent / "encoded"
        length = min(FRAMES, self.clips.length)
        made = [
            (chosen, generated(name, digests[name], self.clips.store, chosen, length, config.seed, folder, self.device))
            for name in config.models
        ]
        return Ladders(self.clips, self.codecs, made, self.device)
