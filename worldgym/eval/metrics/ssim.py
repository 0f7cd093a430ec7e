"""Structural similarity (Wang et al. 2004), as in MineWorld's evaluation.

With m, s2, s12 the Gaussian-weighted mean, variance and covariance in an 11x11 window (sigma 1.5), pixels in [0, 1]:

    SSIM = (2 m_x m_y + C1) (2 s12 + C2) / ((m_x^2 + m_y^2 + C1) (s2_x + s2_y + C2)),   C1 = .01^2, C2 = .03^2

per channel, over windows that lie wholly inside the frame; mean over windows, channels and frames.
"""

from __future__ import annotations

import functools

import numpy as np

_REACH = 5
_WINDOW = np.exp(-(np.arange(-_REACH, _REACH + 1) ** 2) / (2 * 1.5**2))
_WINDOW /= _WINDOW.sum()
_C1, _C2 = 0.01**2, 0.03**2


def ssim(frames: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """Mean SSIM of each clip.

    Args:
        frames: (N, T, H, W, 3) uint8; H and W at least 11.
        truth: the same shape.

    Returns:
        (N,) float64 in [-1, 1].
    """
    return np.array([_clip(a / 255.0, b / 255.0) for a, b in zip(frames, truth, strict=True)])


def _clip(x: np.ndarray, y: np.ndarray) -> float:
    x, y = x.transpose(0, 3, 1, 2), y.transpose(0, 3, 1, 2)
    mean_x, mean_y = _blur(x), _blur(y)
    variance = _blur(x * x) - mean_x**2 + _blur(y * y) - mean_y**2
    covariance = _blur(x * y) - mean_x * mean_y
    top = (2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)
    return float((top / ((mean_x**2 + mean_y**2 + _C1) * (variance + _C2))).mean())


def _blur(images: np.ndarray) -> np.ndarray:
    """(…, H, W) -> (…, H-10, W-10): the window is a product, so columns and rows are two matrix products."""
    return _band(images.shape[-2]) @ images @ _band(images.shape[-1]).T


@functools.lru_cache
def _band(size: int) -> np.ndarray:
    """(size-10, size): each row is the window, shifted by one pixel against the row before."""
    return np.stack([np.convolve(np.eye(size)[i + _REACH], _WINDOW, "same") for i in range(size - 2 * _REACH)])
