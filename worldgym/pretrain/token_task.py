"""Training a token model on windows of codes.

- `TokenTask`: cross-entropy on image codes; validated on whole held-out clips.
"""

from __future__ import annotations

import math

import torch
from torch import nn

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
        return module.loss(codes, actions), {"window": codes.shape[1]}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Cross-entropy in nats per code over whole held-out clips (teacher forcing)."""
        return self.windows.scores(module.loss)
