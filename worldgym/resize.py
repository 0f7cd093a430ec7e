"""Bilinear resizing of uint8 pictures as OpenCV's INTER_LINEAR does it.

Published judges were trained and are evaluated on frames resized by OpenCV, which interpolates without a low-pass filter,
in fixed point. `resize` repeats that arithmetic on any device: the same bytes when pictures shrink (640x360 or 384x224 to
128x128 or 384x224); when they grow, one grey level of difference in 0.3 % of the pixels.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor

BITS = 11  # weights are multiples of 2^-11


def resize(frames: Tensor, height: int, width: int) -> Tensor:
    """Resize without anti-aliasing, half-pixel centres.

    Args:
        frames: (…, H, W, 3) uint8.
        height, width: wanted, pixels.

    Returns:
        (…, height, width, 3) uint8.
    """
    if tuple(frames.shape[-3:-1]) == (height, width):
        return frames
    device = frames.device
    left, right, wl, wr = (t.to(device) for t in _axis(frames.shape[-2], width))
    above, below, wa, wb = (t.to(device) for t in _axis(frames.shape[-3], height))
    wide = frames.to(torch.int32)
    rows = wide[..., left, :] * wl[:, None] + wide[..., right, :] * wr[:, None]  # (…, H, width, 3)
    rows = rows >> 4  # so that the second product fits 32 bits
    mixed = (rows[..., above, :, :] * wa[:, None, None] >> 16) + (rows[..., below, :, :] * wb[:, None, None] >> 16)
    return ((mixed + 2) >> 2).clamp_(0, 255).to(torch.uint8)


@functools.lru_cache(maxsize=32)
def _axis(size: int, wanted: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For every wanted pixel: its two neighbours and their weights in 2^-11, all (wanted,) int."""
    where = (torch.arange(wanted, dtype=torch.float64) + 0.5) * (size / wanted) - 0.5
    first = where.floor()
    part = (where - first).to(torch.float32)
    part[first < 0], part[first >= size - 1] = 0.0, 0.0
    low = first.clamp(0, size - 1).long()
    high = (low + 1).clamp(max=size - 1)
    one = 1 << BITS
    second = torch.round(part * one).to(torch.int32)
    return low, high, torch.round((1 - part) * one).to(torch.int32), second
