"""Files that are whole or not there: temporary name first, then a rename.

- `atomic_path(path)`: write to the path it yields; renamed on success, removed on failure.
- `write_bytes`, `write_json`: the two usual cases. `remove_leftovers(folder)`: what a killed process left half-written.
- `sha256(path)`: hash of a file. `output_folder(path)`: make it and prove that it can be written.
- `claimed(folder)`: nobody else's command writes there meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldgym.errors import InputError

try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path beside `path`; after the block it is synced and renamed, or removed when the block raised."""
    target = Path(path)
    temporary = target.with_name(f"{target.name}.tmp-{os.getpid()}")
    try:
        yield temporary
        with open(temporary, "rb") as file:  # on disk before the name exists: a power cut must not leave an empty file
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except OSError as error:
        if error.filename is None:  # a full disk says only that it is full
            raise OSError(error.errno, error.strerror or str(error), str(target)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Write a file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Write JSON atomically, with sorted keys and NaN refused (a hole is null)."""
    text = json.dumps(value, indent=2, sort_keys=True, allow_nan=False, ensure_ascii=False)
    write_bytes(path, (text + "\n").encode("utf-8", "surrogateescape"))  # a path may hold bytes of another encoding


def remove_leftovers(folder: Path, *below: str) -> None:
    """Remove temporary files of `atomic_path` that a killed process left in a folder, and in folders below it.

    Args:
        folder: where one run at a time writes.
        below: patterns of folders in it, such as "*".
    """
    for pattern in ("", *(f"{name}/" for name in below)):
        for left in folder.glob(f"{pattern}*.tmp-*"):
            left.unlink(missing_ok=True)


def sha256(path: str | os.PathLike) -> str:
    """Hex digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _sha256(file)


@contextlib.contextmanager
def claimed(folder: str | os.PathLike) -> Iterator[None]:
    """Hold an output folder, made if needed, so that a second command with the same one is refused.

    The operating system lets go of it when this process ends, however it does. Of a launch of several processes (torchrun,
    accelerate) the first one holds it for all. File systems that know no locks are used without.

    Raises:
        InputError: another command holds it.
    """
    if fcntl is None or os.environ.get("RANK", "0") != "0":
        yield
        return
    place = os.open(output_folder(folder), os.O_RDONLY)
    try:
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"another command is writing to {str(folder)!r} at this moment; wait for its end or name another folder"
            ) from None
        except OSError:
            pass  # no locks here
        yield
    finally:
        os.close(place)


def _sha256(file: Any) -> str:  # Python 3.10 has no file_digest
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.hexdigest()


def output_folder(path: str | os.PathLike) -> Path:
    """Make the folder if needed and prove that a file can be written in it.

    Raises:
        InputError: the folder cannot be made or written; says why.
    """
    folder = Path(path)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".probe.tmp-"):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(f"cannot write to the output folder {str(folder)!r}: {reason}; name another one") from None
    return folder
