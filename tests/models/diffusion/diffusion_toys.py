"""A tiny frame-diffusion model and inputs for it."""

import dataclasses

import torch

from worldgym.actions import DOOM
from worldgym.models.diffusion.frame_diffusion import DiffusionConfig, FrameDiffusion

TINY = DiffusionConfig(channels=3, grid=(2, 4), hidden=24, mlp=40, heads=2, layers=2, max_frames=12)


def make(clip: int = 1, patch: tuple[int, int] = (1, 1), awake: bool = True) -> FrameDiffusion:
    """A tiny model; `awake`: all weights moved off their zeros, or every test would compare zeros."""
    torch.manual_seed(0)
    model = FrameDiffusion(dataclasses.replace(TINY, clip=clip, patch=patch)).eval()
    if awake:
        for parameter in model.parameters():
            parameter.data += 0.15 * torch.randn_like(parameter)
    return model


def inputs(batch: int, frames: int, seed: int = 1) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    latents = torch.randn(batch, frames, TINY.channels, *TINY.grid, generator=generator)
    columns = [torch.randint(size, (batch, frames - 1), generator=generator) for size in DOOM.sizes]
    return latents, torch.stack(columns, dim=-1)


def close(left: torch.Tensor, right: torch.Tensor) -> None:
    torch.testing.assert_close(left, right, atol=1e-5, rtol=0)
