"""Hashes of arrays and of JSON values, the same on every machine.

- `digest(*arrays)`: over dtypes, shapes and bytes. `digest_json(value)`: over canonical JSON. `chain(parts)`: over hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

import numpy as np


def digest(*arrays: np.ndarray) -> str:
    """sha256 over dtypes, shapes and bytes."""
    hashed = hashlib.sha256()
    for array in arrays:
        array = np.ascontiguousarray(array)
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
        hashed.update(f"{array.dtype.str}{array.shape}".encode())
        hashed.update(array.data)
    return hashed.hexdigest()


def digest_json(value: Any) -> str:
    """sha256 over JSON with sorted keys and no spaces; NaN is refused."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def chain(parts: Iterable[str | None]) -> str:
    """sha256 over hashes in their order; a hole (None) counts as "-"."""
    return hashlib.sha256("\n".join(part or "-" for part in parts).encode()).hexdigest()
