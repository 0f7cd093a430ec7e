"""The body of a Llama: embedding, blocks, final norm; reads a key/value cache when given one.

Parameter names are those of Hugging Face's `LlamaModel`, so its weights fit in and ours fit there.

- `Llama`: the whole; `Block`, `Attention`, `GatedMLP`: its parts.
- `rotate`, `attend`: rotary positions and grouped-query attention as plain functions.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, flex_attention

from worldgym.models.layers.attention import attention
from worldgym.models.layers.kv_cache import KVCache


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the new tokens stand; the same for all layers of one pass.

    Attributes:
        cos, sin: (n, 1, head_dim / 2) rotary factors of their positions.
        start: first position, an integer, or a 0-dim tensor on the device.
        cache: keys and values of earlier tokens, or None.
        mask: (n, keys) bool, which keys each token reads, or FlexAttention's block mask of the same; None means causal among
            the new tokens themselves.
    """

    cos: Tensor
    sin: Tensor
    start: int | Tensor = 0
    cache: KVCache | None = None
    mask: Tensor | BlockMask | None = None


def rotate(x: Tensor, place: Place) -> Tensor:
    """Rotary positions, pairing dimension i with i + head_dim/2: (B, n, heads, head_dim) -> same."""
    left, right = x.chunk(2, -1)
    cos, sin = place.cos, place.sin
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1).type_as(x)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | BlockMask | None) -> Tensor:
    """Grouped-query attention; query head h reads key/value head h // (heads / kv_heads).

    Args:
        q: (B, heads, n, head_dim).
        k: (B, kv_heads, keys, head_dim).
        v: (B, kv_heads, keys, head_dim).
        mask: (n, keys) bool or a block mask; None: causal for n > 1, everything for n = 1.

    Returns:
        (B, heads, n, head_dim).
    """
    n, groups = q.shape[2], q.shape[1] // k.shape[1]
    if isinstance(mask, BlockMask):
        return flex_attention(q, k, v, block_mask=mask, enable_gqa=groups > 1)
    if mask is None and n > 1:
        return attention(q, k, v, is_causal=True, enable_gqa=groups > 1)
    # heads that share keys become rows of one head: the cache is read once, not once per query head
    rows = q.reshape(q.shape[0], k.shape[1], groups * n, q.shape[3])
    mask = mask.repeat(groups, 1) if mask is not None else None
    return attention(rows, k, v, attn_mask=mask).reshape(q.shape)


class Attention(nn.Module):
    """Grouped-query self-attention with rotary positions."""

    def __init__(self, hidden: int, heads: int, kv_heads: int):
        super().__init__()
        self.head_dim = hidden // heads
        self.q_proj = nn.Linear(hidden, hidden, bias=False)
        self.k_proj = nn.Linear(hidden, kv_heads * self.head_dim, bias=False)
        self.v_proj = nn.Linear(hidden, kv_heads * self.head_dim, bias=False)
        self.o_proj = nn.Linear(hidden, hidden, bias=False)

    def forward(self, x: Tensor, place: Place, layer: int) -> Tensor:
        """(B, n, hidden) -> same; keys and values go through the cache when there is one."""
        heads = (*x.shape[:2], -1, self.head_dim)
        q = rotate(self.q_proj(x).view(heads), place).transpose(1, 2)
        k = rotate(self.k_proj(x).view(heads), place).transpose(1, 2)
        v = self.v_proj(x).view(heads).transpose(1, 2)
        if place.cache is not None:
            k, v = place.cache.write(layer, k, v, place.start)
        return self.o_proj(attend(q, k, v, place.mask).transpose(1, 2).reshape(x.shape))


class GatedMLP(nn.Module):
    """SwiGLU: down(silu(gate(x)) * up(x))."""

    def __init__(self, hidden: int, mlp: int):
        super().__init__()
        self.gate_proj = nn.Linear(hidden, mlp, bias=False)
        self.up_proj = nn.Linear(hidden, mlp, bias=False)
        self.down_proj = nn.Linear(mlp, hidden, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, n, hidden) -> same."""
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Block(nn.Module):
    """Attention, then MLP, each after a norm and added to the residual stream."""

    def __init__(self, hidden: int, mlp: int, heads: int, kv_heads: int, rms_eps: float):
        super().__init__()
        self.input_layernorm = nn.RMSNorm(hidden, rms_eps)
        self.self_attn = Attention(hidden, heads, kv_heads)
        self.post_attention_layernorm = nn.RMSNorm(hidden, rms_eps)
        self.mlp = GatedMLP(hidden, mlp)

    def forward(self, x: Tensor, place: Place, layer: int) -> Tensor:
        """(B, n, hidden) -> same."""
        x = x + self.self_attn(self.input_layernorm(x), place, layer)
        return x + self.mlp(self.post_attention_layernorm(x))


class Llama(nn.Module):
    """Embedding, blocks, final norm.

    Args:
        rows: embedding rows.
        hidden: width of the residual stream.
        mlp: width of the gated MLP.
        heads: query heads, hidden / heads wide each.
        kv_heads: key/value heads.
        layers: number of blocks.
        max_len: positions of the longest sequence.
        rope_theta: base of the rotary frequencies.
        rms_eps: added to the mean square in RMSNorm.
    """

    def __init__(
        self,
        rows: int,
        hidden: int,
        mlp: int,
        heads: int,
        kv_heads: int,
        layers: int,
        max_len: int,
        rope_theta: float,
        rms_eps: float,
    ):
        super().__init__()
        self.embed_tokens = nn.Embedding(rows, hidden)
        self.layers = nn.ModuleList(Block(hidden, mlp, heads, kv_heads, rms_eps) for _ in range(layers))
        self.norm = nn.RMSNorm(hidden, rms_eps)
        self._rotary = max_len, hidden // heads, rope_theta
        self.make_tables()

    def make_tables(self) -> None:
        """What follows from the sizes alone and is in no file: the rotary factors of every position."""
        max_len, head_dim, theta = self._rotary
        # 1 / theta^x and not theta^-x: a last bit less in common would be 3e-4 in a cosine at position 5,000
        frequencies = 1 / theta ** (torch.arange(0, head_dim, 2) / head_dim)
        angles = torch.arange(max_len)[:, None, None] * frequencies
        self.register_buffer("cos", angles.cos(), persistent=False)
        self.register_buffer("sin", angles.sin(), persistent=False)

    def forward(self, tokens: Tensor, cache: KVCache | None = None, start: int | Tensor = 0) -> Tensor:
        """(B, n) ids at positions from `start` on -> (B, n, hidden), ready for the head."""
        place = self._place(tokens.shape[1], cache, start)
        x = self.embed_tokens(tokens)
        for index, layer in enumerate(self.layers):
            x = layer(x, place, index)
        return self.norm(x)

    def _place(self, n: int, cache: KVCache | None, start: int | Tensor) -> Place:
        if isinstance(start, Tensor):  # fixed shapes for a captured graph: all keys, the unwritten ones masked
            positions = start + torch.arange(n, device=start.device)
            mask = torch.arange(cache.max_len, device=start.device) <= positions[:, None]
            return Place(self.cos[positions], self.sin[positions], start, cache, mask)
        cos, sin = self.cos[start : start + n], self.sin[start : start + n]
        if n == 1 or start == 0:
            return Place(cos, sin, start, cache)
        mask = torch.ones(n, start + n, dtype=torch.bool, device=cos.device).tril(start)
        return Place(cos, sin, start, cache, mask)
