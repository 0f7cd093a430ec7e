"""Windows of encoded frames: what both families of world model train on.

- `Windows`: encoded clips; `batch(step, share)` and `held_out()`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from worldgym import rng
from worldgym.files import sha256
from worldgym.models import zoo
from worldgym.pretrain import schedule
from worldgym.pretrain.clips import Clips
from worldgym.pretrain.config import WorldModelRunConfig
from worldgym.pretrain.encoded import encoded

Batch = tuple[torch.Tensor, torch.Tensor]


class Windows:
    """A store encoded by the codec named in the config.

    Attributes:
        codec: frozen, on the device.
        codes: (N, T, …) codes or latents of all clips.
        origin: JSON that identifies data and codec.
    """

    def __init__(self, config: WorldModelRunConfig, device: torch.device, kind: str):
        self.config, self.device = config, device
        self.clips = Clips.open(config.data)
        self.codec: nn.Module = zoo.load_codec(config.codec, kind, device)
        digest = sha256(zoo.locate(config.codec))
        folder = config.cache or config.out.resolve().parent / "encoded"
        self.codes = encoded(self.clips.store, self.codec, digest, folder, device)
        self.origin = {**self.clips.origin, "codec": config.codec, "codec_sha256": digest}

    def batch(self, step: int, share: float) -> Batch:
        """A step's windows of consecutive frames, anywhere in training clips: codes (B, t, …), actions (B, t-1, A)."""
        config = self.config
        length = schedule.window(share, config.window, min(config.final_window, self.clips.length), config.final_share)
        count = max(1, config.batch_frames // length)
        clips = self.clips.rows(config.seed, step, count)
        starts = rng.generator(config.seed, "starts", step).integers(self.clips.length - length + 1, size=count)
        return self._cut(clips, starts, length)

    def held_out(self) -> list[Batch]:
        """Whole validation clips, in pieces of constant cost."""
        config, length = self.config, self.clips.length
        clips = self.clips.held_out(config.validate_frames // length)
        pieces = np.array_split(clips, max(1, len(clips) * length // max(config.batch_frames, length)))
        return [self._cut(piece, np.zeros(len(piece), np.int64), length) for piece in pieces]

    def _cut(self, clips: np.ndarray, starts: np.ndarray, length: int) -> Batch:
        moments = starts[:, None] + np.arange(length)
        codes = torch.from_numpy(self.codes[clips[:, None], moments]).to(self.device)
        actions = self.clips.store.actions[clips[:, None], moments[:, :-1]].astype(np.int64)
        return (codes.float() if codes.is_floating_point() else codes.long()), torch.from_numpy(actions).to(self.device)
