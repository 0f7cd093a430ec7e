"""Optical flow by block matching, and how much of a frame it explains; no parameters.

- `flow(frames)`: displacement of every block of 8x8 pixels from a frame to the next, and what is left unexplained.
- `strongest(frames)`: length of the strongest displacements of every pair, as VBench reads it.
- `consistency(frames)`: how much of every frame is the frame before it, moved.
"""

from __future__ import annotations

import functools
import itertools

import torch
import torch.nn.functional as F
from torch import Tensor

BLOCK = 8  # pixels
REACH = (6, 16)  # pixels searched up and down, left and right
NEAR = (3, 4)  # within these every displacement is tried, beyond them the even ones
STRONGEST = 0.05  # share of the blocks
STILL = 1e-3  # pull towards no displacement where nothing can be seen: squared grey level in [0, 1] per 8 pixels


@torch.no_grad()
def flow(frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Whole-pixel displacements that bring the frame before onto each block of a frame.

    For every block b: argmin over d of mean_(p in b) |x_i(p) - x_(i-1)(p - d)|^2 + 0.001 |d| / 8, on grey levels in
    [0, 1]; at most 6 pixels up or down and 16 to a side, in steps of 1 up to (3, 4) and of 2 beyond; what comes from
    outside the frame is its edge.

    Args:
        frames: (B, T, H, W, 3) uint8, T >= 2, H and W multiples of 8.

    Returns:
        Displacements (B, T-1, 2, h, w) in pixels, down and right; unexplained (B, T-1, h, w), the mean squared difference
        after it; variance (B, T-1, h, w) of the block's own grey levels around the frame's mean.
    """
    grey = frames.float().mean(-1) / 255
    before, now = grey[:, :-1].flatten(0, 1), grey[:, 1:].flatten(0, 1)
    (rows, columns), (height, width) = REACH, now.shape[1:]
    padded = F.pad(before[:, None], (columns, columns, rows, rows), mode="replicate")[:, 0]
    best = cost = left = None
    for down, right in _shifts():
        moved = padded[:, rows - down : rows - down + height, columns - right : columns - right + width]
        error = F.avg_pool2d((now - moved).square(), BLOCK)
        total = error + STILL / BLOCK * (down**2 + right**2) ** 0.5
        if best is None:
            best, cost, left = torch.zeros(len(now), 2, *error.shape[1:], device=now.device), total, error
            continue
        better = total < cost
        cost, left = torch.where(better, total, cost), torch.where(better, error, left)
        here = torch.tensor([down, right], dtype=best.dtype, device=best.device)[:, None, None]
        best = torch.where(better[:, None], here, best)
    spread = F.avg_pool2d((now - now.mean((1, 2), keepdim=True)).square(), BLOCK)
    return tuple(x.unflatten(0, (len(frames), -1)) for x in (best, left, spread))


@functools.lru_cache
def _shifts() -> list[tuple[int, int]]:
    """Displacements to try, short ones first, so that a tie is no motion."""
    (rows, columns), (fine_rows, fine_columns) = REACH, NEAR
    near = itertools.product(range(-fine_rows, fine_rows + 1), range(-fine_columns, fine_columns + 1))
    far = itertools.product(range(-rows, rows + 1, 2), range(-columns, columns + 1, 2))
    return sorted({*near, *far}, key=lambda shift: (shift[0] ** 2 + shift[1] ** 2, shift))


def strongest(displacements: Tensor) -> Tensor:
    """(B, T-1, 2, h, w) -> (B, T-1) mean length of the longest 5 % of displacements of each pair, pixels."""
    lengths = displacements.norm(dim=2).flatten(2)
    return lengths.topk(max(1, int(STRONGEST * lengths.shape[-1])), dim=-1).values.mean(-1)


def consistency(unexplained: Tensor, variance: Tensor) -> Tensor:
    """(B, T-1, h, w) twice -> (B, T-1) in [0, 1]: 1 - unexplained / variance over the frame, at least 0.

    What is new in a frame (a wall that comes into view) can't be explained, so real motion stays below 1.
    """
    return (1 - unexplained.mean((2, 3)) / (variance.mean((2, 3)) + 1e-4)).clamp(0, 1)
