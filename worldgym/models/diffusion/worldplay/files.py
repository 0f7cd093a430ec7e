"""WorldPlay's published weights: read as data, checked name by name, put into a network without a second copy.

- `load`: a folder or a file to a network. `recognise`: which network it holds, if any.
- `weights`: names to tensors of a safetensors file, of shards, or of the distilled model's `model.pt`.

Known files (hub `tencent/HY-WorldPlay`; user-supplied, Tencent's licence): `wan_transformer/`, `ar_model/`, `ar_rl_model/`,
`ar_distilled_action_model/`, and `wan_distilled_model/model.pt` with `generator` and `generator_ema`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from worldgym.errors import InputError, unknown
from worldgym.models.diffusion.worldplay.hunyuan import HunyuanConfig, HunyuanWorldPlay
from worldgym.models.diffusion.worldplay.hunyuan_keys import to_published
from worldgym.models.diffusion.worldplay.network import WorldPlayNetwork
from worldgym.models.diffusion.worldplay.wan import WanConfig, WanWorldPlay
from worldgym.models.files import torch_file

PREFIXES = ("_fsdp_wrapped_module.", "_orig_mod.", "model.")  # what training programs put into names, anywhere in them
GENERATORS = ("generator", "generator_ema")
INDEX, FILES = "*.safetensors.index.json", ("*.safetensors", "*.pt")


@dataclasses.dataclass(frozen=True)
class Kind:
    """One of the networks.

    Attributes:
        name: "5b" or "8b".
        marks: parts of names that only its files have.
        build: config values to a network.
        translate: names as others publish them to the network's own.
    """

    name: str
    marks: tuple[str, ...]
    build: Callable[[Mapping[str, Any]], WorldPlayNetwork]
    translate: Callable[[dict[str, Tensor]], dict[str, Tensor]] = dict


KINDS = (
    Kind("5b", (".action_embedder.", ".to_out_prope."), lambda values: WanWorldPlay(WanConfig.published(values))),
    Kind(
        "8b",
        ("action_in.", ".img_attn_prope_proj."),
        lambda values: HunyuanWorldPlay(HunyuanConfig.published(values)),
        to_published,
    ),
)


def load(
    path: str | Path, dtype: torch.dtype | None = None, device: torch.device | str = "cpu", generator: str = "generator"
) -> WorldPlayNetwork:
    """The network of a folder or file, in evaluation mode and not trainable.

    On a CPU and in the file's own dtype its weights are the file, mapped into memory: nothing is read before it is used.

    Args:
        path: a folder with one model (a `config.json` beside it is read), or a file.
        dtype: of the weights; None keeps the file's. Some stay in float32 in any case, as in the base model.
        device: where they are put, tensor by tensor.
        generator: which of `GENERATORS`, of files that hold both.

    Raises:
        InputError: no such file, a damaged one, one that would run code, no WorldPlay model, or one whose tensors are missing,
            renamed or of another shape; says which.
    """
    tensors, source = weights(path, generator), str(path)
    kind = _kind(tensors)
    if kind is None:
        raise InputError(f"{source!r} holds no WorldPlay model: no name has {' or '.join(m for k in KINDS for m in k.marks)}")
    with torch.device("meta"):
        network = kind.build(_config(Path(path)))
    tensors = kind.translate(tensors)
    found = torch_file.problems(network.state_dict(), tensors)
    if found:
        raise InputError(f"the weights in {source!r} do not fit WorldPlay's {kind.name} network: {'; '.join(found)}")
    for name in list(tensors):
        kept = torch.float32 if any(part in name for part in network.FLOAT32) else dtype
        tensors[name] = tensors[name].to(device, kept)  # one after the other: the file's copy is dropped at once
    network.load_state_dict(tensors, assign=True)
    return network.eval().requires_grad_(False)


def recognise(path: str | Path) -> str | None:
    """ "5b" or "8b" if this is a folder or file with WorldPlay's weights, None if it is anything else that can be read."""
    try:
        kind = _kind(weights(path))
    except InputError:
        return None
    return kind.name if kind else None


def weights(path: str | Path, generator: str = "generator") -> dict[str, Tensor]:
    """Names, without training programs' prefixes, to tensors on the CPU; see `load`."""
    if generator not in GENERATORS:
        raise unknown("generator", generator, GENERATORS)
    tensors: dict[str, Tensor] = {}
    for file in _files(Path(path).expanduser()):
        for name, tensor in _read(file, generator).items():
            plain = _plain(name)
            if plain in tensors:
                raise InputError(f"{str(path)!r} holds {plain!r} twice, once as {name!r}; keep one of them")
            tensors[plain] = tensor
    return tensors


def _read(file: Path, generator: str) -> dict[str, Tensor]:
    if file.suffix == ".safetensors":
        return torch_file.read(file)
    value = torch_file._load(file)
    if isinstance(value, Mapping) and any(name in value for name in GENERATORS):
        if generator not in value:
            raise InputError(f"{str(file)!r} holds no {generator!r}, but {', '.join(map(repr, value))}; choose one of these")
        value = value[generator]
    return torch_file._tensors(value, file)


def _files(path: Path) -> list[Path]:
    """The weight files of a model."""
    if not path.is_dir():
        if not path.is_file():
            raise InputError(f"there is no file or folder {str(path)!r}")
        return [path]
    index = sorted(path.glob(INDEX))
    if len(index) == 1:
        return _shards(index[0])
    for pattern in FILES:
        found = sorted(path.glob(pattern))
        if len(found) == 1 or (found and all("-of-" in file.name for file in found)):
            return found
        if found:
            raise InputError(f"{str(path)!r} holds several models ({', '.join(file.name for file in found)}); name one file")
    raise InputError(f"{str(path)!r} holds no weights; a file that ends in .safetensors or .pt is needed")


def _shards(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
    except (ValueError, KeyError, TypeError, AttributeError):
        raise InputError(f"{str(index)!r} is no index of shards; it needs a 'weight_map' of names to files") from None
    missing = [name for name in names if Path(name).name != name or not (index.parent / name).is_file()]
    if missing:
        raise InputError(f"the shard {missing[0]!r} of {str(index)!r} is not there; download it into the same folder")
    return [index.parent / name for name in names]


def _plain(name: str) -> str:
    for prefix in PREFIXES:
        name = name.replace(prefix, "")
    return name


def _kind(tensors: Mapping[str, Tensor]) -> Kind | None:
    return next((kind for kind in KINDS if any(mark in name for mark in kind.marks for name in tensors)), None)


def _config(path: Path) -> dict[str, Any]:
    """The `config.json` in the model's folder; {} says: the published sizes."""
    file = (path if path.is_dir() else path.parent) / "config.json"
    try:
        values = json.loads(file.read_text()) if file.is_file() else {}
    except ValueError as error:
        raise InputError(f"{str(file)!r} is no JSON file ({error}); download it again") from None
    if not isinstance(values, dict):
        raise InputError(f"{str(file)!r} holds no configuration, but a {type(values).__name__}")
    return values
