"""Is a clip store what its manifest says? Looked at once, and remembered.

- `check(folder, sha256, arrays)`: hashes all arrays on first opening, later only when a file is another one.

What was checked is remembered in the user's cache folder, by every file's size, time and inode, so that a store that cannot be
written, or that somebody sends with a note of their own, is checked all the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from worldgym import files
from worldgym.errors import InputError


def check(folder: Path, sha256: str, arrays: Mapping[str, np.ndarray], digest) -> None:
    """Hold a store's arrays against its hash.

    Args:
        folder: of the store.
        sha256: what the manifest says.
        arrays: by name, memory-mapped.
        digest: arrays -> their hash.

    Raises:
        InputError: they are others than those that were recorded.
    """
    facts = [[name, *_facts(folder / f"{name}.npy")] for name in sorted(arrays)]
    note = _cache() / f"{hashlib.sha256(str(folder.resolve()).encode()).hexdigest()}.json"
    known = {"sha256": sha256, "files": facts}
    if _read(note) == known:
        return
    if digest(arrays) != sha256:
        raise InputError(
            f"the clip store {str(folder)!r} was changed after it was recorded: its arrays are not those of its hash"
        )
    with contextlib.suppress(OSError):  # where nothing can be remembered, the next opening looks again
        note.parent.mkdir(parents=True, exist_ok=True)
        files.write_json(note, known)


def _facts(path: Path) -> tuple[int, int, int]:
    """Size, time and inode."""
    found = path.stat()
    return found.st_size, found.st_mtime_ns, found.st_ino


def _cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "worldgym" / "stores"


def _read(note: Path) -> object:
    try:
        return json.loads(note.read_text())
    except (OSError, ValueError):
        return None
