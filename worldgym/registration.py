"""Puts the library's environments into Gymnasium's registry, by name only: nothing heavy is imported before `make`.

- `worldgym/DoomRooms-Game-v0`: the game itself (`worldgym.worlds.doom.DoomWorld`).
- `worldgym/DoomRooms-Token-v0`: a token world model's step (`worldgym.envs.token`), for `make` and `make_vec`.
- `worldgym/DoomRooms-Denoise-v0`: a diffusion world model's step (`worldgym.envs.denoise`), for `make` and `make_vec`.
"""

from __future__ import annotations

import gymnasium as gym

ENTRY_POINTS = {
    "worldgym/DoomRooms-Game-v0": "worldgym.worlds.doom:DoomWorld",
    "worldgym/DoomRooms-Token-v0": "worldgym.envs.token:TokenEnv",
    "worldgym/DoomRooms-Denoise-v0": "worldgym.envs.denoise:DenoiseEnv",
}
VECTOR_ENTRY_POINTS = {
    "worldgym/DoomRooms-Token-v0": "worldgym.envs.token:TokenVectorEnv",
    "worldgym/DoomRooms-Denoise-v0": "worldgym.envs.denoise:DenoiseVectorEnv",
}


def register() -> None:
    """Register every id once."""
    for name, entry_point in ENTRY_POINTS.items():
        if name not in gym.registry:
            gym.register(name, entry_point=entry_point, vector_entry_point=VECTOR_ENTRY_POINTS.get(name))
