"""Learned matching: which part of the frame before fits each part of a frame, by learned features.

- `Correlation`: features of every frame in cells of 4x4 pixels, and how well those of the frame before fit at every shift
  (local correlation, as in FlowNet, arXiv 1504.06852, and PWC-Net, arXiv 1709.02371).
- `normalised`: zero mean and unit variance per colour, so that a darker or tinted picture of a scene gives the same numbers.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

FINE = 4  # pixels of a cell that is matched
ROWS, COLUMNS = 3, 6  # largest shifts up and down, left and right, in such cells
WIDTH = 24  # features of a cell
CHANNELS = (2 * ROWS + 1) * (2 * COLUMNS + 1)
CELL = 8  # pixels


class Correlation(nn.Module):
    """Features of single frames, and a cost volume between neighbouring ones."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.PixelUnshuffle(2),
            *(nn.Conv2d(12, 24, 3, padding=1), nn.GroupNorm(4, 24), nn.SiLU()),
            *(nn.Conv2d(24, 2 * WIDTH, 3, 2, 1), nn.GroupNorm(4, 2 * WIDTH), nn.SiLU()),
            nn.Conv2d(2 * WIDTH, WIDTH, 3, padding=1),
        ).to(memory_format=torch.channels_last)
        self.sharpness = nn.Parameter(torch.tensor(2.0))  # log

    def forward(self, unit: torch.Tensor) -> torch.Tensor:
        """How well the earlier frame fits at each shift.

        Args:
            unit: (B, T, H, W, 3) float in [0, 1]; H and W multiples of 8.

        Returns:
            (B * (T-1), CHANNELS, H / 8, W / 8) float32; the shifts sum to 1 in every cell.
        """
        pictures = normalised(unit, (-3, -2)).flatten(0, 1).movedim(-1, 1)  # channels last in memory: no copy
        features = self.features(pictures).unflatten(0, unit.shape[:2])
        features = F.normalize(features, dim=2)
        fits = correlate(features[:, :-1].flatten(0, 1), features[:, 1:].flatten(0, 1), ROWS, COLUMNS)
        return torch.softmax(self.sharpness.exp() * F.avg_pool2d(fits, CELL // FINE), 1)


def normalised(unit: torch.Tensor, over: tuple[int, ...]) -> torch.Tensor:
    """Zero mean and unit variance per colour over some dimensions: same shape as `unit` (…, H, W, 3)."""
    spread, mean = torch.std_mean(unit, over, keepdim=True)
    return (unit - mean) / (spread + 1e-2)


def correlate(before: torch.Tensor, now: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Inner products of every cell of `now` with the cells of `before` around it; outside the picture 0.

    Args:
        before, now: (N, C, h, w) float.
        rows, columns: largest shift up and down, left and right, in cells.

    Returns:
        (N, (2 rows + 1)(2 columns + 1), h, w): channel (dy + rows)(2 columns + 1) + dx + columns is
        sum_c now[c, y, x] before[c, y + dy, x + dx].
    """
    count, channels, height, width = now.shape
    padded = F.pad(before.permute(2, 0, 1, 3), (columns, columns, 0, 0, 0, 0, rows, rows)).contiguous()
    lines = now.permute(2, 0, 3, 1).reshape(-1, width, channels)  # (h N, w, C): no copies below
    near = torch.arange(width, device=now.device)[:, None] + torch.arange(2 * columns + 1, device=now.device)
    near = near.expand(len(lines), -1, -1)
    products = []
    for dy in range(2 * rows + 1):  # whole lines against whole lines: one matrix product, of which a band is used
        others = padded[dy : dy + height].view(len(lines), channels, -1)
        products.append(torch.bmm(lines, others).gather(-1, near))
    return torch.cat(products, -1).view(height, count, width, -1).permute(1, 3, 0, 2)
