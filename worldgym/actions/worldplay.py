"""HY-WorldPlay's actions: 81 labels, and the camera paths that they stand for.

- `WORLDPLAY`: the action spec, four groups (move, strafe, yaw, pitch). `labels`, `groups`: groups <-> labels 0 … 80.
- `pose_string`, `key_list`: "w-8, right-4" or [["w", "right"], …] to groups. `by_latent`, `by_frame`: frame actions.
- `CameraPath`: cameras, intrinsics and labels of L latents. `walk`: groups to a path. `read_cameras`: a JSON file to a path.
- `path_labels`: cameras to labels by the published three-dimensional rule.

One action per latent: that of latent i leads from latent i-1 to latent i, latent 0 has none. A latent is 4 frames, the first
one 1 frame: T = 4 L - 3. Cameras are camera-to-world, x right, y down, z forward; the first pose is the identity.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldgym.actions.specs import ActionSpec, Group
from worldgym.errors import InputError, unknown

WORLDPLAY = ActionSpec(
    "worldplay",
    (
        Group("move", ("null", "forward", "back")),
        Group("strafe", ("null", "right", "left")),
        Group("yaw", ("null", "right", "left")),
        Group("pitch", ("null", "up", "down")),
    ),
    (),
)
LABELS = 81
STRIDE = 4  # frames per latent, but the first
KEYS = {  # column of the spec, value
    **{"w": (0, 1), "s": (0, 2), "d": (1, 1), "a": (1, 2)},
    **{"right": (2, 1), "left": (2, 2), "up": (3, 1), "down": (3, 2)},
}
CONE = 0.5  # cosine of 60 degrees: a move counts for an axis that it is closer to than this
LENGTH, DEGREES = 1e-4, 0.05  # above these a step moves or turns


@dataclasses.dataclass(frozen=True)
class Pace:
    """How far one latent goes.

    Attributes:
        length: of every pressed direction, in the model's unit; two directions are a diagonal of sqrt(2) times this.
        degrees: of every pressed turn.
    """

    length: float = 0.08
    degrees: float = 3.0


PUBLISHED = Pace()  # of pose strings
TRAINING = Pace(0.1, 2.0)  # of WorldCompass' own trajectories


@dataclasses.dataclass(frozen=True, eq=False)
class CameraPath:
    """What a WorldPlay model is told about L latents.

    Attributes:
        camera_to_world: (L, 4, 4) float64.
        intrinsics: (L, 3, 3) float64, normalised: fx / (2 cx) and fy / (2 cy), principal point 0.5.
        labels: (L,) int64 in 0 … 80, always those of `camera_to_world`.
    """

    camera_to_world: np.ndarray
    intrinsics: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def latents_of(frames: int) -> int:
    """L of T = 4 L - 3 frames.

    Raises:
        InputError: no whole number of latents; names the nearest lengths.
    """
    if frames < 1 or (frames - 1) % STRIDE:
        below = max(1, frames - (frames - 1) % STRIDE)
        raise InputError(f"{frames} frames are no whole number of latents; use {below} or {below + STRIDE} (4 L - 3)")
    return 1 + (frames - 1) // STRIDE


def frames_of(latents: int) -> int:
    """T = 4 L - 3, and 0 for none."""
    return max(0, STRIDE * latents - STRIDE + 1)


def labels(groups: np.ndarray) -> np.ndarray:
    """Groups (…, 4) to labels (…), 9 * translation + rotation, each of 9 values."""
    move, strafe, yaw, pitch = np.moveaxis(WORLDPLAY.check(groups, "groups"), -1, 0)
    return 9 * _nine(move, strafe) + _nine(yaw, pitch)


def groups(labels: np.ndarray) -> np.ndarray:
    """Labels (…) to groups (…, 4)."""
    labels = np.asarray(labels)
    if labels.size and (labels.min() < 0 or labels.max() >= LABELS):
        raise InputError(f"labels lie in {labels.min()} … {labels.max()}, but there are labels 0 to {LABELS - 1}")
    return np.stack([*_pair(labels // 9), *_pair(labels % 9)], -1)


def pose_string(text: str) -> np.ndarray:
    """ "w-8, right-4, w+right-2" to groups (L, 4): a row of nulls for latent 0, then every token's keys for its n latents.

    Args:
        text: tokens KEYS-n; keys are w s a d up down left right, several at once joined by +, or "none". A fraction of n is
            dropped.
    """
    rows = [WORLDPLAY.null]
    for token in filter(None, (part.strip() for part in text.split(","))):
        names, dash, number = token.rpartition("-")
        try:
            count = int(float(number)) if dash else 0
        except ValueError:
            count = 0
        if count < 1:
            raise InputError(f"{token!r} in the pose string needs keys and a number of latents, as in 'w-8' or 'w+right-4'")
        rows += [_pressed(names.split("+"))] * count
    return np.stack(rows)


def key_list(steps: Sequence[Sequence[str]]) -> np.ndarray:
    """Keys held at each latent, [["w", "right"], [], …], to groups (L, 4), a row of nulls for latent 0 put before them."""
    return np.stack([WORLDPLAY.null, *(_pressed(keys) for keys in steps)])


def by_latent(actions: np.ndarray) -> np.ndarray:
    """Frame actions (…, T-1, 4) to groups (…, L, 4), nulls for latent 0.

    Raises:
        InputError: an action changes within a latent, or T is not 4 L - 3.
    """
    actions = WORLDPLAY.check(actions)
    count = latents_of(actions.shape[-2] + 1) - 1
    blocks = actions.reshape(*actions.shape[:-2], count, STRIDE, 4)
    changes = (blocks != blocks[..., -1:, :]).any((-1, -2))
    if changes.any():
        latent = int(np.argwhere(changes)[0][-1]) + 1
        raise InputError(
            f"the action changes within latent {latent}; hold each action for the {STRIDE} frames "
            f"{STRIDE * latent - 3} to {STRIDE * latent}"
        )
    first = np.zeros((*actions.shape[:-2], 1, 4), np.int64)
    return np.concatenate([first, blocks[..., -1, :]], -2)


def by_frame(groups: np.ndarray) -> np.ndarray:
    """Groups (…, L, 4) to frame actions (…, T-1, 4); what latent 0 has is dropped, as nothing leads to it."""
    return np.repeat(np.asarray(groups)[..., 1:, :], STRIDE, axis=-2)


def intrinsics(fx: float = 969.697, fy: float = 969.697, cx: float = 960.0, cy: float = 540.0) -> np.ndarray:
    """(3, 3) normalised intrinsics from pixels; those of the published command if nothing is given."""
    if not min(fx, fy, cx, cy) > 0:
        raise InputError(f"focal lengths and principal point must be above 0, not {fx}, {fy}, {cx}, {cy}")
    return np.array([[fx / (2 * cx), 0, 0.5], [0, fy / (2 * cy), 0.5], [0, 0, 1]])


def walk(groups: np.ndarray, pace: Pace = PUBLISHED, lens: np.ndarray | None = None) -> CameraPath:
    """The path of a player who does at each latent what its groups say: yaw, then pitch, then the move in the new frame.

    Args:
        groups: (L, 4); what latent 0 has is not looked at.
        pace: length and degrees per latent.
        lens: (3, 3) normalised intrinsics; `intrinsics()` if not given.
    """
    chosen = WORLDPLAY.check(groups, "groups")
    signs = np.array([0.0, 1.0, -1.0])[chosen]
    cameras = np.tile(np.eye(4), (len(chosen), 1, 1))
    for i in range(1, len(chosen)):
        move, strafe, yaw, pitch = signs[i]
        step = np.eye(4)
        step[:3, :3] = _yaw(yaw * pace.degrees) @ _pitch(pitch * pace.degrees)
        step[:3, 3] = step[:3, :3] @ (pace.length * np.array([strafe, 0, move]))
        cameras[i] = cameras[i - 1] @ step
    lens = intrinsics() if lens is None else lens
    return CameraPath(cameras, np.tile(lens, (len(chosen), 1, 1)), path_labels(cameras))


def read_cameras(path: str | Path) -> CameraPath:
    """A camera file, {"0": {"extrinsic": 4x4 camera-to-world, "K": 3x3 in pixels}, "1": …}, one entry per latent.

    Raises:
        InputError: no such file, no JSON, entries missing, or a matrix that is no camera; says which.
    """
    try:
        entries = json.loads(Path(path).expanduser().read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{str(path)!r} is no camera file that can be read ({error})") from None
    if not isinstance(entries, dict) or not entries:
        raise InputError(f'{str(path)!r} holds no cameras; it needs {{"0": {{"extrinsic": 4x4, "K": 3x3}}, "1": …}}')
    missing = [str(i) for i in range(len(entries)) if str(i) not in entries]
    if missing:
        raise InputError(f"{str(path)!r} has {len(entries)} cameras but none named {missing[0]!r}; names are 0, 1, 2, …")
    cameras, lenses = zip(*(_entry(entries[str(i)], f"camera {i} of {str(path)!r}") for i in range(len(entries))), strict=True)
    return CameraPath(np.stack(cameras), np.stack(lenses), path_labels(np.stack(cameras)))


def path_labels(camera_to_world: np.ndarray) -> np.ndarray:
    """Labels of a path by the published rule; latent 0 gets 0.

    From the relative pose M_i = C_{i-1}^-1 C_i: it moves if the translation is longer than 1e-4 in space, forward (back) if
    the angle to z is below 60 (above 120) degrees, right and left alike along x. It turns about y (yaw, right) and x (pitch,
    up) if the Euler angle of R = Rz Ry Rx is above 0.05 degrees.

    Args:
        camera_to_world: (…, L, 4, 4).

    Returns:
        (…, L) int64 in 0 … 80.
    """
    cameras = np.asarray(camera_to_world, np.float64)
    step = np.linalg.inv(cameras[..., :-1, :, :]) @ cameras[..., 1:, :, :]
    way = step[..., :3, 3]
    length = np.linalg.norm(way, axis=-1, keepdims=True)
    way = np.where(length > LENGTH, way / np.maximum(length, 1e-12), 0)
    yaw = np.degrees(np.arcsin(np.clip(-step[..., 2, 0], -1, 1)))
    up = np.degrees(np.arctan2(step[..., 2, 1], step[..., 2, 2]))
    signs = [_choice(way[..., 2], CONE), _choice(way[..., 0], CONE), _choice(yaw, DEGREES), _choice(up, DEGREES)]
    first = np.zeros((*step.shape[:-3], 1), np.int64)
    return np.concatenate([first, labels(np.stack(signs, -1))], -1)


def _choice(x: np.ndarray, threshold: float) -> np.ndarray:
    """1 above the threshold, 2 below its negative, else 0: values of a group."""
    return np.where(x > threshold, 1, np.where(x < -threshold, 2, 0))


def _nine(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Two groups to one of 9: none, the two of the first, the two of the second, the four corners."""
    alone = np.where(first > 0, first, np.where(second > 0, second + 2, 0))
    return np.where((first > 0) & (second > 0), 2 * first + second + 2, alone)


