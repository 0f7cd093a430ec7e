"""Rotary positions in three parts (time, height, width), pairs interleaved.

- `turns`: cosines and sines of a video's tokens. `rotate`: apply them to queries or keys.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def turns(positions: Tensor, grid: tuple[int, int], parts: Sequence[int], theta: float) -> Tensor:
    """Cosines and sines of every token.

    Args:
        positions: (B, F) time positions of the latents; B may be 1.
        grid: (h, w) tokens of a latent.
        parts: channels of a head for time, height and width; even numbers.
        theta: base of the frequencies, theta^(-2i / part).

    Returns:
        (2, B, 1, F h w, d/2) float32, d the sum of the parts.
    """
    rows, frames = positions.shape
    device = positions.device
    height, width = (torch.arange(size, dtype=torch.float64, device=device) for size in grid)
    axes = (positions.double()[:, :, None, None], height[:, None], width[None, :])
    angles = []
    for axis, part in zip(axes, parts, strict=True):
        rate = theta ** (-torch.arange(0, part, 2, dtype=torch.float64, device=device) / part)
        angles.append((axis[..., None] * rate).expand(rows, frames, *grid, -1))
    every = torch.cat(angles, -1).flatten(1, 3)[:, None]
    return torch.stack([every.cos(), every.sin()]).float()


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Rotate pairs (2i, 2i + 1) of x (B, heads, N, d) by `turns`; computed in float32, returned in x's dtype."""
    first, second = x.float().unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = turn
    return torch.stack([first * cos - second * sin, first * sin + second * cos], -1).flatten(-2).to(x.dtype)
