"""From camera motion to the 81 labels of HY-WorldPlay, and how far a video's motion agrees with given labels.

- `pose_motion`, `matrix_motion`: poses to relative motion in the camera's own frame. `Rules`: the thresholds.
- `label`: motion to labels 0 … 80. `join`, `split`: label <-> (translation, rotation), 9 values each.
- `agreement`: exact match, and the "fine" mean of both halves, at the best threshold (WorldCompass, arXiv 2602.09022).

A motion is (…, 5): forward, right, up (the poses' length unit), yaw (positive turns right), pitch (positive looks down),
degrees; the motion of step i leads from frame i-1 to frame i and is seen from frame i-1.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from worldgym.errors import InputError

COLUMNS = ("forward", "right", "up", "yaw", "pitch")
LABELS = 81
CONE = 0.5  # cosine of 60 degrees: a move counts for an axis that it is closer to than this
TRANSLATIONS = (
    *("none", "forward", "back", "right", "left"),
    *("forward right", "forward left", "back right", "back left"),
)
ROTATIONS = (
    *("none", "yaw right", "yaw left", "pitch up", "pitch down"),
    *("right up", "right down", "left up", "left down"),
)


@dataclasses.dataclass(frozen=True)
class Rules:
    """What counts as motion.

    Attributes:
        translation: lengths per step above which the camera moves; each is tried, the best counts.
        rotation: degrees per step above which it turns.
        scale: "units": `translation` is in the poses' own unit. "scene": it is a share of the video's own scale (see
            `scene_scale`), for estimators that know lengths only up to a factor.
        floor: with "scene", the smallest scale, in the poses' unit, so that a standing camera's jitter is not blown up.
        window: steps for which the best threshold is chosen together; None: the whole video.
    """

    translation: tuple[float, ...] = (4.0, 8.0, 12.0)
    rotation: float = 1.2
    scale: str = "units"
    floor: float = 1e-6
    window: int | None = None

    def __post_init__(self):
        if not self.translation or min(self.translation) < 0 or self.rotation < 0:
            raise InputError(f"thresholds must be at least one length and one angle, none negative; got {self}")
        if self.scale not in ("units", "scene"):
            raise InputError(f"scale is {self.scale!r}; use 'units' or 'scene'")
        if not self.floor > 0 or (self.window is not None and self.window < 1):
            raise InputError(f"floor must be above 0 and window at least 1 (or None), not {self.floor} and {self.window}")


TRUE = Rules(translation=(1e-4,), rotation=0.05)  # for exact poses, as HY-WorldPlay labels its trajectories


@dataclasses.dataclass(frozen=True, eq=False)
class Agreement:
    """How far videos follow labels.

    Attributes:
        exact: (B,) float64 share of steps with the right label of 81.
        fine: (B,) float64 mean of the shares with the right translation and the right rotation.
        exact_steps: (B, T-1) float64, 0 or 1. fine_steps: (B, T-1) float64 in {0, 1/2, 1}.
        chosen: (B, T-1) int64, which threshold was best (the first of equals).
        labels: (B, T-1) int64, what was read at that threshold.
    """

    exact: Tensor
    fine: Tensor
    exact_steps: Tensor
    fine_steps: Tensor
    chosen: Tensor
    labels: Tensor


def pose_motion(poses: Any) -> Tensor:
    """Relative motion of a world's poses.

    Args:
        poses: (…, T, 6) x, y, z (up), yaw (clockwise seen from above, 0 along x), pitch, roll; degrees. Array or tensor.

    Returns:
        (…, T-1, 5) float64. Forward and right are horizontal, along and across the view before the step.
    """
    poses = torch.as_tensor(poses, dtype=torch.float64)
    step = poses[..., 1:, :] - poses[..., :-1, :]
    yaw = torch.deg2rad(poses[..., :-1, 3])
    ahead_x, ahead_y = yaw.cos(), -yaw.sin()  # clockwise from x
    forward = step[..., 0] * ahead_x + step[..., 1] * ahead_y
    right = step[..., 0] * ahead_y - step[..., 1] * ahead_x
    return torch.stack([forward, right, step[..., 2], _turn(step[..., 3]), _turn(step[..., 4])], -1)


def matrix_motion(camera_to_world: Any) -> Tensor:
    """Relative motion of camera matrices: M_i = C_{i-1}^-1 C_i, Euler angles of its rotation R = Rz Ry Rx.

    Args:
        camera_to_world: (…, T, 4, 4) in OpenCV's convention (x right, y down, z forward). Array or tensor.

    Returns:
        (…, T-1, 5) float64.
    """
    matrices = torch.as_tensor(camera_to_world, dtype=torch.float64)
    if matrices.ndim < 3 or tuple(matrices.shape[-2:]) != (4, 4):
        raise InputError(f"camera matrices have shape {tuple(matrices.shape)}; (…, T, 4, 4) are needed")
    step = torch.linalg.inv(matrices[..., :-1, :, :]) @ matrices[..., 1:, :, :]
    x, y, z = step[..., :3, 3].unbind(-1)
    yaw = torch.rad2deg(torch.asin((-step[..., 2, 0]).clamp(-1, 1)))
    up = torch.rad2deg(torch.atan2(step[..., 2, 1], step[..., 2, 2]))
    return torch.stack([z, x, -y, yaw, -up], -1)


def scene_scale(motion: Tensor, floor: float) -> Tensor:
    """(…, T-1, 5) -> (…, 1): the longest horizontal step of a video, at least `floor`; the unit of the other steps."""
    return _length(motion).amax(-1, keepdim=True).clamp_min(floor)


def label(motion: Any, translation: float, rotation: float, scale: Any = 1.0) -> Tensor:
    """The label of every step: 9 * translation + rotation.

    A step moves if its horizontal length is above `translation` * `scale`; then forward (back, right, left) if it is within 60
    degrees of that direction, so slanted moves have two parts. It turns about an axis if the angle is above `rotation`. What
    is up and down is left out: walking bobs.

    Args:
        motion: (…, 5), array or tensor. translation: threshold. rotation: threshold, degrees.
        scale: number or (…) lengths.

    Returns:
        (…) int64 in 0 … 80.
    """
    motion = torch.as_tensor(motion)
    length = _length(motion)
    moves = length > translation * scale
    way = motion[..., :2] / length.clamp_min(1e-12)[..., None] * moves[..., None]
    ahead, side = _sign(way[..., 0], CONE), _sign(way[..., 1], CONE)
    yaw, up = _sign(motion[..., 3], rotation), _sign(-motion[..., 4], rotation)
    return join(_nine(ahead, side), _nine(yaw, up))


def join(translation: Tensor, rotation: Tensor) -> Tensor:
    """Two 9-way codes to a label; order of the codes as in `TRANSLATIONS` and `ROTATIONS`."""
    return 9 * translation + rotation


def split(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Labels to their two 9-way codes."""
    return labels // 9, labels % 9


