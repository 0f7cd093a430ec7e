"""Who sees whom in a video of clips: bidirectional inside a clip of c frames, causal over clips.

- `clip_spans`: where clips begin and end.
- `block_causal`, `beside`: the two layouts of a sequence. `attend_sight`: attention under a layout. `Sighted`: the same for
  all layers of a network, and in training on a GPU one fused kernel.

A layout ("sight") lists blocks of query tokens and, for each, the stretches of key tokens it sees. Attention runs block by
block, so no work is spent on pairs that a mask would throw away; on a CPU that is faster than one call with a mask.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

from worldgym.models.layers.attention import attention

Span = tuple[int, int]  # first frame, one past the last
Sight = list[tuple[slice, list[slice]]]  # query tokens, stretches of key tokens


def clip_spans(frames: int, clip: int, prefix: int = 1) -> list[Span]:
    """Where clips begin and end: frame 0 alone, clips of c up to the end of the prefix, then clips of c from there.

    A clip is shorter where the prefix or the frames end, and never holds given and generated frames together.

    >>> clip_spans(8, 3)
    [(0, 1), (1, 4), (4, 7), (7, 8)]
    >>> clip_spans(8, 3, prefix=3)
    [(0, 1), (1, 3), (3, 6), (6, 8)]
    """
    starts = [0, *range(1, prefix, clip), *range(prefix, frames, clip)]
    return list(zip(starts, [*starts[1:], frames], strict=True))


def block_causal(spans: Sequence[Span], length: int) -> Sight:
    """Who sees whom, as (query tokens, lists of key tokens): a clip sees itself and everything before it."""
    return [(slice(start * length, stop * length), [slice(0, stop * length)]) for start, stop in spans]


def beside(clean: Sequence[Span], noisy: Sequence[Span], length: int) -> Sight:
    """Block-causal clean clips, then noisy clips in their own slots, which see the clean frames before them and themselves."""
    sight, slot = block_causal(clean, length), clean[-1][1]
    for start, stop in noisy:
        own = slice(slot * length, (slot + stop - start) * length)
        sight.append((own, [slice(0, start * length), own]))
        slot += stop - start
    return sight


def attend_sight(sight: Sight, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention block by block; no work is spent on pairs that a mask would throw away."""

    def pick(x: Tensor, columns: list[slice]) -> Tensor:
        return x[:, :, columns[0]] if len(columns) == 1 else torch.cat([x[:, :, part] for part in columns], dim=2)

    parts = [attention(q[:, :, rows], pick(k, columns), pick(v, columns)) for rows, columns in sight]
    return torch.cat(parts, dim=2)


class Sighted:
    """Attention under a layout, the same for every layer.

    In training on a GPU it is one kernel that skips what nobody sees (FlexAttention, arXiv 2412.05496); a network's blocks
    are compiled there, and so is it. Everywhere else it is `attend_sight`.

    Args:
        sight: who sees whom.
        device: where the queries are.
    """

    def __init__(self, sight: Sight, device: torch.device):
        self.sight = sight
        fused = device.type == "cuda" and torch.is_grad_enabled()
        rows = tuple((queries.stop, tuple((part.start, part.stop) for part in seen)) for queries, seen in sight)
        self.mask = _block_mask(rows, device) if fused else None

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """(B, heads, N, d) three times -> (B, heads, N, d)."""
        if self.mask is None:
            return attend_sight(self.sight, 0, q, k, v)
        return flex_attention(q, k, v, block_mask=self.mask)


@functools.lru_cache(maxsize=32)
def _block_mask(rows: tuple[tuple[int, tuple[tuple[int, int], ...]], ...], device: torch.device) -> Any:
    """The mask of a layout: each query token sees at most two stretches of keys."""
    limits, start = [], 0
    for stop, seen in rows:
        (a, b), (c, d) = (*seen, (0, 0))[:2]
        limits += [(a, b, c, d)] * (stop - start)
        start = stop
    a, b, c, d = torch.tensor(limits, device=device).unbind(1)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return ((key >= a[query]) & (key < b[query])) | ((key >= c[query]) & (key < d[query]))

    return create_block_mask(sees, None, None, len(limits), len(limits), device=str(device))
