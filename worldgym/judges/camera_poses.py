"""Published 3-D models as camera judges: whatever estimates camera poses from frames can stand in for the bundled network.

- `PoseEstimator`: what such a model must offer. `FromPoses(estimator)`: the same as a judge.
- `CameraJudge`: what a camera judge offers. `as_camera_judge(judge, device)`: by name, path, network or estimator.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.judges.camera_labels import matrix_motion
from worldgym.judges.camera_motion import CameraMotion
from worldgym.judges.loading import load_judge


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


def as_camera_judge(judge: str | Path | Any, device: str | torch.device) -> CameraJudge:
    """A zoo name, a path, a `CameraMotion`, or any object with a method `motion` or `poses`.

    Raises:
        InputError: none of these.
    """
    if isinstance(judge, (str, Path, CameraMotion)):
        return load_judge(judge, CameraMotion, device)
    if callable(getattr(judge, "motion", None)):
        return judge
    if callable(getattr(judge, "poses", None)):
        return FromPoses(judge)
    raise InputError(
        f"a camera judge is needed: a zoo name, or an object with motion(frames) or poses(frames), not {type(judge).__name__}"
    )
