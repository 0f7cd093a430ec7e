"""Finished pieces of a run on disk, so that a killed run goes on and several processes can do its work.

- `Parts`: pieces of one entry. `Piece`: the rows of some clips and the frames to show.
- `worker()`: which process this is (RANK and WORLD_SIZE, as torchrun and accelerate set them).

A piece is a file, written whole or not at all. Its folder's name is a hash of everything that decides its content, so a
changed run never picks up another's pieces.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import sys
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldgym import files
from worldgym.errors import InputError
from worldgym.eval.results.digests import digest_json

FOLDER = ".parts"
NOTE = "entry.json"
PATIENCE = 1800.0  # seconds without a new piece after which the others are taken for dead


@dataclasses.dataclass(frozen=True)
class Worker:
    """Which of how many processes."""

    rank: int = 0
    world: int = 1

    @property
    def first(self) -> bool:
        """The one that gathers, writes and prints."""
        return self.rank == 0


def worker() -> Worker:
    """From the environment of the launcher.

    Raises:
        InputError: RANK or WORLD_SIZE make no sense.
    """
    rank, world = os.environ.get("RANK", "0"), os.environ.get("WORLD_SIZE", "1")
    if not (rank.isdigit() and world.isdigit() and int(rank) < int(world)):
        raise InputError(f"RANK={rank} and WORLD_SIZE={world} are set, but 0 <= RANK < WORLD_SIZE is needed; unset both")
    return Worker(int(rank), int(world))


@dataclasses.dataclass(frozen=True, eq=False)
class Piece:
    """Some clips of one entry.

    Attributes:
        rows: one per clip.
        seconds: what it took.
        shown: index of the clip in the suite -> (T, H, W, 3) uint8.
    """

    rows: Sequence[Mapping[str, Any]]
    seconds: float
    shown: Mapping[int, np.ndarray]


class Parts:
    """The pieces of one entry.

    Args:
        out: folder of the run.
        identity: JSON values that decide what the pieces hold.
    """

    def __init__(self, out: Path, identity: Mapping[str, Any]):
        self.folder = out / FOLDER / digest_json(identity)[:32]
        self.folder.mkdir(parents=True, exist_ok=True)

    def introduce(self, name: str, modules: Mapping[str, str]) -> None:
        """Leave a note of whose pieces these are, and say so when those of a killed run came from other source files."""
        for path in self.folder.parent.glob(f"*/{NOTE}"):
            known = _note(path)
            changed = [each for each in {**known["modules"], **modules} if known["modules"].get(each) != modules.get(each)]
            if path.parent != self.folder and known["name"] == name and changed:
                print(
                    f"{name!r} changed since the run was stopped ({', '.join(changed)}): its clips are made again",
                    file=sys.stderr,
                )
        files.write_json(self.folder / NOTE, {"name": name, "modules": dict(modules)})

    def write(self, start: int, piece: Piece) -> None:
        """Frames first: when the rows are there, all is there."""
        with files.atomic_path(self.folder / f"{start}.npz") as temporary, open(temporary, "wb") as file:
            np.savez(file, **{str(clip): frames for clip, frames in piece.shown.items()})
        files.write_json(self.folder / f"{start}.json", {"rows": list(piece.rows), "seconds": piece.seconds})

    def read(self, start: int) -> Piece | None:
        """A finished piece, or None."""
        try:
            stored = json.loads((self.folder / f"{start}.json").read_text(encoding="utf-8"))
            with np.load(self.folder / f"{start}.npz", allow_pickle=False) as arrays:
                shown = {int(clip): arrays[clip] for clip in arrays.files}
            return Piece(stored["rows"], stored["seconds"], shown)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile):
            return None

    def wait(self, start: int) -> Piece:
        """A piece that another process makes.

        Raises:
            InputError: nothing new for a long time.
        """
        while (piece := self.read(start)) is None:
            newest = max((path.stat().st_mtime for path in self._all()), default=time.time())
            if time.time() - newest > PATIENCE:
                raise InputError(f"no other process finished anything for {PATIENCE:.0f} s; run the same command again")
            time.sleep(0.05)
        return piece

    def _all(self) -> list[Path]:
        return [*self.folder.parent.rglob("*.json"), self.folder]


def _note(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
        return {"name": str(known["name"]), "modules": dict(known["modules"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"name": "", "modules": {}}


def remove(out: Path) -> None:
    """Forget all pieces, once the result is written, and what a killed run left half-written beside it."""
    files.remove_leftovers(out, "*", "clips/*")
    for path in sorted((out / FOLDER).rglob("*"), reverse=True):
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()
    with contextlib.suppress(OSError):
        (out / FOLDER).rmdir()