def _pair(code: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`_nine` backwards."""
    first = np.array([0, 1, 2, 0, 0, 1, 1, 2, 2])
    second = np.array([0, 0, 0, 1, 2, 1, 2, 1, 2])
    return first[code], second[code]


def _pressed(names: Sequence[str]) -> np.ndarray:
    row = WORLDPLAY.null
    for name in (name.strip().lower() for name in names):
        if name == "none":
            continue
        if name not in KEYS:
            raise unknown("key", name, [*KEYS, "none"])
        column, value = KEYS[name]
        if row[column] not in (0, value):
            raise InputError(f"keys {'+'.join(names)!r} press both ways of {WORLDPLAY.names[column]}; keep one of them")
        row[column] = value
    return row


def _yaw(degrees: float) -> np.ndarray:
    """Rotation about y; positive turns the view to the right."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _pitch(degrees: float) -> np.ndarray:
    """Rotation about x; positive turns the view up."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def _entry(value: Any, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Camera-to-world (4, 4) and normalised intrinsics (3, 3) of one entry of a camera file."""
    try:
        camera, lens = (np.array(value[key], np.float64) for key in ("extrinsic", "K"))
    except (KeyError, TypeError, ValueError):
        raise InputError(f"{name} needs 'extrinsic' (4x4 numbers) and 'K' (3x3 numbers)") from None
    if camera.shape != (4, 4) or lens.shape != (3, 3):
        raise InputError(f"{name} has matrices {camera.shape} and {lens.shape}; 'extrinsic' is 4x4 and 'K' 3x3")
    turn = camera[:3, :3]
    rigid = np.allclose(turn @ turn.T, np.eye(3), atol=1e-3) and np.linalg.det(turn) > 0
    if not (np.isfinite(camera).all() and rigid and np.allclose(camera[3], [0, 0, 0, 1], atol=1e-6)):
        raise InputError(f"the 'extrinsic' of {name} is no rotation and translation; it must be camera-to-world")
    return camera, intrinsics(lens[0, 0], lens[1, 1], lens[0, 2], lens[1, 2])
