"""Names of the 8B's tensors: as published (the network's own), and as `diffusers` has them.

- `to_published`, `to_diffusers`: a state dict in the other form. The two additions keep their published names in both.

Three things are more than another name: the refiner's queries, keys and values are one matrix as published, the final layer's
shift and scale stand in the other order, and so its bias.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

EXACT = {  # published: diffusers
    "img_in.proj": "x_embedder.proj",
    "time_in.mlp.0": "time_embed.timestep_embedder.linear_1",
    "time_in.mlp.2": "time_embed.timestep_embedder.linear_2",
    "txt_in.t_embedder.mlp.0": "context_embedder.time_text_embed.timestep_embedder.linear_1",
    "txt_in.t_embedder.mlp.2": "context_embedder.time_text_embed.timestep_embedder.linear_2",
    "txt_in.c_embedder.linear_1": "context_embedder.time_text_embed.text_embedder.linear_1",
    "txt_in.c_embedder.linear_2": "context_embedder.time_text_embed.text_embedder.linear_2",
    "txt_in.input_embedder": "context_embedder.proj_in",
    "byt5_in.layernorm": "context_embedder_2.norm",
    "byt5_in.fc1": "context_embedder_2.linear_1",
    "byt5_in.fc2": "context_embedder_2.linear_2",
    "byt5_in.fc3": "context_embedder_2.linear_3",
    "vision_in.proj.0": "image_embedder.norm_in",
    "vision_in.proj.1": "image_embedder.linear_1",
    "vision_in.proj.3": "image_embedder.linear_2",
    "vision_in.proj.4": "image_embedder.norm_out",
    "cond_type_embedding": "cond_type_embed",
    "final_layer.linear": "proj_out",
}
REFINER = {
    **{"norm1": "norm1", "norm2": "norm2", "self_attn_proj": "attn.to_out.0"},
    **{"mlp.fc1": "ff.net.0.proj", "mlp.fc2": "ff.net.2", "adaLN_modulation.1": "norm_out.linear"},
}
BLOCK = {
    **{"img_mod.linear": "norm1.linear", "txt_mod.linear": "norm1_context.linear"},
    **{f"img_attn_{x}": f"attn.to_{x}" for x in "qkv"},
    **{f"txt_attn_{x}": f"attn.add_{x}_proj" for x in "qkv"},
    **{f"img_attn_{x}_norm": f"attn.norm_{x}" for x in "qk"},
    **{f"txt_attn_{x}_norm": f"attn.norm_added_{x}" for x in "qk"},
    **{"img_attn_proj": "attn.to_out.0", "txt_attn_proj": "attn.to_add_out"},
    **{"img_mlp.fc1": "ff.net.0.proj", "img_mlp.fc2": "ff.net.2"},
    **{"txt_mlp.fc1": "ff_context.net.0.proj", "txt_mlp.fc2": "ff_context.net.2"},
}
PLACES = (  # where numbered blocks stand: published, diffusers, names within
    ("txt_in.individual_token_refiner.blocks.", "context_embedder.token_refiner.refiner_blocks.", REFINER),
    ("double_blocks.", "transformer_blocks.", BLOCK),
)
PARTS = ("to_q", "to_k", "to_v")
JOINED, SPLIT = ".self_attn_qkv.", ".attn.to_q."
SWAPPED = {"final_layer.adaLN_modulation.1": "norm_out.linear"}


def to_diffusers(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From 1905 tensors to 1913."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if JOINED in name:
            where = _renamed(name.replace(JOINED, ".self_attn_proj."), forward=True)
            for part, piece in zip(PARTS, tensor.chunk(3), strict=True):
                renamed[where.replace("to_out.0", part)] = piece
        else:
            renamed[_renamed(name, forward=True)] = _swapped(tensor) if _base(name) in SWAPPED else tensor
    return renamed


def to_published(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """From 1913 tensors to 1905; tensors that have the published names already stay as they are."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        refiner = name.startswith(PLACES[0][1]) and any(f".attn.{part}." in name for part in PARTS)
        if refiner and SPLIT in name:
            parts = [tensors.get(name.replace("to_q", part)) for part in PARTS]
            where = _renamed(name.replace("to_q", "to_out.0"), forward=False).replace("self_attn_proj", "self_attn_qkv")
            if all(part is not None for part in parts):
                renamed[where] = torch.cat(parts)
        elif not refiner:
            renamed[_renamed(name, forward=False)] = _swapped(tensor) if _base(name) in SWAPPED.values() else tensor
    return renamed


def _renamed(name: str, forward: bool) -> str:
    base, end = _base(name), name[len(_base(name)) :]
    plain = {**EXACT, **SWAPPED}
    table = plain if forward else {there: here for here, there in plain.items()}
    if base in table:
        return table[base] + end
    for here, there, inside in PLACES:
        source, target = (here, there) if forward else (there, here)
        within = inside if forward else {theirs: ours for ours, theirs in inside.items()}
        found = re.fullmatch(re.escape(source) + r"(\d+)\.(.+)", base)
        if found and found[2] in within:
            return f"{target}{found[1]}.{within[found[2]]}{end}"
    return name


def _base(name: str) -> str:
    """Without ".weight" or ".bias"."""
    return re.sub(r"\.(weight|bias)$", "", name)


def _swapped(tensor: Tensor) -> Tensor:
    first, second = tensor.chunk(2)
    return torch.cat([second, first])
