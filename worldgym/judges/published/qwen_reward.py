"""The network behind HPSv3 and VideoAlign: Qwen2-VL (through `transformers`) with a small head read at special tokens.

- `QwenReward`: tokens and patches in, head outputs at the special tokens out. `SIZES`: "2B", "7B".
- `load(...)`: from published weights, whose names are those of transformers before 4.52. `patches(frames)`: what it sees.

Both programs call the language model without position ids, and the transformers they were trained with then counts tokens
from 0 on all three axes; newer versions would work out places in the picture. Here positions are counted, as there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym.errors import InputError
from worldgym.models.files import torch_file

VISION = {"depth": 32, "embed_dim": 1280, "num_heads": 16, "mlp_ratio": 4, "patch_size": 14}
VISION |= {"spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3}
COMMON = {"rms_norm_eps": 1e-6, "rope_theta": 1e6, "max_position_embeddings": 32768}
SIZES = {
    "2B": {
        "text": {"hidden_size": 1536, "intermediate_size": 8960, "num_hidden_layers": 28, "num_attention_heads": 12},
        "kv": 2,
        "sections": [16, 24, 24],
    },
    "7B": {
        "text": {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28},
        "kv": 4,
        "sections": [16, 24, 24],
    },
}
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
IMAGE, VIDEO = 151655, 151656  # token ids that stand for what is seen
CELL = 28  # pixels of a token: 2x2 patches of 14


def network(size: Mapping[str, Any], rows: int, vision: Mapping[str, Any] = VISION) -> nn.Module:
    """Qwen2-VL without its vocabulary head.

    Args:
        size: an entry of `SIZES`. rows: of the token table, special tokens included. vision: of the picture network.

    Raises:
        InputError: transformers is not installed or too old.
    """
    try:
        from transformers.models.qwen2_vl.configuration_qwen2_vl import Qwen2VLConfig
        from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel
    except ImportError:
        raise InputError('HPSv3 and VideoAlign need transformers 4.52 or newer: pip install "transformers>=4.52"') from None
    text = {**COMMON, **size["text"], "num_key_value_heads": size["kv"], "vocab_size": rows}
    text["rope_scaling"] = {"rope_type": "default", "type": "mrope", "mrope_section": size["sections"]}
    config = Qwen2VLConfig(text_config=text, vision_config={**vision, "hidden_size": text["hidden_size"]})
    return Qwen2VLModel(config)


def head(kind: str, hidden: int) -> nn.Module:
    """ "linear": three numbers (VideoAlign). "deep": mean and deviation (HPSv3)."""
    if kind == "linear":
        return nn.Linear(hidden, 3, bias=False)
    return nn.Sequential(
        nn.Linear(hidden, 1024), nn.ReLU(), nn.Dropout(0.05), nn.Linear(1024, 16), nn.ReLU(), nn.Linear(16, 2)
    )


class QwenReward(nn.Module):
    """Numbers about a picture or video and a text.

    Args:
        body: from `network`. rm_head: from `head`.
    """

    def __init__(self, body: nn.Module, rm_head: nn.Module):
        super().__init__()
        self.body, self.rm_head = body, rm_head

    @torch.no_grad()
    def forward(self, tokens: Tensor, seen: Tensor, grid: Tensor, special: Sequence[int], stand_in: int = IMAGE) -> Tensor:
        """Head outputs at every special token.

        Args:
            tokens: (L,) int64, `stand_in` where what is seen comes in.
            seen: (n, 1176) patches. grid: (3,) int64 frame pairs, rows and columns of patches.
            special: ids of the tokens to read at. stand_in: `IMAGE` or `VIDEO`.

        Returns:
            (special tokens in the text, outputs) float32.

        Raises:
            InputError: the text has another number of places for patches than there are patches.
        """
        words = self.body.language_model.embed_tokens(tokens[None])
        kept = tokens == stand_in
        dtype = words.dtype
        output = self.body.visual(seen.to(dtype), grid_thw=grid[None])
        pictures = output.pooler_output if hasattr(output, "pooler_output") else output
        pictures = torch.cat(list(pictures)) if isinstance(pictures, (tuple, list)) else pictures
        if int(kept.sum()) != len(pictures):
            raise InputError(f"the text keeps {int(kept.sum())} places, but {len(pictures)} are needed for what is seen")
        words = words.masked_scatter(kept[None, :, None].expand_as(words), pictures.to(dtype))
        places = torch.arange(len(tokens), device=tokens.device).expand(3, 1, -1)
        hidden = self.body.language_model(inputs_embeds=words, position_ids=places, use_cache=False).last_hidden_state[0]
        read = torch.isin(tokens, torch.tensor(list(special), device=tokens.device))
        weight = next(self.rm_head.parameters()).dtype
        return self.rm_head(hidden[read].to(weight)).float()


def renamed(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of the published files, or of newer transformers, as ours; the vocabulary head is left out."""
    ours = {}
    for name, tensor in state.items():
        name = re.sub(r"^base_model\.model\.", "", name)
        if name.startswith("lm_head."):
            continue
        if not name.startswith("rm_head."):
            name = re.sub(r"^model\.(?=visual\.|language_model\.)", "", name)
            name = re.sub(r"^model\.", "language_model.", name)
            name = f"body.{name}"
        ours[name] = tensor
    return ours


