"""Records clips: a world seed decides its clip, whichever process records it.

- `Play`: a clip and the actions that led to its first frame. `Recorder`: a world and its player, seed in, play out.
- `replay(world, seed, lead, actions)`: the same clip again, from its recipe.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from worldgym.errors import unknown
from worldgym.rng import generator
from worldgym.types import Clip
from worldgym.worlds.doom import WORLDS, DoomWorld
from worldgym.worlds.player import ScriptedPlayer, Walls

LEAD = 6  # steps before the first frame, so that clips begin in the middle of play
ATTEMPTS = 64  # engine seeds that are tried where an episode ends by itself


@dataclasses.dataclass(frozen=True, eq=False)
class Play:
    """A clip and its recipe.

    Attributes:
        clip: frames, actions, poses; `clip.seed` is the world seed it was asked for with.
        lead: (n, A) int64, actions from the start of the episode to the first frame.
        start: the engine's seed (the world seed, or one derived from it where the map ended the first try).
    """

    clip: Clip
    lead: np.ndarray
    start: int


def make_world(name: str) -> DoomWorld:
    """A world by name."""
    if name not in WORLDS:
        raise unknown("world", name, WORLDS)
    return DoomWorld(WORLDS[name])


class Recorder:
    """Keeps one engine open and plays any number of seeds; a seed's clip does not depend on what was played before.

    Args:
        world: name of a world, as "doom-rooms".
    """

    def __init__(self, world: str):
        self.world = make_world(world)
        self._walls: Walls | None = None

    def play(self, seed: int, frames: int) -> Play:
        """Record (frames, H, W, 3) with the scripted player; a longer clip of the same seed begins with the shorter one."""
        for attempt in range(ATTEMPTS):
            start = seed if attempt == 0 else int(generator(seed, "attempt", attempt).integers(2**31))
            play = self._try(seed, start, frames)
            if play is not None:
                return play
        raise RuntimeError(f"no episode of seed {seed} lasted {frames} frames in {ATTEMPTS} tries")

    def close(self) -> None:
        """End the engine."""
        self.world.close()

    def _try(self, seed: int, start: int, frames: int) -> Play | None:
        _, info = self.world.reset(seed=start)
        if self._walls is None:
            self._walls = Walls(self.world.blocking_lines())
        player = ScriptedPlayer(self._walls, generator(start, "player"), self.world.config.tics)
        images, actions, poses = [], [], []
        for step in range(LEAD + frames - 1):
            action = player.act(info)
            image, _, terminated, _, info = self.world.step(action)
            if terminated:
                return None
            actions.append(action)
            if step >= LEAD - 1:
                images.append(image)
                poses.append(info["pose"])
        clip = Clip(np.stack(images), np.stack(actions[LEAD:]), np.stack(poses), seed)
        return Play(clip, np.stack(actions[:LEAD]), start)


def replay(world: DoomWorld, start: int, lead: np.ndarray, actions: np.ndarray, seed: int | None = None) -> Clip:
    """Play a recipe: `lead` up to the first frame, then `actions`; other actions than recorded give the counterfactual.

    Args:
        world: an open world.
        start: engine seed of the episode.
        lead: (n, A) int, n >= 1.
        actions: (T-1, A) int.
        seed: what to call the clip; the engine seed when not given.
    """
    world.reset(seed=start)
    images, poses = [], []
    for step, action in enumerate([*lead, *actions]):
        image, _, _, _, info = world.step(action)
        if step >= len(lead) - 1:
            images.append(image)
            poses.append(info["pose"])
    return Clip(np.stack(images), np.asarray(actions, np.int64), np.stack(poses), start if seed is None else seed)
