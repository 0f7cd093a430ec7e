"""Published 3-D models as camera judges: whatever estimates camera poses from frames can stand in for the bundled network.

- `PoseEstimator`: what such a model must offer. `FromPoses(estimator)`: the same as a judge.
- `CameraJudge`: what a camera judge offers. `worldgym.zoo.as_camera_judge` finds one by name, path, network or estimator.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.judges.camera_labels import matrix_motion


class PoseEstimator(Protocol):
    """A model that sees a whole video and says where the camera was, up to one unknown factor of length.

    Depth-Anything-3 and HunyuanWorld-Mirror are such models; their extrinsics are world-to-camera and must be inverted.
    """

    def poses(self, frames: Tensor) -> Tensor:
        """(B, T, H, W, 3) uint8 RGB -> (B, T, 4, 4) camera-to-world, OpenCV's convention (x right, y down, z forward)."""
        ...


class CameraJudge(Protocol):
    """What reads camera motion."""

    def motion(self, frames: Tensor) -> Tensor:
        """(B, T, H, W, 3) uint8 RGB -> (B, T-1, 5), see `worldgym.judges.camera_labels`."""
        ...


class FromPoses:
    """A pose estimator as a judge; use `Rules(scale="scene")` with it, as its lengths have no unit."""

    def __init__(self, estimator: PoseEstimator):
        self.estimator = estimator

    def motion(self, frames: Tensor) -> Tensor:
        """See `CameraJudge.motion`.

        Raises:
            InputError: the estimator gave something else than (B, T, 4, 4).
        """
        poses = torch.as_tensor(self.estimator.poses(frames))
        wanted = (*frames.shape[:2], 4, 4)
        if tuple(poses.shape) != wanted:
            raise InputError(f"{type(self.estimator).__name__}.poses gave shape {tuple(poses.shape)}; {wanted} is needed")
        return matrix_motion(poses)