def load(
    path: str | Path, size: str, kind: str, device: str | torch.device = "cpu", dtype: torch.dtype = torch.bfloat16
) -> QwenReward:
    """The network with published weights, built without memory and filled from the mapped file.

    Args:
        path: .safetensors or .pth. size: key of `SIZES`. kind: of head. device, dtype: where and in which precision; the
            head stays float32.

    Raises:
        InputError: no such file, one that would run code, or weights that do not fit.
    """
    state = renamed(torch_file.read(path))
    rows = (
        len(state["body.language_model.embed_tokens.weight"]) if "body.language_model.embed_tokens.weight" in state else 151657
    )
    with torch.device("meta"):
        model = QwenReward(network(SIZES[size], rows), head(kind, SIZES[size]["text"]["hidden_size"]))
    kinds = {name: torch.float32 if name.startswith("rm_head.") else dtype for name in state}
    state = {name: tensor.to(kinds[name]) if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    torch_file.fill(model, state, str(path), dtype=None)
    _fill_buffers(model)
    return model.to(device)


def _fill_buffers(model: QwenReward) -> None:
    """Rotary frequencies are in no file: they are worked out again, off the meta device."""
    for module in model.modules():
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_meta:
                fresh = type(module)(module.dim) if hasattr(module, "dim") else type(module)(module.config)
                module.register_buffer(name, dict(fresh.named_buffers())[name], persistent=False)


def patches(frames: Tensor) -> tuple[Tensor, Tensor]:
    """Frames as the picture network wants them: pairs of frames, 2x2 groups of patches of 14 pixels, normalised.

    Args:
        frames: (T, H, W, 3) uint8 RGB; H and W multiples of 28. An odd frame at the end is doubled; a picture is one frame.

    Returns:
        (n, 1176) float32 and (3,) int64: frame pairs, rows and columns of patches.
    """
    if frames.shape[1] % CELL or frames.shape[2] % CELL:
        raise InputError(
            f"frames are {frames.shape[1]}x{frames.shape[2]} pixels; height and width must be multiples of {CELL}"
        )
    if len(frames) % 2:
        frames = torch.cat([frames, frames[-1:]])
    x = frames.movedim(-1, 1).float() / 255
    mean, std = (torch.tensor(v, device=x.device)[:, None, None] for v in (MEAN, STD))
    x = (x - mean) / std
    pairs, rows, columns = len(x) // 2, x.shape[2] // 14, x.shape[3] // 14
    x = x.reshape(pairs, 2, 3, rows // 2, 2, 14, columns // 2, 2, 14)
    cut = x.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)  # pair, big row, big column, row, column | channel, frame, y, x
    return cut.reshape(pairs * rows * columns, -1), torch.tensor([pairs, rows, columns], device=x.device)


def fitted(frames: Tensor, lowest: int, highest: int) -> Tensor:
    """Frames (T, H, W, 3) uint8 resized so that height x width lies in the budget (pixels) and both are multiples of 28."""
    height, width = frames.shape[1:3]
    rows, columns = (max(CELL, round(side / CELL) * CELL) for side in (height, width))
    if rows * columns > highest:
        shrink = (height * width / highest) ** 0.5
        rows, columns = (max(CELL, int(side / shrink / CELL) * CELL) for side in (height, width))
    elif rows * columns < lowest:
        grow = (lowest / (height * width)) ** 0.5
        rows, columns = (-int(-side * grow // CELL) * CELL for side in (height, width))
    whole = frames.cpu().movedim(-1, 1)  # in whole numbers, as both programs do it, which only the CPU can
    return F.interpolate(whole, size=(rows, columns), mode="bicubic", antialias=True).movedim(1, -1).to(frames.device)
