"""The records that rooms hand to each other, and the shape legend of the whole library.

Letters: B batch, G group, T frames, H W pixels, C channels, A action columns, K denoising steps, V codes, N clips,
L codes per frame, S tokens per action segment, P prefix frames.

Frames are (…, T, H, W, 3) uint8 RGB. Frames x_0 … x_n, actions a_1 … a_n: **action a_i leads from x_{i-1} to x_i**, so
`actions[i - 1]` is what happened just before `frames[i]`, and there is one action fewer than frames. Angles are in
degrees, distances in the world's own units, time in frames (seconds only with `fps` beside it).
"""

from __future__ import annotations

import dataclasses

import numpy as np


class _ShapeRepr:
    """Shows shapes, never pixels."""

    def __repr__(self) -> str:
        parts = []
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            shown = f"{value.dtype}{list(value.shape)}" if isinstance(value, np.ndarray) else repr(value)
            parts.append(f"{field.name}={shown}")
        return f"{type(self).__name__}({', '.join(parts)})"


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Clip(_ShapeRepr):
    """One piece of recorded play.

    Attributes:
        frames: (T, H, W, 3) uint8 RGB.
        actions: (T-1, A) int64, columns as in the action spec.
        poses: (T, 6) float64: x, y, z (eye), yaw, pitch, roll; units and degrees of the world.
        seed: the world seed that, with the actions, regenerates the clip bit for bit.
    """

    frames: np.ndarray
    actions: np.ndarray
    poses: np.ndarray
    seed: int


@dataclasses.dataclass(frozen=True, repr=False, eq=False)
class Prompts(_ShapeRepr):
    """A batch of tasks for a world model: some first frames, all actions, and what truly happened.

    Attributes:
        prefix: (B, P, H, W, 3) uint8 RGB, the frames that are given.
        actions: (B, T-1, A) int64; the first P-1 lie inside the prefix.
        truth: (B, T, H, W, 3) uint8 RGB, prefix included.
        ids: B names, unique and stable: "<world>/<seed>/<first frame>".
    """

    prefix: np.ndarray
    actions: np.ndarray
    truth: np.ndarray
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, rows: slice) -> Prompts:
        return Prompts(self.prefix[rows], self.actions[rows], self.truth[rows], self.ids[rows])
