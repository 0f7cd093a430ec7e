"""Blocks of the diffusion transformer: adaLN-zero, rotary positions in three parts, gated MLP.

- `rope_angles`, `turns`, `rotate`: positions in time, height and width. `modulate`: adaLN. `Block`: attention and gated MLP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym.models.layers.attention import steady


def rope_angles(head_dim: int, sizes: Sequence[int], theta: float) -> Tensor:
    """(T, L, d/2) rotary angles: the pairs of a head are split between time, height and width.

    Args:
        head_dim: d, width of a head.
        sizes: frames T, rows and columns of tokens; L is rows times columns.
        theta: base of the frequencies.
    """
    space = head_dim // 6  # pairs for height, and for width; time gets the rest
    pairs = (head_dim // 2 - 2 * space, space, space)
    axes = torch.meshgrid(*(torch.arange(size, dtype=torch.float32) for size in sizes), indexing="ij")
    rates = (theta ** (-torch.arange(n, dtype=torch.float32) / max(n, 1)) for n in pairs)
    angles = [axis[..., None] * rate for axis, rate in zip(axes, rates, strict=True)]
    return torch.cat(angles, dim=-1).flatten(1, 2)


def turns(angles: Tensor) -> Tensor:
    """Cosines and sines of (N, d/2) angles: (2, N, d/2), once for all layers."""
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, turn: Tensor) -> Tensor:
    """Rotate pairs (i, i + d/2) of x (B, heads, N, d) by `turns` (2, N, d/2)."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = turn
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """AdaLN: normalise without own parameters, then scale and shift; x (B, F, L, D), shift and scale (B, F, 1, D)."""
    return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:]), 1 + scale)


class Block(nn.Module):
    """A transformer block with adaLN-zero (DiT, arXiv 2212.09748): at the start of training it is the identity."""

    def __init__(self, hidden: int, mlp: int, heads: int, shared: bool = False):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(hidden, 3 * hidden, bias=False)
        self.q_norm = nn.RMSNorm(hidden // heads, eps=1e-6)
        self.k_norm = nn.RMSNorm(hidden // heads, eps=1e-6)
        self.out = nn.Linear(hidden, hidden, bias=False)
        self.gate_up = nn.Linear(hidden, 2 * mlp, bias=False)
        self.down = nn.Linear(mlp, hidden, bias=False)
        if shared:
            self.offset = nn.Parameter(torch.zeros(6 * hidden))
        else:
            self.modulation = zeros(nn.Linear(hidden, 6 * hidden))

    def forward(self, x: Tensor, condition: Tensor, turn: Tensor, attend: Callable[..., Tensor]) -> Tensor:
        """x (B, F, L, D), condition (B, F, D), turn (2, F L, d/2); `attend(q, k, v)` knows who sees whom.

        With a shared adaLN table `condition` is what that table says, (B, F, 6 D).
        """
        own = condition + self.offset if hasattr(self, "offset") else steady(self.modulation, condition)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = own[:, :, None].chunk(6, dim=-1)
        x = torch.addcmul(x, gate_a, self._attention(modulate(x, shift_a, scale_a), turn, attend))
        gate, up = self.gate_up(modulate(x, shift_m, scale_m)).chunk(2, dim=-1)
        return torch.addcmul(x, gate_m, self.down(F.silu(gate) * up))

    def _attention(self, x: Tensor, turn: Tensor, attend: Callable[..., Tensor]) -> Tensor:
        heads = self.qkv(x).flatten(1, 2).unflatten(-1, (3, self.heads, -1))
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # (B, heads, N, d) each
        # float32 under autocast: small rotations of late frames would be lost in bf16
        q, k = rotate(self.q_norm(q.float()), turn).to(v.dtype), rotate(self.k_norm(k.float()), turn).to(v.dtype)
        mixed = attend(q, k, v).transpose(1, 2).flatten(2)
        return self.out(mixed).unflatten(1, x.shape[1:3])


def zeros(linear: nn.Linear) -> nn.Linear:
    """A layer that says nothing until it is trained."""
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
