"""Spatial memory: what the model shows when the camera comes back to a place where it has been.

A frame j is a revisit of frame i < j when the true camera is at the same place (within 8 map units, 2 degrees of yaw and of
pitch) and has been away in between (more than 48 units or 40 degrees). i is the first such frame.

    revisit error       = mean over revisits of d(x_j, y_j)      shown now against the truth
    revisit consistency = mean over revisits of d(x_j, x_i)      shown now against shown before
    first-visit error   = mean over all other frames of d(x_j, y_j)

d is a distance of two pictures, y the truth. A video that stands still is perfectly consistent, so entries are ranked by the
error alone. A video of the first frame is right whenever the camera is back at its start, so a suite must also come back to
other places.
"""

from __future__ import annotations

import numpy as np

NEAR = (8.0, 2.0)  # map units, degrees
AWAY = (48.0, 40.0)


def revisits(poses: np.ndarray) -> np.ndarray:
    """Pairs of frames with one view, from true poses.

    Args:
        poses: (T, 6) x, y, z, yaw, pitch, roll; map units and degrees.

    Returns:
        (R, 2) int64: i, j with i < j; each j at most once.
    """
    distance = np.linalg.norm(poses[:, None, :2] - poses[None, :, :2], axis=-1)
    yaw, pitch = (np.abs((poses[:, None, k] - poses[None, :, k] + 180) % 360 - 180) for k in (3, 4))
    same = (distance < NEAR[0]) & (yaw < NEAR[1]) & (pitch < NEAR[1])
    away = (distance > AWAY[0]) | (yaw > AWAY[1])
    pairs = []
    for j in range(len(poses)):
        for i in np.flatnonzero(same[j, :j]):
            if away[i, i:j].any():
                pairs.append((i, j))
                break
    return np.array(pairs, np.int64).reshape(-1, 2)


def revisit_error(distances: np.ndarray, pairs: np.ndarray) -> float:
    """Distances to the truth (T,) and pairs (R, 2) -> the mean over revisiting frames; NaN where there are none."""
    return float(distances[pairs[:, 1]].mean()) if len(pairs) else np.nan


def first_visit_error(distances: np.ndarray, pairs: np.ndarray, given: int = 1) -> float:
    """The same over generated frames that are no revisits."""
    rest = np.setdiff1d(np.arange(given, len(distances)), pairs[:, 1])
    return float(distances[rest].mean()) if len(rest) else np.nan
