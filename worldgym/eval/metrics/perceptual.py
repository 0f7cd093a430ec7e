"""Perceptual distance to the true video (LPIPS, arXiv 1801.03924, or a bundled net's features; the result says which).

    D = 1/T sum_i d(x_i, y_i)

with d from `worldgym.judges.perceptual`. MineWorld reports it with LPIPS-Alex; values of different d must not be compared.
"""

from __future__ import annotations

import numpy as np
import torch

from worldgym.judges.perceptual import Distance


@torch.no_grad()
def distances(frames: np.ndarray, truth: np.ndarray, distance: Distance, device: str = "cpu") -> np.ndarray:
    """(N, T, H, W, 3) uint8 twice -> (N, T) float64, 0 for equal frames; clip by clip, so that a batch equals its singles."""
    pairs = (
        (torch.from_numpy(np.ascontiguousarray(x))[None].to(device) for x in pair) for pair in zip(frames, truth, strict=True)
    )
    return np.stack([distance(*pair)[0].double().cpu().numpy() for pair in pairs])


def perceptual(frames: np.ndarray, truth: np.ndarray, distance: Distance, device: str = "cpu") -> np.ndarray:
    """(N,) mean distance of each clip; `distances` averaged over frames."""
    return distances(frames, truth, distance, device).mean(1)
