"""Block matching: which part of the frame before fits each part of a frame; fixed arithmetic without parameters.

- `match(unit)`: for every cell of a coarse grid, how well the earlier frame fits at each shift (a cost volume, as in optical
  flow networks such as PWC-Net, arXiv 1709.02371, but on grey levels).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

# (times halved, shifts up and down, shifts left and right): fine steps near, coarse steps far.
LEVELS = ((1, 3, 4), (2, 3, 6))
SHARPNESS = 8.0
CHANNELS = sum((2 * rows + 1) * (2 * columns + 1) for _, rows, columns in LEVELS)
CELL = 8  # pixels


def match(unit: torch.Tensor) -> torch.Tensor:
    """Softmax over shifts of the (negative, normalised) squared difference between a frame and the shifted frame before.

    Frames are normalised to zero mean and unit variance, so that brightness and contrast do not matter.

    Args:
        unit: (B, T, H, W, 3) float in [0, 1]; H and W multiples of 8.

    Returns:
        (B * (T-1), CHANNELS, H / 8, W / 8) float32; each level's shifts sum to 1 in every cell.
    """
    grey = unit.mean(-1)
    grey = (grey - grey.mean((-1, -2), keepdim=True)) / (grey.std((-1, -2), keepdim=True) + 1e-3)
    volumes = []
    for halved, rows, columns in LEVELS:
        grey_small = F.avg_pool2d(grey, 2**halved)
        before, now = grey_small[:, :-1].flatten(0, 1), grey_small[:, 1:].flatten(0, 1)
        volumes.append(_volume(before, now, rows, columns, CELL >> halved))
    return torch.cat(volumes, 1)


def _volume(before: torch.Tensor, now: torch.Tensor, rows: int, columns: int, cell: int) -> torch.Tensor:
    """(N, h, w) twice -> (N, (2 rows + 1)(2 columns + 1), h / cell, w / cell)."""
    height, width = now.shape[1:]
    padded = F.pad(before[:, None], (columns, columns, rows, rows), mode="replicate")[:, 0]
    costs = []
    for dy in range(2 * rows + 1):
        for dx in range(2 * columns + 1):
            error = (now - padded[:, dy : dy + height, dx : dx + width]).square()
            costs.append(F.avg_pool2d(error, cell + 2, cell, padding=1, count_include_pad=False))  # cells overlap a little
    cost = torch.stack(costs, 1)
    return torch.softmax(-SHARPNESS * cost / (cost.mean(1, keepdim=True) + 1e-4), 1)
