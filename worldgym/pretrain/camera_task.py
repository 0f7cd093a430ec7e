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
        self.held = Clips.open(config.held, config.split_half) if config.held else None
        self.length = min(config.window, *(clips.length for clips in (self.clips, self.held) if clips))
        self.origin = {**self.clips.origin, "split_half": config.split_half}
        if self.held:
            self.origin["held_sha256"] = self.held.store.sha256

    def build(self) -> nn.Module:
        """A `CameraMotion` for the store's frames and clip length."""
        known = {"frames": self.length, **self.clips.picture}
        return camera_motion.CameraMotion(configure(camera_motion.PRESETS, self.config.preset, self.config.override, **known))

    def loss(self, module: nn.Module, step: int, share: float) -> tuple[torch.Tensor, dict]:
        """The judge's own loss on windows, each from another clip and beginning anywhere in it."""
        count = max(1, self.config.batch_frames // self.length)
        stores = [(self.clips, count - count // 2), (self.held, count // 2)] if self.held else [(self.clips, count)]
        parts = []
        for clips, share in stores:
            if share:
                chosen = clips.windows(self.config.seed, step, share, self.length)
                parts.append((clips.frames(*chosen, self.device), _motion(clips, *chosen).to(self.device)))
        frames, motion = (torch.cat(part) for part in zip(*parts, strict=True))
        return module.loss(frames, motion)

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Scores of the judge's motion on held-out clips, and those of held actions under "held_…"."""
        found = self._scores(module, self.clips)
        if self.held:
            found |= {f"held_{name}": value for name, value in self._scores(module, self.held).items()}
        return found

    def _scores(self, module: nn.Module, clips: Clips) -> dict[str, float]:
        rows, moments = clips.held_out(self.config.validate_frames // self.length, self.length)
        pieces = zip(*(np.array_split(x, max(1, len(rows) // 16)) for x in (rows, moments)), strict=True)
        guess = torch.cat([module.motion(clips.frames(*piece, self.device)).cpu() for piece in pieces])
        return scores(_motion(clips, rows, moments), guess.double())


def _motion(clips: Clips, rows: np.ndarray, moments: np.ndarray) -> torch.Tensor:
    """(B, t-1, 5) float64, the true motion between those moments."""
    return camera_labels.pose_motion(clips.store.poses[rows[:, None], moments])


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
