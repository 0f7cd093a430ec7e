"""A preallocated key/value cache: buffers of a fixed size, written in place by position.

- `KVCache.write(layer, k, v, start)`: store new keys and values, get back what attention may read.
- `KVCache.repeat(groups)`: the same past G times, for continuing one prefix in several ways.

The cache does not know how much of it is filled: whoever writes holds the position, because under a captured CUDA
graph the position lives on the device.
"""

from __future__ import annotations

import torch
from torch import Tensor


class KVCache:
    """Keys and values of every layer, (layers, B, kv_heads, max_len, head_dim) each.

    Args:
        layers: number of attention layers.
        batch: B, rows.
        kv_heads: key/value heads per layer.
        max_len: positions to hold.
        head_dim: width of one head.
        dtype: of the buffers; what is written is cast to it.
        device: where the buffers live.
    """

    def __init__(
        self,
        layers: int,
        batch: int,
        kv_heads: int,
        max_len: int,
        head_dim: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ):
        shape = (layers, batch, kv_heads, max_len, head_dim)
        # zeros, not empty: under a mask unwritten slots are multiplied by 0, and 0 x garbage may be NaN
        self.keys = torch.zeros(shape, dtype=dtype, device=device)
        self.values = torch.zeros(shape, dtype=dtype, device=device)

    @property
    def max_len(self) -> int:
        """Positions it can hold."""
        return self.keys.shape[3]

    def write(self, layer: int, k: Tensor, v: Tensor, start: int | Tensor) -> tuple[Tensor, Tensor]:
        """Write n positions from `start` on; overwrites what stood there.

        Args:
            layer: which layer.
            k: (B, kv_heads, n, head_dim) new keys.
            v: (B, kv_heads, n, head_dim) new values.
            start: first position; an integer, or a 0-dim int64 tensor on the device (for captured graphs).

        Returns:
            Keys and values to attend over: views (B, kv_heads, start + n, head_dim) for an integer start; the whole
            buffers (B, kv_heads, max_len, head_dim) for a tensor start, to be masked by the caller, because a
            captured graph has fixed shapes.
        """
        if isinstance(start, Tensor):
            return self._write_everywhere(layer, k, v, start)
        keys, values, stop = self.keys[layer], self.values[layer], start + k.shape[2]
        keys[:, :, start:stop] = k
        values[:, :, start:stop] = v
        return keys[:, :, :stop], values[:, :, :stop]

    def _write_everywhere(self, layer: int, k: Tensor, v: Tensor, start: Tensor) -> tuple[Tensor, Tensor]:
        keys, values = self.keys[layer], self.values[layer]
        positions = start + torch.arange(k.shape[2], device=k.device)
        keys.index_copy_(2, positions, k.to(keys.dtype))
        values.index_copy_(2, positions, v.to(values.dtype))
        return keys, values

    def repeat(self, groups: int) -> KVCache:
        """A copy with every row `groups` times, copies side by side: (B, …) -> (B * groups, …)."""
        other = object.__new__(KVCache)
        other.keys = self.keys.repeat_interleave(groups, dim=1)
        other.values = self.values.repeat_interleave(groups, dim=1)
        return other
