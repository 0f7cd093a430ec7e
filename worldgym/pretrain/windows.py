"""Windows of encoded frames: what both families of world model train on.

- `Windows`: encoded clips; `batch(step, share)` and `held_out()`.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

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
        length = schedule.window(share, config.window, self.longest, config.final_share)
        return self._cut(*self.clips.windows(config.seed, step, max(1, config.batch_frames // length), length))

    def held_out(self) -> list[Batch]:
        """Validation clips at the final window, in pieces that cost as much as a step."""
        clips, moments = self.clips.held_out(self.config.validate_frames // self.longest, self.longest)
        pieces = max(1, moments.size // self.config.batch_frames)
        return [
            self._cut(*piece) for piece in zip(np.array_split(clips, pieces), np.array_split(moments, pieces), strict=True)
        ]

    @property
    def longest(self) -> int:
        """Frames of the final window."""
        return min(self.config.final_window, self.clips.length)

    def _cut(self, clips: np.ndarray, moments: np.ndarray) -> Batch:
        codes = torch.from_numpy(self.codes[clips[:, None], moments]).to(self.device)
        return codes.float() if codes.is_floating_point() else codes.long(), self.clips.actions(clips, moments, self.device)
