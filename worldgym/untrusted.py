"""What comes from files and command lines that anybody may have written, looked at before anything is done with it.

- `json_object(path, what, fields)`: a JSON object whose fields have the right types.
- `array(path, what)`: a .npy array, mapped into memory. `check_types(cls, values, source)`: values for a dataclass.
- `check_numbers(settings)`: no option is infinite, negative where it counts something, or beyond all measure.

Every failure is one `InputError`.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import math
import tokenize
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np

from worldgym.errors import InputError

LARGEST_JSON = 1 << 26  # bytes
LARGEST_NUMBER = 1e9  # of an option that is no seed
HELD = {"group", "prompt_batch", "batch", "workers", "threads", "micro", "minibatches", "frames", "rows"}  # at once in memory
LARGEST_COUNT = 100_000  # of those
# What numpy raises over a damaged header, which it reads as a piece of Python.
DAMAGE = (ValueError, EOFError, OSError, SyntaxError, OverflowError, MemoryError, TypeError, RecursionError, KeyError)
DAMAGE += (tokenize.TokenError,)


def json_object(path: str | Path, what: str, fields: Mapping[str, type] | None = None) -> dict[str, Any]:
    """A JSON object in UTF-8.

    Args:
        path: of the file, which exists.
        what: the sentence's subject, as in "the manifest of the clip store 'data'".
        fields: that it must have, with the types of their values.
    """
    try:
        size = Path(path).stat().st_size
        if size > LARGEST_JSON:
            raise InputError(f"{what} has {size} bytes; at most {LARGEST_JSON} are read")
        found = json.loads(Path(path).read_bytes().decode())
    except (ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{what} is no JSON in UTF-8: {_short(error)}") from None
    if not isinstance(found, dict):
        raise InputError(f"{what} holds {_kind(found)}, but an object {{…}} is needed")
    for name, wanted in (fields or {}).items():
        if name not in found:
            raise InputError(f"{what} lacks the field {name!r}")
        if not _fits(found[name], wanted):
            raise InputError(f"{what} has {_kind(found[name])} in {name!r}, but {wanted.__name__} is needed")
    return found


def array(path: str | Path, what: str) -> np.ndarray:
    """A .npy array, mapped: a header may promise anything, and nothing is allocated for it. Never a pickle."""
    try:
        found = np.load(path, mmap_mode="r", allow_pickle=False)
    except DAMAGE as error:
        raise InputError(f"{what} is not a readable .npy array: {_short(error)}") from None
    if not isinstance(found, np.ndarray):
        raise InputError(f"{what} is an archive, but a single .npy array is needed")
    return found


def check_types(cls: type, values: Mapping[str, Any], source: str) -> None:
    """Raise when a value does not have the type that the dataclass declares for its field; unknown names pass."""
    hints = get_type_hints(cls)
    for name, value in values.items():
        if name in hints and not _fits(value, hints[name]):
            wanted = getattr(hints[name], "__name__", str(hints[name])) if not get_args(hints[name]) else str(hints[name])
            raise InputError(f"{source} has {_kind(value)} in {name!r}, but {wanted} is needed")


def check_numbers(settings: Any) -> None:
    """Look at every number of a command's options, those of nested settings included."""
    for field in dataclasses.fields(settings):
        value = getattr(settings, field.name)
        if dataclasses.is_dataclass(value):
            check_numbers(value)
            continue
        for number in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(number, (int, float)) and not isinstance(number, bool):
                _check_number(field.name, number)


def _check_number(name: str, value: float) -> None:
    option = "--" + name.replace("_", "-")
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{option} is {value}, but a finite number is needed")
    if name == "port" and not 0 <= value <= 65535:
        raise InputError(f"{option} is {value}, but ports go from 0 to 65535")
    if name in HELD and not 0 <= value <= LARGEST_COUNT:
        raise InputError(f"{option} is {value}, but it must be from 0 to {LARGEST_COUNT}")
    limit = 2**63 - 1 if "seed" in name else LARGEST_NUMBER
    if abs(value) > limit:
        raise InputError(f"{option} is {value}, but at most {limit:g} is allowed")


def _fits(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any or hint is None and value is None:
        return True
    if origin in (Union, types.UnionType):
        return any(_fits(value, each) for each in arguments)
    if origin is tuple:
        inner = arguments[:1] * len(value) if isinstance(value, (list, tuple)) and arguments[1:] == (...,) else arguments
        return isinstance(value, (list, tuple)) and len(value) == len(inner) and all(map(_fits, value, inner))
    if origin in (collections.abc.Mapping, dict):
        return isinstance(value, Mapping) and all(_fits(each, arguments[1]) for each in value.values())
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool) and abs(value) <= LARGEST_NUMBER
    return not isinstance(hint, type) or isinstance(value, hint) or dataclasses.is_dataclass(hint)


def _kind(value: Any) -> str:
    return f"{type(value).__name__} {_short(value)!r}"


def _short(value: Any) -> str:
    return " ".join(str(value).split())[:120]
