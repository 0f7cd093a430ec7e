"""Training an inverse dynamics model: which actions are behind a clip.

- `JudgeTask`: windows of clips of (half of) the training seeds; validated by macro F1 and camera error.
"""

from __future__ import annotations

import numpy as np
import torch
from sklearn.metrics import f1_score
from torch import nn

from worldgym.actions import ActionSpec
from worldgym.judges import inverse_dynamics
from worldgym.pretrain.clips import Clips
from worldgym.pretrain.config import JudgeRunConfig
from worldgym.pretrain.networks import configure


class JudgeTask:
    """Windows of clips to actions; see `worldgym.pretrain.task.Task`."""

    kind = "inverse-dynamics"

    def __init__(self, config: JudgeRunConfig, device: torch.device):
        self.config, self.device = config, device
        self.clips = Clips.open(config.data, config.split_half)
        self.length = min(config.window, self.clips.length)
        self.origin = {**self.clips.origin, "split_half": config.split_half}

    def build(self) -> nn.Module:
        """An `InverseDynamics` for the store's action spec and clip length."""
        known = {"spec": self.clips.store.spec.name, "frames": self.length, **self.clips.picture}
        return inverse_dynamics.InverseDynamics(
            configure(inverse_dynamics.PRESETS, self.config.preset, self.config.override, **known)
        )

    def loss(self, module: nn.Module, step: int, share: float) -> tuple[torch.Tensor, dict]:
        """The judge's own loss on windows, each from another clip and beginning anywhere in it."""
        count = max(1, self.config.batch_frames // self.length)
        clips, moments = self.clips.windows(self.config.seed, step, count, self.length)
        return module.loss(*(read(clips, moments, self.device) for read in (self.clips.frames, self.clips.actions)))

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Scores of the judge's labels on held-out clips."""
        clips, moments = self.clips.held_out(self.config.validate_frames // self.length, self.length)
        truth = self.clips.actions(clips, moments, torch.device("cpu")).numpy()
        pieces = zip(*(np.array_split(x, max(1, len(clips) // 16)) for x in (clips, moments)), strict=True)
        labels = [module.labels(self.clips.frames(*piece, self.device)).cpu().numpy() for piece in pieces]
        return scores(self.clips.store.spec, truth, np.concatenate(labels))


def scores(spec: ActionSpec, truth: np.ndarray, guess: np.ndarray) -> dict[str, float]:
    """F1 (macro over labels, then mean over groups) and camera error, as in MineWorld's protocol.

    Groups that never act in `truth` are left out; labels come from all clips and frames together.

    Args:
        truth: (B, T-1, A) int, the actions behind the clips.
        guess: (B, T-1, A) int, the recovered ones.
    """
    truth, guess = truth.reshape(-1, truth.shape[-1]), guess.reshape(-1, guess.shape[-1])
    by_group = {}
    for index, group in enumerate(spec.groups):
        if truth[:, index].any():
            by_group[f"f1_{group.name}"] = f1_score(truth[:, index], guess[:, index], average="macro", zero_division=0)
    camera = np.abs(truth - guess)[:, spec.camera_columns].mean() if spec.camera else 0.0
    mean = float(np.mean(list(by_group.values()))) if by_group else 0.0
    return {"f1": mean, "camera_bins": float(camera), "exact": float((truth == guess).all(1).mean()), **by_group}
