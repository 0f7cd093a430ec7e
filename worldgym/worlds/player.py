"""A scripted player whose every action can be seen in the frames.

It plans segments of a few steps (what to hold, how to turn) and keeps only those that, by the game's own momentum rule,
run into no wall, so that holding a key always moves the view. Over a segment it lays single events with cool-downs: a jump
only from the floor, a shot only when the weapon is ready, a weapon switch only when the last animation is over.

- `Walls`: the distance of a place to the nearest wall. `PlayerConfig`: how often the player does what. `ScriptedPlayer`:
  `act(info)` gives the next action.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np

from worldgym.actions import DOOM

FRICTION = 0.90625  # share of the speed that is left after a tic on the floor
RADIUS = 16.0  # of the player's body, map units
# Units per tic² for (walk, sprint, crouch): the engine's move commands times 2048 / 65536.
FORWARD_THRUST = np.array([25, 50, 12.5]) / 32
SIDE_THRUST = np.array([24, 40, 12]) / 32


class Walls:
    """Distance to the nearest wall, looked up on a grid.

    Args:
        lines: (n, 4) float64 x1, y1, x2, y2.
        cell: grid spacing, map units.
    """

    def __init__(self, lines: np.ndarray, cell: float = 4.0):
        self.cell = cell
        ends = lines.reshape(-1, 2)
        self.origin = ends.min(0)
        nx, ny = np.ceil((ends.max(0) - self.origin) / cell).astype(int) + 1
        a, along = lines[:, :2], lines[:, 2:] - lines[:, :2]
        self._grid = np.full((nx, ny), np.inf)
        corners = np.stack(np.meshgrid(np.arange(nx), np.arange(ny), indexing="ij"), -1) * cell + self.origin
        for start, way in zip(a, along, strict=True):
            reached = np.clip(((corners - start) @ way) / (way @ way), 0, 1)
            distance = np.linalg.norm(corners - start - reached[..., None] * way, axis=-1)
            self._grid = np.minimum(self._grid, distance)

    def clearance(self, places: np.ndarray) -> np.ndarray:
        """(…, 2) places -> (…) distance to the nearest wall, to about half a cell; 0 outside the map."""
        index = np.round((places - self.origin) / self.cell).astype(int)
        inside = ((index >= 0) & (index < self._grid.shape)).all(-1)
        index = np.where(inside[..., None], index, 0)
        return np.where(inside, self._grid[index[..., 0], index[..., 1]], 0.0)


@dataclasses.dataclass(frozen=True)
class PlayerConfig:
    """Probabilities, and cool-downs in steps.

    Attributes:
        move: probabilities of null, forward, back in a new segment.
        strafe: of null, left, right.
        pace: of null, sprint, crouch; sprint only while something moves.
        turn: probability of turning during a segment that moves (one that stands always turns or looks).
        look: probability of changing the pitch in a segment.
        stand: probability that a segment stands still (and turns).
        shortest: steps in a segment that moves.
        longest: the same, at most.
        drafts: segments drawn before the player gives up and turns.
        attack: probability per step when the weapon is ready.
        jump: probability per step when it can be seen.
        weapon: probability per step when the last animation is over.
        after_shot: steps without another weapon event after a shot of (pistol, shotgun).
        after_switch: the same after a switch.
        after_jump: steps from one jump to the next.
    """

    move: tuple[float, float, float] = (0.26, 0.42, 0.32)
    strafe: tuple[float, float, float] = (0.5, 0.25, 0.25)
    pace: tuple[float, float, float] = (0.4, 0.45, 0.15)
    turn: float = 0.45
    look: float = 0.25
    stand: float = 0.18
    shortest: int = 3
    longest: int = 8
    drafts: int = 96
    attack: float = 0.3
    jump: float = 0.16
    weapon: float = 0.12
    after_shot: tuple[int, int] = (4, 8)
    after_switch: int = 6
    after_jump: int = 6


class _Segment(NamedTuple):
    """What is held: indices into the spec's labels, yaw and pitch in bins."""

    move: int
    strafe: int
    pace: int
    yaw: int
    pitch: int


