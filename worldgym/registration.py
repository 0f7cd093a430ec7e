"""Puts the library's environments into Gymnasium's registry, by name only: nothing heavy is imported before `make`.

- `worldgym/DoomRooms-Game-v0`: the game itself (`worldgym.worlds.doom.DoomWorld`).
"""

from __future__ import annotations

import gymnasium as gym

ENTRY_POINTS = {"worldgym/DoomRooms-Game-v0": "worldgym.worlds.doom:DoomWorld"}


def register() -> None:
    """Register every id once."""
    for name, entry_point in ENTRY_POINTS.items():
        if name not in gym.registry:
            gym.register(name, entry_point=entry_point)
