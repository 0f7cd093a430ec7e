"""Model files: safetensors whose metadata say what the tensors are.

The metadata key "worldgym" holds JSON: {"format": 1, "kind": "token", "config": {...}, ...extra}. No pickle anywhere.

- `save(path, module, kind, extra)`: write a module atomically. `read(path)`: config, kind, tensors, metadata.
- `write_tensors`, `read_tensors`: the same for any tensors and any JSON (training state).
- `build(cls, path, …)`: a module of class `cls` from what was read, with errors that name the wrong keys.
"""

from __future__ import annotations

import dataclasses
import errno
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_type_hints

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from worldgym.errors import InputError
from worldgym.files import atomic_path
from worldgym.untrusted import check_types

FORMAT = 1
KEY = "worldgym"


def save(
    path: str | os.PathLike,
    module: nn.Module,
    kind: str,
    extra: Mapping[str, Any] | None = None,
    *,
    tensors: Mapping[str, torch.Tensor] | None = None,
    half: bool = False,
) -> None:
    """Write a module's weights and config into one file, atomically.

    Args:
        module: has a `config`, a frozen dataclass.
        kind: what the zoo builds from it, as in "token".
        extra: more JSON for the metadata, as in `{"codec": "doom-rooms/frame-codec"}`.
        tensors: weights to write instead of the module's own, under the same names (averaged weights).
        half: write float tensors as float16, half the size.
    """
    tensors = dict(module.state_dict() if tensors is None else tensors)
    if half:
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    config = dataclasses.asdict(module.config)
    write_tensors(path, tensors, {**(extra or {}), "kind": kind, "config": config, "format": FORMAT})


def read(path: str | os.PathLike) -> tuple[dict, str, dict[str, torch.Tensor], dict]:
    """Read a model file: (config, kind, tensors on the CPU, all metadata).

    Raises:
        InputError: the file is missing, truncated, no safetensors, or holds no worldgym model.
    """
    tensors, metadata = read_tensors(path)
    if not isinstance(metadata, dict):
        raise InputError(f"{str(path)!r} holds no model: its worldgym metadata are no JSON object")
    missing = {"kind", "config", "format"} - set(metadata)
    if missing:
        raise InputError(f"{str(path)!r} holds no model: its worldgym metadata lack {', '.join(sorted(missing))}")
    if metadata["format"] != FORMAT:
        raise InputError(f"{str(path)!r} has model format {metadata['format']}, this version reads {FORMAT}: update worldgym")
    for name, kind in (("kind", str), ("config", dict)):
        if not isinstance(metadata[name], kind):
            raise InputError(f"{str(path)!r} holds no model: {name!r} in its worldgym metadata is {metadata[name]!r:.100}")
    return metadata["config"], metadata["kind"], tensors, metadata


def write_tensors(path: str | os.PathLike, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, Any]) -> None:
    """Write named tensors and JSON metadata into one file, atomically.

    Raises:
        OSError: the disk is full, or the file cannot be written.
    """
    # Copies: safetensors refuses tensors that share memory (tied weights, views).
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        try:
            save_file(plain, temporary, {KEY: json.dumps(metadata, sort_keys=True, allow_nan=False)})
        except SafetensorError as error:
            raise _as_os_error(error, path) from None
        temporary.chmod(0o644)  # the library makes files that only their owner can read


def read_tensors(path: str | os.PathLike) -> tuple[dict[str, torch.Tensor], dict]:
    """Read what `write_tensors` wrote: (tensors on the CPU, metadata).

    Raises:
        InputError: the file is missing, truncated, no safetensors, or has no worldgym metadata.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            if KEY in metadata:
                return {name: file.get_tensor(name) for name in file.keys()}, json.loads(metadata[KEY])
    except (SafetensorError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(_unreadable(path, error)) from None
    raise InputError(f"{str(path)!r} is a safetensors file without worldgym metadata; it was not written by worldgym")


def config_from(cls: type, values: Mapping[str, Any], source: str) -> Any:
    """A config dataclass from JSON values; lists become tuples, wrong field names are named.

    Raises:
        InputError: a field is unknown or missing.
    """
    fields = {field.name: field for field in dataclasses.fields(cls)}
    extra = sorted(set(values) - set(fields))
    required = {n for n, f in fields.items() if f.default is f.default_factory is dataclasses.MISSING}
    missing = sorted(required - set(values))
    if extra or missing:
        raise InputError(f"the config in {source} does not fit {cls.__name__}: {_difference(missing, extra)}")
    check_types(cls, values, f"the config in {source}")
    return cls(**{name: _tuples(value) for name, value in values.items()})


def build(cls: type, config: Mapping[str, Any], tensors: Mapping[str, torch.Tensor], source: str) -> nn.Module:
    """A module of class `cls` with these weights, float32, in eval mode, not trainable.

    Args:
        cls: takes its config (a frozen dataclass) as the only argument.
        config: JSON values of that dataclass.
        source: the file's name for error sentences.

    Raises:
        InputError: keys or shapes do not fit; says which.
    """
    module = cls(config_from(get_type_hints(cls.__init__)["config"], config, repr(source)))
    _check(module.state_dict(), tensors, repr(source))
    module.load_state_dict(dict(tensors))  # copies into float32 parameters
    return module.eval().requires_grad_(False)


def _check(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor], source: str) -> None:
    missing, extra = sorted(set(expected) - set(found)), sorted(set(found) - set(expected))
    if missing or extra:
        raise InputError(f"the weights in {source} do not fit their config: {_difference(missing, extra)}")
    for name, tensor in expected.items():
        if found[name].shape != tensor.shape:
            have, want = list(found[name].shape), list(tensor.shape)
            raise InputError(f"weight {name!r} in {source} has shape {have}, its config needs {want}")


def _difference(missing: list[str], extra: list[str]) -> str:
    parts = [(word, names) for word, names in (("missing", missing), ("unexpected", extra)) if names]
    return "; ".join(f"{word} {', '.join(names[:3])}{_more(names[3:])}" for word, names in parts)


def _more(names: list[str]) -> str:
    return f" and {len(names)} more" if names else ""


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _unreadable(path: Path, error: Exception) -> str:
    with open(path, "rb") as file:
        head = file.read(2)
    if head in (b"PK", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"):
        return f"{str(path)!r} is a pickle (a torch.save file), which can run code when loaded; give a .safetensors file"
    return f"{str(path)!r} is no whole safetensors file ({error}); it may be truncated: copy or download it again"


def _as_os_error(error: Exception, path: str | os.PathLike) -> OSError:
    """The library wraps the system's errors in text: "... (os error 28)"."""
    found = re.search(r"os error (\d+)", str(error))
    code = int(found[1]) if found else errno.EIO
    return OSError(code, os.strerror(code) if found else str(error), str(path))
