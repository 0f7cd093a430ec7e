"""Training a camera motion model on true poses.

- `CameraTask`: windows of clips of (half of) the training seeds; validated by label accuracy and mean absolute errors.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from worldgym.judges import camera_labels, camera_motion
from worldgym.pretrain.clips import Clips
from worldgym.pretrain.config import CameraRunConfig
from worldgym.pretrain.networks import configure


class CameraTask:
    """Windows of clips to camera motion; see `worldgym.pretrain.task.Task`."""

    kind = "camera-motion"

    def __init__(self, config: CameraRunConfig, device: torch.device):
        self.config, self.device = config, device
        self.clips = Clips.open(config.data, config.split_half)
        self.length = min(config.window, self.clips.length)
        self.origin = {**self.clips.origin, "split_half": config.split_half}

    def build(self) -> nn.Module:
        """A `CameraMotion` for the store's frames and clip length."""
        known = {"frames": self.length, **self.clips.picture}
        return camera_motion.CameraMotion(configure(camera_motion.PRESETS, self.config.preset, self.config.override, **known))

    def loss(self, module: nn.Module, step: int, share: float) -> tuple[torch.Tensor, dict]:
        """The judge's own loss on windows, each from another clip and beginning anywhere in it."""
        count = max(1, self.config.batch_frames // self.length)
        clips, moments = self.clips.windows(self.config.seed, step, count, self.length)
        return module.loss(self.clips.frames(clips, moments, self.device), self._motion(clips, moments).to(self.device))

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Scores of the judge's motion on held-out clips."""
        clips, moments = self.clips.held_out(self.config.validate_frames // self.length, self.length)
        pieces = zip(*(np.array_split(x, max(1, len(clips) // 16)) for x in (clips, moments)), strict=True)
        guess = torch.cat([module.motion(self.clips.frames(*piece, self.device)).cpu() for piece in pieces])
        return scores(self._motion(clips, moments), guess.double())

    def _motion(self, clips: np.ndarray, moments: np.ndarray) -> torch.Tensor:
        """(B, t-1, 5) float64, the true motion between those moments."""
        return camera_labels.pose_motion(self.clips.store.poses[clips[:, None], moments])


def scores(truth: torch.Tensor, guess: torch.Tensor, rules: camera_labels.Rules | None = None) -> dict[str, float]:
    """Label accuracy (exact, and fine) at the middle threshold for both, and mean absolute errors.

    Args:
        truth, guess: (B, T-1, 5) motion.
        rules: thresholds.
    """
    rules = rules or camera_labels.Rules()
    middle = rules.translation[len(rules.translation) // 2]
    one, two = (camera_labels.label(motion, middle, rules.rotation) for motion in (truth, guess))
    halves = [(a == b).double().mean().item() for a, b in zip(camera_labels.split(one), camera_labels.split(two), strict=True)]
    off = (truth - guess).abs().mean((0, 1)).tolist()
    exact = {"exact": (one == two).double().mean().item(), "fine": sum(halves) / 2}
    parts = {"translation": halves[0], "rotation": halves[1]}
    return exact | parts | {f"{name}_off": value for name, value in zip(camera_labels.COLUMNS, off, strict=True)}
