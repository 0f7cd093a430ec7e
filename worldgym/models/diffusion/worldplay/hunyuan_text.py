"""What the 8B network is told in words and pictures, before its blocks: keyed like the published file.

- `Told`: states of the three encoders, one prompt per row.
- `TextIn`: Qwen's states, refined. `GlyphIn`: byT5's. `VisionIn`: SigLIP's.

Tokens stand in the order vision, glyphs, text, without padding. They are read at timestep 0 and never see the video.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym.models.diffusion.worldplay.embedding import Embedder, sinusoid


@dataclasses.dataclass(frozen=True, eq=False)
class Told:
    """Encoder states of C prompts; each part may be left out.

    Attributes:
        text: (C, S, 3584) of Qwen2.5-VL, and text_mask: (C, S), which of them are no padding.
        glyphs: (C, S', 1472) of byT5, and glyphs_mask: (C, S').
        vision: (C, S'', 1152) of SigLIP for the first image.
    """

    text: Tensor | None = None
    text_mask: Tensor | None = None
    glyphs: Tensor | None = None
    glyphs_mask: Tensor | None = None
    vision: Tensor | None = None
    rows: int = 1

    def __len__(self) -> int:
        """C."""
        return next((len(x) for x in (self.text, self.glyphs, self.vision) if x is not None), self.rows)

    def __getitem__(self, rows: slice) -> Told:
        values = [getattr(self, name) for name in ("text", "text_mask", "glyphs", "glyphs_mask", "vision")]
        return Told(*(x if x is None else x[rows] for x in values), rows=len(range(len(self))[rows]))


class TimeIn(nn.Module):
    """A number as a vector: two linear layers on its sinusoid, keyed `mlp.0` and `mlp.2`."""

    def __init__(self, frequencies: int, hidden: int):
        super().__init__()
        self.frequencies = frequencies
        self.mlp = nn.Sequential(nn.Linear(frequencies, hidden), nn.SiLU(), nn.Linear(hidden, hidden))

    def forward(self, x: Tensor) -> Tensor:
        """(…,) to (…, D)."""
        return self.mlp(sinusoid(x, self.frequencies).to(self.mlp[0].weight.dtype))


class Mlp(nn.Module):
    """Two linear layers, keyed `fc1` and `fc2`."""

    def __init__(self, hidden: int, inner: int, activation: nn.Module):
        super().__init__()
        self.fc1, self.fc2, self.activation = nn.Linear(hidden, inner), nn.Linear(inner, hidden), activation

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) to (…, D)."""
        return self.fc2(self.activation(self.fc1(x)))


class RefinerBlock(nn.Module):
    """Self-attention and feed-forward among a prompt's tokens, each with a gate of time and the prompt's mean."""

    def __init__(self, hidden: int, heads: int, inner: int, eps: float):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = (nn.LayerNorm(hidden, eps=eps) for _ in range(2))
        self.self_attn_qkv, self.self_attn_proj = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.mlp = Mlp(hidden, inner, nn.SiLU())
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """x (1, S, D), vector (1, D)."""
        gate_a, gate_m = self.adaLN_modulation(vector)[:, None].chunk(2, -1)
        q, k, v = self.self_attn_qkv(self.norm1(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        x = x + self.self_attn_proj(mixed) * gate_a
        return x + self.mlp(self.norm2(x)) * gate_m


class Refiner(nn.Module):
    """The refiner's blocks, keyed `blocks`."""

    def __init__(self, layers: int, *sizes: float):
        super().__init__()
        self.blocks = nn.ModuleList(RefinerBlock(*sizes) for _ in range(layers))


class TextIn(nn.Module):
    """Qwen's states to tokens."""

    def __init__(self, text: int, frequencies: int, hidden: int, heads: int, inner: int, layers: int, eps: float):
        super().__init__()
        self.input_embedder = nn.Linear(text, hidden)
        self.t_embedder, self.c_embedder = TimeIn(frequencies, hidden), Embedder(text, hidden)
        self.individual_token_refiner = Refiner(layers, hidden, heads, inner, eps)

    def forward(self, states: Tensor) -> Tensor:
        """(1, S, text), no padding, to (1, S, D)."""
        vector = self.t_embedder(states.new_zeros(1)) + self.c_embedder(states.mean(1))
        x = self.input_embedder(states)
        for block in self.individual_token_refiner.blocks:
            x = block(x, vector)
        return x


class GlyphIn(nn.Module):
    """byT5's states to tokens."""

    def __init__(self, glyph: int, inner: int, hidden: int):
        super().__init__()
        self.layernorm = nn.LayerNorm(glyph)
        self.fc1, self.fc2, self.fc3 = nn.Linear(glyph, inner), nn.Linear(inner, inner), nn.Linear(inner, hidden)

    def forward(self, states: Tensor) -> Tensor:
        """(1, S, glyph) to (1, S, D)."""
        return self.fc3(F.gelu(self.fc2(F.gelu(self.fc1(self.layernorm(states))))))


class VisionIn(nn.Module):
    """SigLIP's states to tokens, keyed `proj.{0,1,3,4}`."""

    def __init__(self, vision: int, hidden: int):
        super().__init__()
        layers = nn.LayerNorm(vision), nn.Linear(vision, vision), nn.GELU(), nn.Linear(vision, hidden), nn.LayerNorm(hidden)
        self.proj = nn.Sequential(*layers)

    def forward(self, states: Tensor) -> Tensor:
        """(1, S, vision) to (1, S, D)."""
        return self.proj(states)


def valid(states: Tensor | None, mask: Tensor | None, row: int) -> Tensor | None:
    """(1, S, width) of one row without its padding; None if nothing is left."""
    if states is None:
        return None
    kept = states[row] if mask is None else states[row][mask[row].bool()]
    return kept[None] if len(kept) else None


def padded(rows: list[Tensor]) -> tuple[Tensor, tuple[int, ...] | None]:
    """Rows (1, heads, S, d) of different S as one tensor, and their lengths where they differ."""
    lengths = tuple(row.shape[2] for row in rows)
    longest = max(lengths)
    full = torch.cat([F.pad(row, (0, 0, 0, longest - row.shape[2])) for row in rows])
    return full, None if len(set(lengths)) == 1 else lengths
