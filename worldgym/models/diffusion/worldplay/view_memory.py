"""Which earlier latents are shown with a chunk: the latest ones, and those that saw the same place.

- `MemoryRule`: how many, and which always. `WAN`, `HUNYUAN`: as published.
- `ViewMemory`: seeded points in a ball; `overlap` of two cameras' views, `select` the latents of a chunk's context.

How alike two cameras see (HY-WorldPlay's retrieval): of points uniform in a ball round the current camera, A are those within
its field of view, B those within the other's and nearer to it than the radius; overlap = |A and B| / |A|. Views are measured
by azimuth and elevation in the current camera's axes, so rolling a camera changes nothing and A is always the same points.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from worldgym import rng
from worldgym.errors import InputError

POINTS, RADIUS = 50_000, 8.0  # in the ball; its radius in the poses' unit
HALF_WIDTH, HALF_HEIGHT = 30.0, 17.5  # degrees of the field of view to either side
CLIP = 4  # latents per chunk


@dataclasses.dataclass(frozen=True)
class MemoryRule:
    """Which latents are a chunk's context.

    Attributes:
        budget: M, latents at most; all of history while it is no longer.
        recent: of these, the latest.
        first: whether chunk 0 always belongs to it.
    """

    budget: int = 16
    recent: int = 12
    first: bool = False

    def __post_init__(self):
        left = self.budget - self.recent - CLIP * self.first
        if left < CLIP or left % CLIP:
            raise InputError(
                f"a memory of {self.budget} latents, {self.recent} of them recent, leaves no whole clip to retrieve"
            )


WAN, HUNYUAN = MemoryRule(16), MemoryRule(20, first=True)


class ViewMemory:
    """Selection by view overlap with points that are drawn once, from a seed.

    Args:
        rule: which latents.
        seed: of the points; two sets of points choose another clip in about 3 of 100 cases.
    """

    def __init__(self, rule: MemoryRule = WAN, seed: int = 0):
        self.rule = rule
        random = rng.generator(seed, "worldplay view memory")
        way = random.normal(size=(POINTS, 3))
        points = way / np.linalg.norm(way, axis=1, keepdims=True) * RADIUS * random.random((POINTS, 1)) ** (1 / 3)
        self.points = points[_inside(points, np.zeros(2))]  # (n, 3), n about 5 % of all: A, in the current camera's axes

    def overlap(self, current: np.ndarray, other: np.ndarray) -> np.ndarray:
        """Share of what `current` (…, 4, 4) sees that `other` (…, 4, 4) sees, camera-to-world; (…) float64 in [0, 1]."""
        return self._count(current, other) / len(self.points)

    def select(self, camera_to_world: np.ndarray, start: int) -> np.ndarray:
        """Latents to show with the chunk that begins at latent `start`.

        A clip of 4 earlier latents from s counts by the mean overlap of latents s and s + 2 with every latent of the chunk;
        the largest is taken, the earliest of equals.

        Args:
            camera_to_world: (L, 4, 4), of the chunk and all before.
            start: first latent of the chunk.

        Returns:
            (M,) int64 in ascending order.
        """
        rule = self.rule
        if start <= rule.budget:
            return np.arange(start)
        always = [*range(CLIP * rule.first), *range(start - rule.recent, start)]
        starts = np.arange(CLIP * rule.first, start - rule.recent, CLIP)
        now = np.asarray(camera_to_world[start : start + CLIP], np.float64)
        seen = sum(self._count(now[None], np.asarray(camera_to_world)[starts + k][:, None]).sum(1) for k in (0, 2))
        found = starts[np.argsort(-seen, kind="stable")[: (rule.budget - len(always)) // CLIP]]
        return np.unique([*always, *(found[:, None] + np.arange(CLIP)).ravel()])

    def _count(self, current: np.ndarray, other: np.ndarray) -> np.ndarray:
        relative = np.linalg.inv(current) @ other  # the other camera in the current one's axes
        vectors = self.points - relative[..., None, :3, 3]
        view = relative[..., None, :3, 2]
        near = (vectors**2).sum(-1) < RADIUS**2
        return (_inside(vectors, _angles(view)) & near).sum(-1)


def _angles(vectors: np.ndarray) -> np.ndarray:
    """(…, 3) to (…, 2): azimuth from z towards x, elevation towards y; degrees."""
    x, y, z = np.moveaxis(vectors, -1, 0)
    return np.degrees(np.stack([np.arctan2(x, z), np.arctan2(y, np.hypot(x, z))], -1))


def _inside(vectors: np.ndarray, view: np.ndarray) -> np.ndarray:
    """Whether vectors (…, 3) lie within the field of view round the direction `view` (…, 2)."""
    apart = np.abs((_angles(vectors) - view + 180) % 360 - 180)
    return (apart < [HALF_WIDTH, HALF_HEIGHT]).all(-1)
