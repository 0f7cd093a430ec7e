"""A smooth version of `camera_labels.agreement`: how nearly a video's motion has the labels that were given.

A label is a step function of motion, so most of 16 candidates get the same score. Here every axis enters through a sigmoid.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.judges.camera_labels import Rules, scene_scale, split

# (9, 2): signs of an axis pair for the 9 codes of `camera_labels`: none, +-first, +-second, four corners
SIGNS = ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


def soft_agreement(motion: Any, target: Any, rules: Rules) -> Tensor:
    """Smooth agreement of every step: the mean of its two halves, each the product of its two axes.

    An axis with motion x, threshold t and commanded sign s agrees by p+ = sigmoid(2 (x - t) / t) for s = +1,
    p- = sigmoid(2 (-x - t) / t) for s = -1 and 1 - p+ - p- for s = 0 (.76 at rest). The axes
    are forward and right with t = tau / sqrt(2), a slanted step's share of the middle threshold tau; yaw and upward pitch with
    t = the rotation's threshold.

    Args:
        motion: (B, T-1, 5). target: (B, T-1) int labels.
        rules: thresholds above 0; of the translations the middle one.

    Returns:
        (B, T-1) float64 in (0, 1).

    Raises:
        InputError: shapes do not fit, or a threshold is 0.
    """
    motion = torch.as_tensor(motion).double()
    target = torch.as_tensor(target, device=motion.device)
    if motion.ndim != 3 or tuple(motion.shape[:2]) != tuple(target.shape):
        raise InputError(f"motion of shape {tuple(motion.shape)} does not fit labels of shape {tuple(target.shape)}")
    tau = rules.translation[len(rules.translation) // 2]
    if not min(tau, rules.rotation) > 0:
        raise InputError(
            f"soft agreement needs thresholds above 0, not {tau} for translation and {rules.rotation} for rotation"
        )
    scale = scene_scale(motion, rules.floor) if rules.scale == "scene" else torch.ones_like(motion[..., 0])
    length = (tau / 2**0.5 * scale).expand(motion.shape[:2])
    angle = torch.full_like(length, rules.rotation)
    axes = torch.stack([motion[..., 0], motion[..., 1], motion[..., 3], -motion[..., 4]], -1)
    signs = torch.cat([motion.new_tensor(SIGNS)[codes] for codes in split(target)], -1)
    each = _axis(axes, torch.stack([length, length, angle, angle], -1), signs)
    return (each[..., 0] * each[..., 1] + each[..., 2] * each[..., 3]) / 2


def _axis(x: Tensor, threshold: Tensor, sign: Tensor) -> Tensor:
    up, down = ((2 * (way * x / threshold - 1)).sigmoid() for way in (1, -1))
    return torch.where(sign > 0, up, torch.where(sign < 0, down, 1 - up - down))
