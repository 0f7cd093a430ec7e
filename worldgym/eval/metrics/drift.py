"""Drift: how quality and brightness of a long video change over time.

    quality drift    = mean over the last k frames of |q(x_i) - q(x_0)|           (WorldCompass, as released, k = 16)
    brightness drift = mean over the last k frames of |mean(x_i) - mean(y_i)|     (ours), pixels in [0, 1], y the truth

Drift is small for a video that stands still: read it beside a metric of actions.
"""

from __future__ import annotations

import numpy as np

LAST = 16  # frames: the last 4 latents of WorldCompass' evaluation


def quality_drift(quality: np.ndarray, last: int = LAST) -> np.ndarray:
    """Qualities (N, T) of all frames, the first one given -> (N,), at least 0; all generated frames where T <= k."""
    _check(quality, last)
    return np.abs(quality[:, 1:][:, -last:] - quality[:, :1]).mean(1)


def brightness_drift(frames: np.ndarray, truth: np.ndarray, last: int = LAST) -> np.ndarray:
    """(N, T, H, W, 3) uint8 twice -> (N,) in [0, 1]."""
    _check(frames, last)
    one, two = (x[:, 1:][:, -last:].mean((2, 3, 4)) / 255 for x in (frames, truth))
    return np.abs(one - two).mean(1)


def _check(x: np.ndarray, last: int) -> None:
    if x.shape[1] < 2 or last < 1:
        raise ValueError(f"drift needs at least a first and a later frame, but got {x.shape[1]} frames and the last {last}")
