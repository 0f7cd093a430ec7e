"""Which pairs are shown, in which order, and who is on which side: `Pair`, `pairs(a, b, …)`.

A and B are folders of finished clips, as `python -m worldgym.eval --save-clips` writes them: results/<suite>/clips/<entry>.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from worldgym import untrusted
from worldgym.arena.votes import Sides
from worldgym.errors import InputError
from worldgym.eval.protocols.videos import folder_sha256
from worldgym.rng import generator


@dataclasses.dataclass(frozen=True)
class Pair:
    """One question.

    Attributes:
        clip: name of the clip, the same in both folders.
        left: "a" or "b": who is shown on the left.
    """

    clip: str
    left: str


def pairs(a: Path, b: Path, seed: int = 0, count: int | None = None) -> list[Pair]:
    """Clips that both folders have, in random order and each on a random side.

    Args:
        a, b: folders of <clip>.npy.
        seed: decides order and sides.
        count: at most so many; all when None.

    Raises:
        InputError: a folder is missing, or they share no clip.
    """
    names = []
    for folder in (a, b):
        if not folder.is_dir():
            raise InputError(f"there is no folder {str(folder)!r}; make clips by python -m worldgym.eval --save-clips")
        names.append({path.stem for path in folder.glob("*.npy")})
    shared = sorted(names[0] & names[1])
    if not shared:
        raise InputError(f"{str(a)!r} and {str(b)!r} share no clip; both must have answered the same suite and seed")
    rng = generator(seed, "arena")
    order = rng.permutation(len(shared))[: len(shared) if count is None else count]
    return [Pair(shared[i], "ab"[int(side)]) for i, side in zip(order, rng.integers(2, size=len(order)), strict=True)]


def sides(a: Path, b: Path) -> Sides:
    """Whose clips they are: a hash over each side's.

    Raises:
        InputError: a folder is missing or holds no clip.
    """
    for folder in (a, b):
        if not folder.is_dir():
            raise InputError(f"there is no folder {str(folder)!r}; make clips by python -m worldgym.eval --save-clips")
    return Sides(folder_sha256(a), folder_sha256(b))


def load(folder: Path, clip: str) -> np.ndarray:
    """Frames (T, H, W, 3) uint8 of a clip.

    Raises:
        InputError: the file is damaged or no video.
    """
    path = folder / f"{clip}.npy"
    frames = untrusted.array(path, repr(str(path)))
    if frames.ndim != 4 or frames.shape[-1] != 3 or frames.dtype != np.uint8:
        raise InputError(f"{str(path)!r} holds {frames.dtype} {list(frames.shape)}, but uint8 (T, H, W, 3) is needed")
    return frames
