"""MineWorld's published files (microsoft/mineworld, MIT): `{300M,700M,1200M}_{16f,32f}.ckpt` and `vae.ckpt`.

- `load(path, …)`: a token model and its codec, ready to use. `split(tensors, source)`: which weight belongs to which.
- `token_config(shapes)`, `vq_config(shapes)`: sizes from shapes.

Files are read as tensors and never as code (`torch_file`), memory-mapped, and put into modules that were built without
memory, so that a checkpoint is in memory once. Shapes tell the size; the number of frames stands in the file's name alone.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Size, Tensor, nn

from worldgym.errors import InputError
from worldgym.models.codecs.vq_codec import VQCodec, VQConfig
from worldgym.models.files import torch_file
from worldgym.models.token.llama_format import PREFIX
from worldgym.models.token.token_model import PRESETS, TokenConfig, TokenModel

PUBLISHED = ("300M", "700M", "1.2B")
HEAD = 64  # width of an attention head in every published model
_PARTS = ("encoder.", "decoder.", "quantize.", "quant_conv.", "post_quant_conv.")
_BODY = ("model.embed_tokens.", "model.layers.", "model.norm.", "lm_head.")
_DERIVED = "rotary_emb.inv_freq"  # some Llama files store what the config already says
_FRAMES = re.compile(r"_(\d+)f(?=[._]|$)")
Shapes = Mapping[str, Size]


def load(
    path: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | None = None,
    max_frames: int | None = None,
) -> tuple[TokenModel | None, VQCodec | None]:
    """What the file holds: (transformer, tokenizer), either of them None, frozen and in eval mode.

    Args:
        path: `300M_16f.ckpt` and its kin, `vae.ckpt`, or the same weights as .bin, .pt or .safetensors.
        device: where to put it.
        dtype: of the weights; None keeps the file's (no copy is made then; weights stay in the file until they are used).
        max_frames: T at most; from the file's name (`_16f`, `_32f`) when left out, else 16.

    Raises:
        InputError: no such file, one that could run code, or weights that are missing, renamed or of another shape.
    """
    path = Path(path).expanduser()
    body, tokenizer = split(torch_file.read(path), str(path))
    token, codec = None, None
    if tokenizer:
        codec = _filled(VQCodec, vq_config(_shapes(tokenizer)), tokenizer, f"{path} (tokenizer)", device, dtype)
    if body:
        config = dataclasses.replace(token_config(_shapes(body)), max_frames=max_frames or _frames_of(path))
        token = _filled(TokenModel, config, body, f"{path} (transformer)", device, dtype)
    return token, codec


def split(tensors: Mapping[str, Tensor], source: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Transformer and tokenizer weights under their modules' own names.

    In the published files the transformer's names begin with "transformer." and the tokenizer's with "tokenizer.model.", or
    "model." in a file of its own. Anything else that training left behind, under those names or others (a discriminator, its
    loss, moving averages, a value head), is left out with a warning.

    Raises:
        InputError: the file holds neither.
    """
    body, tokenizer, others = {}, {}, []
    for name, tensor in tensors.items():
        plain = name.removeprefix("tokenizer.").removeprefix("model.")
        if name.endswith(_DERIVED):
            continue
        if name.removeprefix(PREFIX).startswith(_BODY):
            body[name.removeprefix(PREFIX)] = tensor
        elif plain.startswith(_PARTS):
            tokenizer[plain] = tensor
        else:
            others.append(name)
    if not body and not tokenizer:
        raise InputError(
            f"{source!r} holds no MineWorld weights: its names are like {min(tensors)!r}, "
            f"but should begin with {PREFIX!r} or 'tokenizer.'"
        )
    if others:
        warnings.warn(f"{source!r} also holds {len(others)} weights that are not used, such as {min(others)!r}", stacklevel=3)
    return body, tokenizer


def token_config(shapes: Shapes) -> TokenConfig:
    """The published size that most shapes agree with; where none fits nine tenths of them, sizes read off the shapes."""
    sizes = {name: PRESETS[name] for name in PUBLISHED}
    return _nearest(sizes.values(), TokenModel, shapes) or _token_sizes(shapes)


def vq_config(shapes: Shapes) -> VQConfig:
    """As `token_config`, for the tokenizer."""
    return _nearest([VQConfig()], VQCodec, shapes) or _vq_sizes(shapes)


def empty(cls: type, config: TokenConfig | VQConfig) -> nn.Module:
    """A module without memory for its weights; what follows from its config alone is there."""
    with torch.device("meta"):
        module = cls(config)
    for part in module.modules():
        if hasattr(part, "make_tables"):
            part.make_tables()
    return module


def _filled(cls: type, config, tensors: Mapping[str, Tensor], source: str, device, dtype) -> nn.Module:
    return torch_file.fill(empty(cls, config), tensors, source, dtype).to(device)


def _nearest(configs, cls: type, shapes: Shapes):
    """The config whose weights agree with most shapes, or None; so that one wrong weight is named and the size still known."""
    scored = []
    for config in configs:
        wanted = _expected(cls, config)
        scored.append((sum(shapes.get(name) == shape for name, shape in wanted.items()) / len(wanted), config))
    share, config = max(scored, key=lambda pair: pair[0])
    return config if share >= 0.9 else None


@functools.lru_cache
def _expected(cls: type, config) -> dict[str, Size]:
    return _shapes(empty(cls, config).state_dict())


def _token_sizes(shapes: Shapes) -> TokenConfig:
    rows, hidden = _shape(shapes, "model.embed_tokens.weight", 2)
    kv_rows = _shape(shapes, "model.layers.0.self_attn.k_proj.weight", 2)[0]
    mlp = _shape(shapes, "model.layers.0.mlp.gate_proj.weight", 2)[0]
    if hidden % HEAD or kv_rows % HEAD:
        raise InputError(f"widths {hidden} and {kv_rows} of q and k are no multiples of the head's width {HEAD}")
    layers = 1 + max(int(name.split(".")[2]) for name in shapes if name.startswith("model.layers."))
    return TokenConfig(8192, 336, "minecraft", hidden, mlp, hidden // HEAD, max(kv_rows // HEAD, 1), layers, vocabulary=rows)


def _vq_sizes(shapes: Shapes) -> VQConfig:
    stages = {int(name.split(".")[2]) for name in shapes if name.startswith("encoder.down_blocks.")}
    blocks = {int(name.split(".")[4]) for name in shapes if name.startswith("encoder.down_blocks.0.resnets.")}
    if not stages or not blocks:
        raise InputError("the tokenizer lacks its encoder: no weight begins with 'encoder.down_blocks.0.resnets.'")
    names = [f"encoder.down_blocks.{stage}.resnets.0.conv1.weight" for stage in range(len(stages))]
    codes, embed = _shape(shapes, "quantize.embedding.weight", 2)
    latent = _shape(shapes, "quant_conv.weight", 4)[1]
    channels = tuple(_shape(shapes, name, 4)[0] for name in names)
    return VQConfig(channels, len(blocks), latent, embed, codes, groups=math.gcd(32, *channels))  # 32 wherever it divides


def _shape(shapes: Shapes, name: str, axes: int) -> Size:
    if name not in shapes:
        raise InputError(f"the file lacks {name!r}, from which sizes are read")
    if len(shapes[name]) != axes:
        raise InputError(f"{name!r} has shape {list(shapes[name])}, but {axes} axes were expected")
    return shapes[name]


def _shapes(tensors: Mapping[str, Tensor]) -> dict[str, Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}


def _frames_of(path: Path) -> int:
    found = _FRAMES.search(path.name)
    return int(found[1]) if found else 16
