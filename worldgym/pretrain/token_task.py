"""Training a token model on windows of codes.

- `TokenTask`: cross-entropy on image codes; validated on whole held-out clips. `corrupted`: codes with mistakes.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import nn

from worldgym import rng
from worldgym.models.token import wave_reader
from worldgym.models.token.code_schedule import schedule as code_schedule
from worldgym.models.token.token_model import PRESETS, TokenModel
from worldgym.pretrain.config import TokenRunConfig
from worldgym.pretrain.networks import configure
from worldgym.pretrain.windows import Windows


class TokenTask:
    """Codes and actions to the next code; see `worldgym.pretrain.task.Task`."""

    kind = "token"

    def __init__(self, config: TokenRunConfig, device: torch.device):
        self.config = config
        self.windows = Windows(config, device, "frame-codec")
        self.origin = self.windows.origin

    def build(self) -> nn.Module:
        """A `TokenModel` for the codec's codes and the store's action spec."""
        if self.config.init is not None:
            return self.windows.initial(self.config.init, self.kind)
        codec, store = self.windows.codec, self.windows.clips.store
        known = {"codes": codec.codes, "codes_per_frame": math.prod(codec.grid), "spec": store.spec.name}
        return TokenModel(configure(PRESETS, self.config.preset, self.config.override, **known))

    def loss(self, module: nn.Module, step: int, share: float) -> tuple[torch.Tensor, dict]:
        """Cross-entropy in nats per code; logs the window's length."""
        codes, actions = self.windows.batch(step, share)
        shown = codes
        if self.config.corrupt:
            noise = torch.Generator(codes.device).manual_seed(rng.torch_seed(self.config.seed, "corrupt", step))
            shown = corrupted(codes, self.config.corrupt, module.config.codes, noise)
        return self._loss(module, codes, shown, actions), {"window": codes.shape[1]}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Cross-entropy in nats per code over whole held-out clips (teacher forcing)."""
        return self.windows.scores(lambda: lambda codes, actions: self._loss(module, codes, codes, actions))

    def _loss(self, module: nn.Module, codes: torch.Tensor, shown: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy of (B, T, L) true codes where the model reads the codes `shown`."""
        if self.config.schedule == "raster":
            logits = module.predictions(shown, actions)
        else:
            waves = code_schedule(self.config.schedule, self.windows.codec.grid)
            logits = wave_reader.predictions(module, shown, actions, waves, prefix=1)
        return F.cross_entropy(logits.flatten(0, -2).float(), codes[:, 1:].flatten())


def corrupted(codes: torch.Tensor, most: float, count: int, noise: torch.Generator) -> torch.Tensor:
    """(B, T, L) codes as a model that errs would have left them: the first frame as it is.

    In half of the later frames a share of the codes, drawn evenly up to `most`, is replaced: by the code that stood there a
    frame before (the commonest mistake is that something has not moved), or by any of the `count` codes, half each.
    """
    batch, frames, cells = codes.shape

    def uniform(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=noise, device=codes.device)

    share = most * uniform(batch, frames, 1) * (uniform(batch, frames, 1) < 0.5)
    share[:, 0] = 0
    old = torch.cat([codes[:, :1], codes[:, :-1]], 1)
    other = torch.randint(count, codes.shape, generator=noise, device=codes.device)
    wrong = torch.where(uniform(batch, frames, cells) < 0.5, old, other)
    return torch.where(uniform(batch, frames, cells) < share, wrong, codes)
