"""Action specs: which columns an action array has and what their labels mean.

- `Group`: mutually exclusive labels, the first of which is "null". `CameraAxis`: mu-law bins of a rotation in degrees.
- `ActionSpec`: groups, then camera axes, then what is not scored; validates arrays and says what is wrong with them.
- `SPECS`: "doom" and "minecraft" (the 7 groups of RLIR's Table 3, camera, hotbar and pickItem).
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np

from worldgym.errors import InputError, unknown


@dataclasses.dataclass(frozen=True)
class Group:
    """Labels of which exactly one holds at a time; index 0 is "null"."""

    name: str
    labels: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many labels."""
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class CameraAxis:
    """Mu-law bins of a rotation: `centers = sign(y) * max_degrees * ((1 + mu)^|y| - 1) / mu`, y evenly spaced in [-1, 1].

    Positive yaw turns right, positive pitch looks down. The middle bin is no rotation.
    """

    name: str
    bins: int
    max_degrees: float
    mu: float

    @property
    def size(self) -> int:
        """How many bins."""
        return self.bins

    @property
    def null(self) -> int:
        """The bin of no rotation."""
        return self.bins // 2

    @functools.cached_property
    def centers(self) -> np.ndarray:
        """(bins,) float64 degrees."""
        y = np.arange(-self.null, self.null + 1) / self.null
        return np.sign(y) * self.max_degrees * ((1 + self.mu) ** np.abs(y) - 1) / self.mu

    def degrees(self, index: np.ndarray) -> np.ndarray:
        """Bin indices to degrees, any shape."""
        return self.centers[index]

    def quantise(self, degrees: np.ndarray) -> np.ndarray:
        """Degrees to bin indices, any shape; rounds in mu-law space, clips at the ends."""
        x = np.clip(np.asarray(degrees, float) / self.max_degrees, -1, 1)
        y = np.sign(x) * np.log1p(self.mu * np.abs(x)) / np.log1p(self.mu)
        return np.round(y * self.null).astype(np.int64) + self.null


@dataclasses.dataclass(frozen=True)
class ActionSpec:
    """The columns of an action array (…, A) int: groups, camera axes, other groups.

    Attributes:
        name: as in `SPECS`.
        groups: what scores are averaged over.
        camera: rotations.
        others: groups that a world model is told but nobody scores (MineWorld's hotbar).
    """

    name: str
    groups: tuple[Group, ...]
    camera: tuple[CameraAxis, ...]
    others: tuple[Group, ...] = ()

    @property
    def columns(self) -> tuple[Group | CameraAxis, ...]:
        """All columns in order."""
        return (*self.groups, *self.camera, *self.others)

    @property
    def camera_columns(self) -> slice:
        """Where the camera axes stand in (…, A)."""
        return slice(len(self.groups), len(self.groups) + len(self.camera))

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each column (A,)."""
        return tuple(column.size for column in self.columns)

    @property
    def names(self) -> tuple[str, ...]:
        """Column names (A,)."""
        return tuple(column.name for column in self.columns)

    @property
    def null(self) -> np.ndarray:
        """(A,) int64, the action that does nothing."""
        return np.array([getattr(column, "null", 0) for column in self.columns], np.int64)

    def column(self, name: str) -> int:
        """Index of a column by name."""
        if name not in self.names:
            raise unknown(f"column of action spec {self.name!r}", name, self.names)
        return self.names.index(name)

    def action(self, **values: str | float) -> np.ndarray:
        """(A,) int64 from words and degrees: `spec.action(move="forward", yaw=-5.0)`; the rest is null."""
        action = self.null
        for name, value in values.items():
            index = self.column(name)
            column = self.columns[index]
            if isinstance(column, CameraAxis):
                action[index] = column.quantise(np.float64(value))
            elif value not in column.labels:
                raise unknown(f"label of {name!r}", str(value), column.labels)
            else:
                action[index] = column.labels.index(value)
        return action

    def check(self, actions: np.ndarray, name: str = "actions") -> np.ndarray:
        """Return `actions` as int64 (…, A), or say what is wrong with it.

        Raises:
            InputError: wrong last axis, dtype or range.
        """
        actions = np.asarray(actions)
        if actions.ndim == 0 or actions.shape[-1] != len(self.sizes):
            raise InputError(
                f"{name} has shape {actions.shape}, but spec {self.name!r} needs {len(self.sizes)} columns "
                f"(…, {len(self.sizes)}): {', '.join(self.names)}"
            )
        if not np.issubdtype(actions.dtype, np.integer):
            raise InputError(f"{name} has dtype {actions.dtype}, but spec {self.name!r} needs integers")
        for index, size in enumerate(self.sizes):
            values = actions[..., index]
            if values.size and (values.min() < 0 or values.max() >= size):
                bad = values[(values < 0) | (values >= size)].flat[0]
                raise InputError(f"{name} holds {bad} in column {self.names[index]!r}, which takes 0 to {size - 1}")
        return actions.astype(np.int64)


def _buttons(*names: str) -> tuple[Group, ...]:
    return tuple(Group(name, ("null", name)) for name in names)


DOOM = ActionSpec(
    "doom",
    (
        Group("move", ("null", "forward", "back")),
        Group("strafe", ("null", "left", "right")),
        Group("pace", ("null", "sprint", "crouch")),
        *_buttons("attack", "jump", "weapon"),
    ),
    (CameraAxis("pitch", 11, 12.0, 4.0), CameraAxis("yaw", 11, 24.0, 4.0)),
)
MINECRAFT = ActionSpec(
    "minecraft",
    (
        Group("move", ("null", "forward", "back")),
        Group("strafe", ("null", "left", "right")),
        Group("pace", ("null", "sprint", "sneak")),
        *_buttons("use", "attack", "jump", "drop"),
    ),
    (CameraAxis("pitch", 21, 90.0, 11.4887), CameraAxis("yaw", 21, 90.0, 11.4887)),
    (Group("hotbar", ("null", *(f"hotbar.{slot}" for slot in range(1, 10)))), Group("pick", ("null", "pickItem"))),
)
SPECS = {spec.name: spec for spec in (DOOM, MINECRAFT)}


def spec(name: str) -> ActionSpec:
    """An action spec by name."""
    if name not in SPECS:
        raise unknown("action spec", name, SPECS)
    return SPECS[name]
