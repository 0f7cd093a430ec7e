"""Peak signal-to-noise ratio, as in MineWorld's evaluation.

PSNR = 20 log10(1 / sqrt(mse)) in dB on pixels in [0, 1], and 100 when mse < 1e-10; mean over frames.
"""

from __future__ import annotations

import numpy as np


def psnr(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean PSNR of each clip.

    Args:
        frames: (N, T, H, W, 3) uint8.
        truth: the same shape.

    Returns:
        (N,) float64, dB, at most 100.
    """
    return np.array([_clip(a, b) for a, b in zip(frames, truth, strict=True)])


def _clip(frames: np.ndarray, truth: np.ndarray) -> float:
    mse = ((frames / 255.0 - truth / 255.0) ** 2).mean((1, 2, 3))
    return float(np.where(mse < 1e-10, 100.0, -10 * np.log10(np.maximum(mse, 1e-10))).mean())
