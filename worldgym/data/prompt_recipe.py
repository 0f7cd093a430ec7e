"""Which prompts somebody had, as JSON values, and what proves that they were found again.

- `PromptRecipe`: names, hashes, and how the game makes the clips again. `Game`: that last part.
- `digest(prompts)`: hash of all that a prompt is made of.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from worldgym.errors import InputError
from worldgym.types import Prompts


@dataclasses.dataclass(frozen=True)
class Game:
    """How the game makes a clip from a world seed.

    Attributes:
        world: its name, as "doom-rooms".
        frames: of a clip; prompts are windows of it.
        player: "scripted", or a kind of held actions, see `worldgym.worlds.held`.
        versions: of what decides about the pixels, for people to read.
    """

    world: str
    frames: int
    player: str = "scripted"
    versions: str = ""

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> Game | None:
        """From a clip store's manifest; None where the game did not make it."""
        if "config" not in manifest or "versions" not in manifest:
            return None
        versions = ", ".join(f"{name} {version}" for name, version in sorted(manifest["versions"].items()))
        return cls(manifest["world"], manifest["frames"], manifest.get("player", "scripted"), versions)


@dataclasses.dataclass(frozen=True)
class PromptRecipe:
    """Which prompts, and how to get them again.

    Attributes:
        ids: B names: "<world>/<seed>/<first frame>" of a clip, "<file>/<first frame>" of a Minecraft recording.
        frames: T, prefix included.
        sha256: `digest` of the prompts.
        store: sha256 of the clip store they are windows of; None for recordings.
        game: how the game made that store; None where it did not.
    """

    ids: tuple[str, ...]
    frames: int
    sha256: str
    store: str | None = None
    game: Game | None = None

    @classmethod
    def of(cls, prompts: Prompts, store: str | None = None, game: Game | None = None) -> PromptRecipe:
        """The recipe of prompts that are there; `store` and `game` as in the class."""
        return cls(tuple(prompts.ids), prompts.truth.shape[1], digest(prompts), store, game)

    @classmethod
    def read(cls, values: Mapping[str, Any]) -> PromptRecipe:
        """From JSON values.

        Raises:
            InputError: they are no recipe of prompts.
        """
        try:
            game = values.get("game")
            recipe = cls(**{**values, "ids": tuple(values["ids"]), "game": Game(**game) if game else None})
            _ = recipe.windows
        except (TypeError, ValueError, KeyError, IndexError, AttributeError) as error:
            raise InputError(f"prompt_recipe is no recipe of prompts ({error}); take it from a run's env.json") from None
        return recipe

    def values(self) -> dict[str, Any]:
        """JSON values, as `read` takes them."""
        return {**dataclasses.asdict(self), "ids": list(self.ids)}

    @property
    def windows(self) -> list[tuple[str, int]]:
        """B pairs: a clip's world seed, or a recording's file without its ending, and the window's first frame."""
        parts = [name.split("/") for name in self.ids]
        return [(part[-2], int(part[-1])) for part in parts]


def digest(prompts: Prompts) -> str:
    """SHA-256 over ids, actions and all frames; how many of them are given does not matter."""
    found = hashlib.sha256("\n".join(prompts.ids).encode())
    for array in (prompts.actions, prompts.truth):
        found.update(f"\n{array.dtype} {array.shape}\n".encode())
        for row in array:
            found.update(np.ascontiguousarray(row).data)
    return found.hexdigest()
