"""Dynamic degree (VBench, arXiv 2311.17982): the share of videos in which something moves.

VBench's rule: frames are thinned to about 8 per second (every max(1, round(fps / 8))-th); a pair of frames moves when the
mean of its longest 5 % of flow vectors exceeds 6 min(H, W) / 256 pixels; a video is dynamic when at least round(4 n / 16) of
its pairs move, n the number of frames.

VBench's flow is RAFT's. Here it is **block matching** (`worldgym.judges.motion`: one vector per 8x8 pixels, whole pixels, at
most 6 up or down and 16 to a side), so values are close to VBench's in meaning, not comparable in number.
"""

from __future__ import annotations

import numpy as np
import torch

from worldgym.judges import motion

ESTIMATOR = "block matching, 8x8 pixels"


def dynamic(frames: np.ndarray, fps: float) -> np.ndarray:
    """Whether each clip is dynamic.

    Args:
        frames: (N, T, H, W, 3) uint8, T >= 2 after thinning.
        fps: frames per second.

    Returns:
        (N,) float64, 1 or 0; the mean is the dynamic degree.
    """
    frames = frames[:, :: max(1, round(fps / 8))]
    moves = np.concatenate([_moves(clip[None]) for clip in frames])
    return (moves.sum(1) >= round(4 * frames.shape[1] / 16)).astype(float)


def _moves(frames: np.ndarray) -> np.ndarray:
    """(1, T, H, W, 3) -> (1, T-1) bool."""
    displacements, _, _ = motion.flow(torch.from_numpy(np.ascontiguousarray(frames)))
    return (motion.strongest(displacements) > 6 * min(frames.shape[2:4]) / 256).numpy()
