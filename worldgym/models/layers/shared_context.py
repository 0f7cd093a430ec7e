"""Rows that go on from one and the same video: read it once.

Rollouts of one prompt share their first frame, forks of one prefix share all frames before the fork. Reading N tokens of which
the first n are common to G rows costs n + G (N - n) tokens instead of G N; answer and gradient are the same but for rounding.

- `Runs` (diffusion): which neighbouring rows have the same context, and how they stand beside one copy of it.
- `Sharing`, `find_sharing(codes, actions)` (tokens): what is common. `hidden_states(body, tokens, cut, groups)`: the pass.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

WORTH = 0.2  # share of the tokens that must be saved: below, one call is faster than two


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """Neighbouring rows with the same context, in runs.

    Attributes:
        run: (B,) int64, the run of each row.
        place: (B,) int64, its place in the run.
        first: (R,) int64, the first row of each run.
        longest: rows of the longest run.
    """

    run: Tensor
    place: Tensor
    first: Tensor
    longest: int

    @classmethod
    def of(cls, clean: Tensor, actions: Tensor, own: int) -> Runs | None:
        """The runs of rows with the same frames and actions; None where sharing saves no work.

        Args:
            clean: (B, S, …) context.
            actions: (B, n, A).
            own: M, frames that a row has for itself.
        """
        rows, context = clean.shape[:2]
        same = torch.stack([(x[1:] == x[:-1]).flatten(1).all(1) for x in (clean, actions)]).all(0)
        if not same.any():
            return None
        begins = torch.cat([same.new_ones(1), ~same])
        first = begins.nonzero()[:, 0]
        run = begins.long().cumsum(0) - 1
        place = torch.arange(rows, device=run.device) - first[run]
        longest = int(place.max()) + 1
        worth = len(first) * (context + longest * own) < rows * (context + own)  # short runs are filled up
        return cls(run, place, first, longest) if worth else None

    def gather(self, x: Tensor) -> Tensor:
        """(B, M, …) -> (R, longest M, …): the rows of a run one after the other, filled up with zeros."""
        packed = x.new_zeros(len(self.first), self.longest, *x.shape[1:])
        return packed.index_put((self.run, self.place), x).flatten(1, 2)

    def scatter(self, packed: Tensor) -> Tensor:
        """`gather` backwards."""
        return packed.unflatten(1, (self.longest, -1))[self.run, self.place]


@dataclasses.dataclass(frozen=True)
class Sharing:
    """What rows have in common.

    Attributes:
        groups: G, rows b G to b G + G - 1 share frames; 1 when nothing is shared.
        frames: leading frames that the rows of every group share.
    """

    groups: int = 1
    frames: int = 0

    def saves(self, frames: int) -> bool:
        """Whether reading them once is worth a second call, for clips of T frames."""
        return (1 - 1 / self.groups) * self.frames / frames >= WORTH


class Past:
    """Keys and values of the common tokens, with gradient; stands where a `KVCache` stands."""

    def __init__(self, groups: int):
        self.groups, self.layers = groups, []

    def write(self, layer: int, k: Tensor, v: Tensor, start: int) -> tuple[Tensor, Tensor]:
        """At start 0 remember, later put the past before what is new: (B, kv_heads, keys, head_dim)."""
        if start == 0:
            self.layers.append((k, v))
            return k, v
        past = (tensor.repeat_interleave(self.groups, 0) for tensor in self.layers[layer])
        return tuple(torch.cat(pair, 2) for pair in zip(past, (k, v), strict=True))


def find_sharing(codes: Tensor, actions: Tensor) -> Sharing:
    """(B, T, L) codes and (B, T-1, A) actions -> the groups that stand side by side, all of one size, and what they share."""
    rows, frames = codes.shape[:2]
    same = (codes[1:, 0] == codes[:-1, 0]).all(1) & (actions[1:] == actions[:-1]).flatten(1).all(1)
    same = same.tolist()
    groups = same.index(False) + 1 if False in same else rows
    if groups < 2 or rows % groups or not all(same[row - 1] for row in range(1, rows) if row % groups):
        return Sharing()
    apart = codes.unflatten(0, (-1, groups))
    equal = (apart == apart[:, :1]).flatten(3).all(3).all(1).all(0).tolist()
    return Sharing(groups, min(equal.index(False) if False in equal else frames, frames - 1))


def hidden_states(body: nn.Module, tokens: Tensor, cut: int, groups: int) -> Tensor:
    """As `body(tokens)`, (B, N) -> (B, N, hidden), the first `cut` tokens read once per group.

    Args:
        body: a `Llama`.
        tokens: (B, N) int64, equal inside a group up to `cut`.
        cut: 1 to N.
        groups: G, divides B.
    """
    past = Past(groups)
    common = body(tokens[::groups, :cut], past, 0).repeat_interleave(groups, 0)
    if cut == tokens.shape[1]:  # one code per frame: the last one is predicted from what is common
        return common
    return torch.cat([common, body(tokens[:, cut:], past, cut)], 1)
