"""Quality of single frames, without anything to compare them to.

    image quality = 1/T sum_i q(x_i)                                            (VBench's imaging quality, with its MUSIQ)
    VQ            = mean of q(x_i) over i = 3, 7, 11, …                         (WorldCompass, as released, with HPSv3)

q is a judge of frames (`worldgym.judges.protocols.FrameQuality`); with the bundled one, a net that learned to rank frames of
the game above damaged and generated ones, both lie in [0, 1] and are comparable only with themselves.
"""

from __future__ import annotations

import numpy as np
import torch

from worldgym.judges.protocols import FrameQuality

EVERY = 4  # frames: one per latent of the model that WorldCompass trains


@torch.no_grad()
def qualities(frames: np.ndarray, judge: FrameQuality, device: str = "cpu") -> np.ndarray:
    """(N, T, H, W, 3) uint8 -> (N, T) float64; clip by clip, so that a batch equals its singles."""
    clips = (torch.from_numpy(np.ascontiguousarray(clip))[None].to(device) for clip in frames)
    return np.stack([judge(clip)[0].double().cpu().numpy() for clip in clips])


def image_quality(quality: np.ndarray) -> np.ndarray:
    """(N, T) qualities of generated frames -> (N,) their mean."""
    return quality.mean(1)


def visual_quality(quality: np.ndarray) -> np.ndarray:
    """(N, T) qualities of generated frames -> (N,) the mean over every fourth, from index 3 on; NaN for fewer than 4."""
    chosen = quality[:, EVERY - 1 :: EVERY]
    return chosen.mean(1) if chosen.shape[1] else np.full(len(quality), np.nan)
