"""Weights as others publish them: `torch.save` files, read as data and never as code.

- `read(path)`: names to tensors, from a .ckpt/.pth/.pt/.bin/.weights or .safetensors file.
- `fill(module, tensors, source)`: put them into a module built on the meta device, without a second copy in memory.
"""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from worldgym.errors import InputError

WRAPPERS = ("state_dict", "model_state_dict", "params", "model")  # under which training programs keep their weights


def read(path: str | Path) -> dict[str, Tensor]:
    """Names to tensors on the CPU; a zip-format file is memory-mapped, so nothing is read before it is used.

    Args:
        path: a file written by `torch.save` or safetensors. Weights may lie under one of `WRAPPERS`.

    Raises:
        InputError: there is no such file, it is damaged, it holds something else than tensors, or it would run code: a
            pickle that names any function is refused before the function is called.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise InputError(f"there is no file {str(path)!r}")
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except SafetensorError as error:
            raise InputError(f"{str(path)!r} is no whole safetensors file ({error}); copy or download it again") from None
    return _tensors(_load(path), path)


def _load(path: Path) -> Any:
    with open(path, "rb") as file:
        mapped = file.read(2) == b"PK"  # before torch 1.6 files were no archives and can't be mapped
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        reason = str(error).strip().splitlines()
        named = next((line for line in reason if "GLOBAL" in line or "global" in line), reason[0] if reason else "")
        raise InputError(
            f"{str(path)!r} holds more than tensors and could run code when loaded, so it was refused ({named[:160]}); "
            "give a file with tensors only"
        ) from None
    except (RuntimeError, EOFError, ValueError, OSError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"{str(path)!r} is no whole torch file ({first[:160]}); copy or download it again") from None


def _tensors(value: Any, path: Path) -> dict[str, Tensor]:
    for name in WRAPPERS:
        if isinstance(value, Mapping) and isinstance(value.get(name), Mapping):
            value = value[name]
    if not isinstance(value, Mapping) or not value or not all(isinstance(x, Tensor) for x in value.values()):
        raise InputError(f"{str(path)!r} holds no state dict (names to tensors), but a {type(value).__name__}")
    return {str(name): tensor for name, tensor in value.items()}


def fill(
    module: nn.Module, tensors: Mapping[str, Tensor], source: str, dtype: torch.dtype | None = torch.float32
) -> nn.Module:
    """The module with these very tensors as its weights: eval mode, not trainable.

    Args:
        module: may have been built under `torch.device("meta")`.
        tensors: exactly the module's names and shapes.
        source: the file's name, for the error's sentence.
        dtype: of floating-point weights; None keeps the file's.

    Raises:
        InputError: names every kind of difference (up to three names each).
    """
    found = problems(module.state_dict(), tensors)
    if found:
        raise InputError(f"the weights in {source!r} do not fit {type(module).__name__}: {'; '.join(found)}")
    wanted = {name: _as(tensor, dtype) for name, tensor in tensors.items()}
    module.load_state_dict(wanted, assign=True)
    return module.eval().requires_grad_(False)


def problems(expected: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> list[str]:
    """What is wrong with a state dict, one phrase per kind of difference; empty when it fits."""
    missing, extra = sorted(expected.keys() - found.keys()), sorted(found.keys() - expected.keys())
    phrases = []
    if missing:
        hints = [_renamed(name, extra) for name in missing[:3]]
        phrases.append(f"missing {', '.join(hints)}{_more(missing)}")
    if extra:
        phrases.append(f"unexpected {', '.join(map(repr, extra[:3]))}{_more(extra)}")
    shapes = [n for n in expected if n in found and expected[n].shape != found[n].shape]
    if shapes:
        said = [f"{n!r} has shape {list(found[n].shape)}, not {list(expected[n].shape)}" for n in shapes[:3]]
        phrases.append(f"{', '.join(said)}{_more(shapes)}")
    return phrases


def _renamed(name: str, extra: list[str]) -> str:
    near = difflib.get_close_matches(name, extra, n=1, cutoff=0.8)
    return f"{name!r}" + (f" (is it {near[0]!r}?)" if near else "")


def _more(names: list[str]) -> str:
    return f" and {len(names) - 3} more" if len(names) > 3 else ""


def _as(tensor: Tensor, dtype: torch.dtype | None) -> Tensor:
    return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor
