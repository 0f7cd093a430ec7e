"""What is read once and then only looked at: keys and values of a text or of earlier latents.

- `Memo`: keys and values of every layer. `Recorder`: attention that keeps them. `beside`: attention that looks at memos first.
- `masked`: the same in one pass with everything in one sequence, the proof that the memos are right. `rows_of`: C rows to C G.

A memo of C rows serves C G rows: row b looks at row b // G. It is never copied for that.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]  # layer, q, k, v (B, heads, N, d) -> (B, heads, N, d)
Layer = tuple[Tensor, Tensor]  # keys and values (C, heads, N, d)


@dataclasses.dataclass(frozen=True, eq=False)
class Memo:
    """Keys and values of every layer.

    Attributes:
        layers: per layer keys and values (C, heads, N, d). Of latents: ordinary heads first, then those of the camera branch.
        latents: M, how many latents; 0 for a text.
        lengths: how many of the N tokens each row has, where rows differ; the rest is padding and never looked at.
    """

    layers: tuple[Layer, ...]
    latents: int = 0
    lengths: tuple[int, ...] | None = None

    def __len__(self) -> int:
        """C rows."""
        return len(self.layers[0][0])

    def row(self, layer: int, row: int, rows: int, heads: int) -> Layer:
        """Keys and values (1, heads, N, d) that row `row` of `rows` looks at: views, unless a text serves both branches."""
        kept = row // (rows // len(self))
        stop = self.lengths[kept] if self.lengths else None
        return _doubled(tuple(x[kept : kept + 1, :, :stop] for x in self.layers[layer]), heads)


class Recorder:
    """Attention among the tokens themselves, after `before`, that keeps their keys and values."""

    def __init__(self, before: Sequence[Memo] = ()):
        self._attend, self._layers = beside(before), []

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend and keep."""
        self._layers.append((k, v))
        return self._attend(layer, q, k, v)

    def memo(self, latents: int) -> Memo:
        """What was kept."""
        return Memo(tuple(self._layers), latents)


def beside(memos: Sequence[Memo]) -> Attend:
    """Attention to memos and to the own tokens. Row by row, so that only one row's keys stand together at a time."""
    return _rowwise(memos, None)


def masked(memos: Sequence[Memo], context: int) -> Attend:
    """Attention of a sequence whose first `context` tokens see each other only, the others all; memos are seen by all."""
    return _rowwise(memos, context)


def _rowwise(memos: Sequence[Memo], context: int | None) -> Attend:
    def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        if not memos and context is None:
            return F.scaled_dot_product_attention(q, k, v)
        rows = []
        for row in range(len(q)):
            own = slice(row, row + 1)
            pairs = [*(memo.row(layer, row, len(q), q.shape[1]) for memo in memos), (k[own], v[own])]
            keys, values = (torch.cat(side, 2) for side in zip(*pairs, strict=True))
            seen = None if context is None else _sight(q.shape[2], keys.shape[2], context, q.device)
            rows.append(F.scaled_dot_product_attention(q[own], keys, values, attn_mask=seen))
        return torch.cat(rows)

    return attend


def rows_of(x: Tensor, rows: int) -> Tensor:
    """(C, …) to (C G, …): row b from b // G; a view where C is 1."""
    if len(x) == rows:
        return x
    return x.expand(rows, *x.shape[1:]) if len(x) == 1 else x.repeat_interleave(rows // len(x), 0)


def _sight(queries: int, keys: int, context: int, device: torch.device) -> Tensor:
    """(queries, keys) bool: the last `queries` keys are the own tokens, of which the first `context` see no later ones."""
    own = torch.arange(queries, device=device)
    hidden = (own[:, None] < context) & (own[None, :] >= context)
    return F.pad(~hidden, (keys - queries, 0), value=True)


def _doubled(layer: Layer, heads: int) -> Layer:
    """A text's keys and values for both branches, as they are: in the camera branch the text has no camera."""
    return layer if layer[0].shape[1] == heads else tuple(torch.cat([x, x], 1) for x in layer)