def mirrored(motion: Tensor) -> Tensor:
    """The motion of the video mirrored left to right."""
    return motion * motion.new_tensor([1, -1, 1, -1, 1])


def agreement(motion: Any, target: Any, rules: Rules, scored: Any = None) -> Agreement:
    """Compare a video's motion with the labels it was to follow.

    For every threshold tau: exact_tau = mean_i 1{label_tau(m_i) = y_i}; the best tau is the first with the largest exact_tau
    within a window, and fine = mean_i (1{translation right} + 1{rotation right}) / 2 at that same tau.

    Args:
        motion: (B, T-1, 5). target: (B, T-1) int labels y.
        rules: thresholds.
        scored: (B, T-1) bool, steps that count, in the choice of tau as well; all when left out. NaN where none does.
    """
    motion = torch.as_tensor(motion)
    target = torch.as_tensor(target, device=motion.device)
    if motion.ndim != 3 or tuple(motion.shape[:2]) != tuple(target.shape):
        raise InputError(f"motion of shape {tuple(motion.shape)} does not fit labels of shape {tuple(target.shape)}")
    counts = torch.ones_like(target, dtype=torch.bool) if scored is None else torch.as_tensor(scored, device=motion.device)
    scale = scene_scale(motion, rules.floor) if rules.scale == "scene" else 1.0
    at_every_tau = torch.stack([label(motion, tau, rules.rotation, scale) for tau in rules.translation])
    right = ((at_every_tau == target) & counts).double()
    window = rules.window or target.shape[1]
    best = [piece.sum(2, keepdim=True).expand_as(piece) for piece in right.split(window, dim=2)]
    chosen = _first_best(torch.cat(best, 2))
    labels = at_every_tau.gather(0, chosen[None])[0]
    halves = [(a == b).double() for a, b in zip(split(labels), split(target), strict=True)]
    exact, fine = (labels == target).double(), (halves[0] + halves[1]) / 2
    fractions = [(right_at * counts).sum(1) / counts.sum(1) for right_at in (exact, fine)]
    return Agreement(fractions[0], fractions[1], exact, fine, chosen, labels)


def _first_best(scores: Tensor) -> Tensor:
    """(K, …) -> (…) index of the largest, the first of equals (argmax promises none)."""
    ties = scores == scores.amax(0)
    return (ties.long() * torch.arange(len(scores), 0, -1, device=scores.device).view(-1, *[1] * (scores.ndim - 1))).argmax(0)


def _nine(first: Tensor, second: Tensor) -> Tensor:
    """Signs of two axes to one of 9: none, +-first, +-second, then the four corners."""
    a, b = (first < 0).long(), (second < 0).long()
    corner, one, two = 5 + 2 * a + b, 1 + a, 3 + b
    alone = torch.where(first != 0, one, torch.where(second != 0, two, torch.zeros_like(a)))
    return torch.where((first != 0) & (second != 0), corner, alone)


def _sign(x: Tensor, threshold: float) -> Tensor:
    return (x > threshold).long() - (x < -threshold).long()


def _length(motion: Tensor) -> Tensor:
    return torch.linalg.vector_norm(motion[..., :2], dim=-1)


def _turn(degrees: Tensor) -> Tensor:
    """To [-180, 180)."""
    return (degrees + 180) % 360 - 180
