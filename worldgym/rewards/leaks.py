"""Held-out judges by what they are, not by what they are called: `refuse_held_out(value)`.

Judges are compared by a hash over their weights, so that a copy under another name is one, too. `Guards(held_out=…)` only
watches and is not asked.
"""

from __future__ import annotations

import functools
import hashlib
from pathlib import Path
from typing import Any

import torch

from worldgym import zoo
from worldgym.data import leaks
from worldgym.errors import InputError
from worldgym.models.files import checkpoint

HELD_OUT = ("heldout", "second")  # what the names of bundled judges that evaluate end in


def refuse_held_out(value: Any) -> None:
    """Refuse a judge that evaluates, as a reward.

    Args:
        value: zoo name or path (several joined by "+"), or a module; anything else is let through.

    Raises:
        InputError: it is a held-out judge, and leaks are not allowed.
    """
    if isinstance(value, (str, Path)):
        for name in str(value).split("+"):
            _refuse(_of_file(name), name)
    elif isinstance(value, torch.nn.Module):
        for module in (value, *value.children()):
            _refuse(_of(module.state_dict()), type(module).__name__)


def _refuse(digest: str | None, name: str) -> None:
    held = _held_out().get(digest or "")
    if held:
        leaks.refuse(f"the judge {name!r} is {held!r}, which evaluates")


@functools.lru_cache
def _held_out() -> dict[str, str]:
    """Hash of the weights -> name."""
    names = [name for name in zoo.names() if name.rpartition("-")[2] in HELD_OUT]
    return {digest: name for name in names if (digest := _of_file(name))}


def _of_file(name: str) -> str | None:
    """Hash of a file's weights; None for what is no model file here."""
    if name.startswith("hf://"):
        return None  # the module that comes of it is asked
    try:
        path = zoo.locate(name)
        if path.suffix != ".safetensors" or not path.is_file():
            return None
        return _of_content(path, path.stat().st_mtime_ns)
    except (InputError, OSError):
        return None  # whoever loads it says why


@functools.lru_cache(maxsize=64)
def _of_content(path: Path, _: int) -> str | None:
    return _of(checkpoint.read(path)[2])


def _of(tensors: dict[str, torch.Tensor]) -> str | None:
    """Hash over weights as float32, whatever precision they were written in."""
    if not tensors:
        return None
    found = hashlib.sha256()
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].detach().cpu().float().contiguous().numpy().tobytes())
    return found.hexdigest()
