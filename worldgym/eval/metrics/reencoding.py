"""A fixed, seeded re-encoding between a video and its judges: what survives it can be seen.

- `reencode(frames, seed)`: a clip shifted by part of a pixel, made smaller and larger again, with a little noise.

Patterns of a few grey levels that speak to a judge alone mostly do not survive; what moves does. It is no secret, so a
gradient can go through it: it makes an attack dearer, not impossible (docs/evaluation.md).
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

SHRINK = 0.67  # of height and width
SHIFT = 0.9  # pixels to each side, at most
NOISE = 3.0  # standard deviation in grey levels
CONTRAST = 0.05  # relative, at most


def reencode(frames: np.ndarray, seed: int) -> np.ndarray:
    """One clip again, the same shift and contrast in all of its frames, other noise in each.

    Args:
        frames: (T, H, W, 3) uint8.
        seed: of shift, contrast and noise.

    Returns:
        (T, H, W, 3) uint8.
    """
    rng = np.random.default_rng(seed)
    height, width = frames.shape[1:3]
    down, right = rng.uniform(-SHIFT, SHIFT, 2)
    contrast = 1 + rng.uniform(-CONTRAST, CONTRAST)
    noise = torch.from_numpy(rng.standard_normal(frames.shape, np.float32) * NOISE)
    video = torch.from_numpy(np.ascontiguousarray(frames)).float().movedim(-1, 1)
    small = F.interpolate(_moved(video, down, right), size=(round(height * SHRINK), round(width * SHRINK)), mode="area")
    again = F.interpolate(small, size=(height, width), mode="bilinear", align_corners=False).movedim(1, -1)
    return ((again - 127.5) * contrast + 127.5 + noise).round().clamp(0, 255).byte().numpy()


def _moved(video: torch.Tensor, down: float, right: float) -> torch.Tensor:
    """(T, C, H, W) moved by part of a pixel; what comes from outside is the edge."""
    height, width = video.shape[-2:]
    padded = F.pad(video, (1, 1, 1, 1), mode="replicate")
    top, left = 1 - down, 1 - right
    y, x = int(np.floor(top)), int(np.floor(left))
    a, b = top - y, left - x
    parts = [(y, x, (1 - a) * (1 - b)), (y, x + 1, (1 - a) * b), (y + 1, x, a * (1 - b)), (y + 1, x + 1, a * b)]
    return sum(weight * padded[:, :, i : i + height, j : j + width] for i, j, weight in parts if weight > 0)
