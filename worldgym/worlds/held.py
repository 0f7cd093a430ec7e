"""Clips in which one thing is held for some steps at a time, as in WorldCompass' test trajectories (arXiv 2602.09022).

- `HeldPlayer`: a scripted player without jumps, shots and switches. `HeldRecorder`: `play(seed, frames)`, as `Recorder`.
- `open_recorder(world, player)`: a recorder by the name of its player.

"basic": one translation or one rotation at a time. "composite": a translation and a rotation together. "mixed": either.
"""

from __future__ import annotations

import numpy as np

from worldgym.actions import DOOM
from worldgym.errors import unknown
from worldgym.rng import generator
from worldgym.types import Clip
from worldgym.worlds.player import ScriptedPlayer, Walls, _Segment
from worldgym.worlds.recorder import LEAD, Play, Recorder

KINDS = ("basic", "composite", "mixed")
HOLD = 4  # steps per segment
STRAIGHT = ((1, 0), (2, 0), (0, 1), (0, 2))  # move, strafe
SLANTED = ((1, 1), (1, 2), (2, 1), (2, 2))
WANDER = LEAD + 6  # steps of ordinary play before a clip
STOP = 10  # steps of standing still after that, until the momentum is gone
YAW_BINS, PITCH_BINS = (2, 4), (2, 3)  # from, to: 5 to 16 and 3 to 5 degrees per step
LEVEL = 4.0  # degrees of pitch beyond which a pitch goes back to level
AS_MEANT = 12.0  # map units: a held translation must move the camera this far along its axes in its last step


class HeldPlayer(ScriptedPlayer):
    """Holds one segment for `hold` steps, then the next.

    Args:
        kind: one of `KINDS`.
        hold: steps per segment.
        walls, rng, tics: as in `ScriptedPlayer`.
    """

    def __init__(self, kind: str, hold: int, walls: Walls, rng: np.random.Generator, tics: int = 6):
        super().__init__(walls, rng, tics)
        if kind not in KINDS:
            raise unknown("kind of held actions", kind, KINDS)
        self.kind, self.hold = kind, hold

    def _must_plan(self, info: dict) -> bool:
        return self._left <= 0

    def _plan(self, info: dict) -> tuple[_Segment, int]:
        drafts = [self._draft(info) for _ in range(self.config.drafts)]
        free = self._free_steps(np.array([draft[:4] for draft in drafts]), info, self.hold)
        return drafts[int(np.argmax(free))], self.hold  # the first of those that stay free the longest

    def _draft(self, info: dict) -> _Segment:
        rng = self.rng
        both = self.kind == "composite" or self.kind == "mixed" and rng.random() < 0.5
        turns = both or rng.random() < 0.5
        moves = both or not turns
        ways = STRAIGHT + SLANTED if both else STRAIGHT
        move, strafe = ways[rng.integers(len(ways))] if moves else (0, 0)
        pitch_null, yaw_null = (axis.null for axis in DOOM.camera)
        pitch, yaw = pitch_null, yaw_null
        if turns and rng.random() < 0.5:
            yaw += int(rng.integers(YAW_BINS[0], YAW_BINS[1] + 1)) * int(rng.choice((-1, 1)))
        elif turns:
            now = (info["pose"][4] + 180) % 360 - 180
            sign = -np.sign(now) if abs(now) > LEVEL else rng.choice((-1, 1))
            pitch += int(sign) * int(rng.integers(PITCH_BINS[0], PITCH_BINS[1] + 1))
        pace = 2 * int(moves and rng.random() < 0.5)  # crouched: half as fast, so that rooms are large enough
        return _Segment(move, strafe, pace, yaw, pitch)

    def _jumps(self, info: dict) -> int:
        return 0

    def _weapon_event(self, info: dict) -> tuple[int, int]:
        return 0, 0


class HeldRecorder(Recorder):
    """Records held actions: some ordinary play, a stop, then a `HeldPlayer`.

    Args:
        world: name of a world. kind: one of `KINDS`. hold: steps per segment.
    """

    def __init__(self, world: str, kind: str, hold: int = HOLD):
        if kind not in KINDS:
            raise unknown("kind of held actions", kind, KINDS)
        super().__init__(world)
        self.kind, self.hold = kind, hold

    def _try(self, seed: int, start: int, frames: int) -> Play | None:
        image, info = self.world.reset(seed=start)
        if self._walls is None:
            self._walls = Walls(self.world.blocking_lines())
        rng = generator(start, "held", self.kind, self.hold)
        player, null = ScriptedPlayer(self._walls, rng, self.world.config.tics), np.asarray(DOOM.null)
        lead: list[np.ndarray] = []
        for step in range(WANDER + STOP):
            lead.append(player.act(info) if step < WANDER else null)
            image, _, terminated, _, info = self.world.step(lead[-1])
            if terminated:
                return None
        clip = self._held(seed, image, info, frames, rng)
        return clip and Play(clip, np.stack(lead), start)

    def _held(self, seed: int, image: np.ndarray, info: dict, frames: int, rng: np.random.Generator) -> Clip | None:
        """The clip from here on; None where something stood in the way of a held translation."""
        player = HeldPlayer(self.kind, self.hold, self._walls, rng, self.world.config.tics)
        images, actions, poses = [image], [], [info["pose"]]
        for step in range(1, frames):
            actions.append(player.act(info))
            image, _, terminated, _, info = self.world.step(actions[-1])
            images.append(image)
            poses.append(info["pose"])
            held = step % self.hold == 0 or step == frames - 1
            if terminated or held and not _as_meant(actions[-1], poses[-2], poses[-1]):
                return None
        return Clip(np.stack(images), np.stack(actions), np.stack(poses), seed)


def _as_meant(action: np.ndarray, before: np.ndarray, after: np.ndarray) -> bool:
    """Whether the camera moved the way that move and strafe say, seen from before the step."""
    ahead = np.exp(-1j * np.radians(before[3]))  # yaw counts clockwise, the map anti-clockwise
    way = complex(*(after[:2] - before[:2])) / ahead
    forward, right = way.real, -way.imag
    signs = np.array([0, 1, -1])[action[0]], np.array([0, -1, 1])[action[1]]
    return all(sign * part > AS_MEANT for sign, part in zip(signs, (forward, right), strict=True) if sign)


def open_recorder(world: str, player: str = "scripted") -> Recorder:
    """A recorder with the ordinary scripted player, or one of `KINDS` of held actions."""
    if player != "scripted" and player not in KINDS:
        raise unknown("player", player, ("scripted", *KINDS))
    return Recorder(world) if player == "scripted" else HeldRecorder(world, player)
