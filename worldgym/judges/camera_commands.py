"""The camera motion that actions command, and its labels.

- `Momentum`: how a body speeds up and coasts. `DOOM_MOMENTUM`: of the embedded game. `NONE`: speed follows at once.
- `commanded_motion`, `commanded_labels`.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from worldgym.actions import ActionSpec
from worldgym.errors import InputError
from worldgym.judges.camera_labels import label

# Walking is 1; the embedded game's ratios of thrust, close to Minecraft's as well.
PACES = {"null": 1.0, "sprint": 1.6, "crouch": 0.5, "sneak": 0.5}
NEEDED = ("move", "strafe", "pitch", "yaw")


@dataclasses.dataclass(frozen=True)
class Momentum:
    """Speed s follows the command u: a step is coast * s + (1 - coast) * u long, then s <- keep * s + (1 - keep) * u.

    Attributes:
        keep: share of the speed that is left after a step.
        coast: share of a step's length that comes from the speed before it.
        walk: length of a step at full walking speed, map units.
    """

    keep: float = 0.0
    coast: float = 0.0
    walk: float = 50.0


NONE = Momentum()
# Per tic v += thrust, x += v, v *= .90625; six tics per step, walking thrust 25/32.
DOOM_MOMENTUM = Momentum(keep=0.554, coast=0.72)
MOMENTA = {"none": NONE, "doom": DOOM_MOMENTUM}


def commanded_motion(actions: Tensor, spec: ActionSpec, momentum: Momentum = NONE) -> Tensor:
    """The camera motion that actions ask for, from standing still, with no wall in the way.

    Args:
        actions: (B, T-1, A) int.
        spec: needs the groups "move" and "strafe" and the camera axes "pitch" and "yaw".
        momentum: how commands become speed; its memory is turned with the camera.

    Returns:
        (B, T-1, 5) float64, see `worldgym.judges.camera_labels`.

    Raises:
        InputError: the spec lacks one of them.
    """
    missing = [name for name in NEEDED if name not in spec.names]
    if missing:
        raise InputError(f"action spec {spec.name!r} has no {', '.join(missing)}, so it does not say how a camera moves")
    forward, right = (_signs(actions, spec, *names) for names in (("move", "forward", "back"), ("strafe", "right", "left")))
    command = torch.complex(forward, -right) * _pace(actions, spec)  # real = ahead, imaginary = to the left
    yaw, pitch = (_degrees(actions, spec, name) for name in ("yaw", "pitch"))
    ways = _coasted(command, torch.deg2rad(yaw), momentum)
    return torch.stack([ways.real, -ways.imag, torch.zeros_like(yaw), yaw, pitch], -1) * _units(momentum, yaw)


def commanded_labels(
    actions: Tensor, spec: ActionSpec, translation: float, rotation: float, momentum: Momentum = NONE
) -> Tensor:
    """(B, T-1, A) int -> (B, T-1) int64 labels 0 … 80 of the motion that is asked for; thresholds as in `label`."""
    return label(commanded_motion(actions, spec, momentum), translation, rotation)


def _coasted(command: Tensor, yaw: Tensor, momentum: Momentum) -> Tensor:
    """Steps (B, T-1) complex, in the camera's frame before each step, which turns by `yaw` radians during it."""
    speed, moves = torch.zeros_like(command[:, 0]), []
    for step in range(command.shape[1]):
        half = torch.polar(torch.ones_like(yaw[:, step]), -yaw[:, step] / 2)  # thrust turns along with the camera
        wanted = command[:, step] * half
        moves.append(momentum.coast * speed + (1 - momentum.coast) * wanted)
        speed = (momentum.keep * speed + (1 - momentum.keep) * wanted) * half.conj() ** 2
    return torch.stack(moves, 1)


def _signs(actions: Tensor, spec: ActionSpec, group: str, positive: str, negative: str) -> Tensor:
    column = spec.column(group)
    labels, chosen = spec.groups[column].labels, actions[..., column]
    return (chosen == labels.index(positive)).double() - (chosen == labels.index(negative)).double()


def _pace(actions: Tensor, spec: ActionSpec) -> Tensor:
    if "pace" not in spec.names:
        return torch.ones(actions.shape[:-1], dtype=torch.float64, device=actions.device)
    column = spec.column("pace")
    speeds = [PACES[name] for name in spec.groups[column].labels]
    return torch.tensor(speeds, dtype=torch.float64, device=actions.device)[actions[..., column].long()]


def _degrees(actions: Tensor, spec: ActionSpec, name: str) -> Tensor:
    axis = next(axis for axis in spec.camera if axis.name == name)
    return torch.as_tensor(axis.centers, dtype=torch.float64, device=actions.device)[actions[..., spec.column(name)].long()]


def _units(momentum: Momentum, like: Tensor) -> Tensor:
    return like.new_tensor([momentum.walk, momentum.walk, 1.0, 1.0, 1.0])
