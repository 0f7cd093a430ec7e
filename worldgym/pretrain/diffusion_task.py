"""Training a frame diffusion model on windows of latents.

- `DiffusionTask`: flow matching; validated on whole held-out clips with fixed noise.
"""

from __future__ import annotations

import torch
from torch import nn

from worldgym import rng
from worldgym.models.diffusion.frame_diffusion import PRESETS, FrameDiffusion
from worldgym.pretrain.config import DiffusionRunConfig
from worldgym.pretrain.networks import configure
from worldgym.pretrain.own_rollouts import OwnRollouts
from worldgym.pretrain.windows import Loss, Windows


class DiffusionTask:
    """Latents and actions to velocities; see `worldgym.pretrain.task.Task`."""

    kind = "diffusion"

    def __init__(self, config: DiffusionRunConfig, device: torch.device):
        self.config, self.device = config, device
        self.windows = Windows(config, device, "latent-codec")
        self.origin = self.windows.origin
        self.companion = OwnRollouts(config, self.windows, device) if config.rollouts else None

    def build(self) -> nn.Module:
        """A `FrameDiffusion` for the codec's latents and the store's action spec."""
        if self.config.init is not None:
            return self.windows.initial(self.config.init, self.kind)
        codec, store = self.windows.codec, self.windows.clips.store
        known = {"channels": codec.channels, "grid": tuple(codec.grid), "spec": store.spec.name}
        return FrameDiffusion(configure(PRESETS, self.config.preset, self.config.override, **known))

    def loss(self, module: nn.Module, step: int, share: float) -> tuple[torch.Tensor, dict]:
        """Mean squared error of the velocity; logs the window's length, and whether the context is the model's own video."""
        noise = self._noise("noise", step)
        own = self.companion.batch(module, step, share) if self.companion is not None else None
        if own is None:
            latents, actions = self.windows.batch(step, share)
            return module.loss(latents, actions, noise), {"window": latents.shape[1], "own": 0.0}
        return module.loss(own.latents, own.actions, noise, seen=own.seen), {"window": own.latents.shape[1], "own": 1.0}

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Mean squared error of the velocity over whole held-out clips; the same noise at every validation."""

        def fresh() -> Loss:
            noise = self._noise("validation")
            return lambda latents, actions: module.loss(latents, actions, noise)

        return self.windows.scores(fresh)

    def _noise(self, *names: object) -> torch.Generator:
        return torch.Generator(self.device).manual_seed(rng.torch_seed(self.config.seed, *names))