class ScriptedPlayer:
    """Plays one episode of a `DoomWorld`.

    Args:
        walls: of the map.
        rng: the player's own generator.
        tics: game tics per action.
        config: probabilities and cool-downs.
    """

    def __init__(self, walls: Walls, rng: np.random.Generator, tics: int = 6, config: PlayerConfig | None = None):
        self.walls, self.rng, self.tics, self.config = walls, rng, tics, config or PlayerConfig()
        self._segment: _Segment | None = None
        self._left = 0
        self._no_weapon_event = 3
        self._no_jump = 2

    def act(self, info: dict) -> np.ndarray:
        """(A,) int64, the next action, from the world's info."""
        if self._must_plan(info):
            self._segment, self._left = self._plan(info)
        self._left -= 1
        segment = self._segment
        jump = self._jumps(info)
        attack, weapon = self._weapon_event(info)
        return np.array(
            [segment.move, segment.strafe, segment.pace, attack, jump, weapon, segment.pitch, segment.yaw], np.int64
        )

    def _must_plan(self, info: dict) -> bool:
        if self._segment is None:
            return True
        if not info["on_ground"]:  # in the air nothing pressed can be seen, so the same is held until the landing
            return False
        return self._left <= 0 or self._free_steps(np.array([self._segment[:4]]), info, 1)[0] < 1

    def _plan(self, info: dict) -> tuple[_Segment, int]:
        """The next segment and how long to hold it: the first of many drafts that keeps clear of the walls."""
        cfg, rng = self.config, self.rng
        pitch = self._pitch(info)
        if rng.random() >= cfg.stand:
            drafts = self._drafts()
            free = self._free_steps(drafts, info, cfg.longest)
            wanted = rng.integers(cfg.shortest, cfg.longest + 1, len(drafts))
            fits = np.flatnonzero(free >= cfg.shortest)
            if len(fits):
                first = fits[0]
                return _Segment(*drafts[first].tolist(), pitch), int(min(free[first], wanted[first]))
        pace = int(rng.random() < cfg.pace[2]) * 2
        return _Segment(0, 0, pace, self._yaw(5), pitch), int(rng.integers(2, 4))

    def _drafts(self) -> np.ndarray:
        """(n, 4) int: move, strafe, pace and yaw bin of segments that move."""
        cfg, rng, n = self.config, self.rng, self.config.drafts
        move, strafe, pace = (rng.choice(3, n, p=p) for p in (cfg.move, cfg.strafe, cfg.pace))
        turning = (
            rng.random(n) < np.where(strafe > 0, 0.4, 1.0) * cfg.turn
        )  # a turn and a strafe look alike, so a draft has only one of them
        yaw = rng.integers(1, 5, n) * rng.choice((-1, 1), n) * turning + DOOM.camera[1].null
        drafts = np.stack([move, strafe, pace, yaw], -1)
        return drafts[(move > 0) | (strafe > 0)]

    def _yaw(self, most: int) -> int:
        return DOOM.camera[1].null + int(self.rng.integers(1, most + 1)) * int(self.rng.choice((-1, 1)))

    def _pitch(self, info: dict) -> int:
        null = DOOM.camera[0].null
        if self.rng.random() > self.config.look:
            return null
        now = (info["pose"][4] + 180) % 360 - 180
        sign = -np.sign(now) if abs(now) > 4 else self.rng.choice((-1, 1))  # back to level
        return null + int(sign) * int(self.rng.integers(1, 4))

    def _free_steps(self, segments: np.ndarray, info: dict, steps: int) -> np.ndarray:
        """How many steps each segment (n, 4) could be held before it meets a wall, by the engine's momentum rule.

        Per tic: v += thrust; x += v; v *= friction. Complex numbers: real = x, imaginary = y of the map.
        """
        move, strafe, pace, yaw_bin = segments.T
        tics = np.arange(1, steps * self.tics + 1)
        yaw = np.radians(info["pose"][3]) + np.radians(DOOM.camera[1].centers[yaw_bin])[:, None] / self.tics * tics
        ahead = np.exp(-1j * yaw)  # yaw counts clockwise, the map anti-clockwise
        forward = np.array([0, 1, -1])[move] * FORWARD_THRUST[pace]
        side = np.array([0, -1, 1])[strafe] * SIDE_THRUST[pace]
        thrust = (forward - 1j * side)[:, None] * ahead
        reach = np.tril((1 - FRICTION ** np.maximum(tics[:, None] - tics + 1, 0)) / (1 - FRICTION))
        coast = (1 - FRICTION**tics) / (1 - FRICTION)
        x0, v0 = info["pose"][0] + 1j * info["pose"][1], info["velocity"][0] + 1j * info["velocity"][1]
        places = x0 + v0 * coast + thrust @ reach.T
        here = self.walls.clearance(np.array(info["pose"][:2]))
        needed = min(RADIUS + 2, here - 2)  # at a wall, away from it and along it is free
        clear = self.walls.clearance(np.stack([places.real, places.imag], -1)) > needed
        return np.cumprod(clear, axis=1).sum(1) // self.tics

    def _jumps(self, info: dict) -> int:
        self._no_jump -= 1
        can = info["on_ground"] and self._segment.pace != 2 and self._no_jump <= 0 and self._left >= 1
        if not can or self.rng.random() > self.config.jump:
            return 0
        self._no_jump = self.config.after_jump
        return 1

    def _weapon_event(self, info: dict) -> tuple[int, int]:
        """(attack, weapon), at most one of them 1."""
        self._no_weapon_event -= 1
        if self._no_weapon_event > 0:
            return 0, 0
        draw = self.rng.random()
        if draw < self.config.attack:
            if not info["attack_ready"]:
                return 0, 0
            self._no_weapon_event = self.config.after_shot[int(info["weapon"] == 3)]
            return 1, 0
        if draw < self.config.attack + self.config.weapon:
            self._no_weapon_event = self.config.after_switch
            return 0, 1
        return 0, 0
