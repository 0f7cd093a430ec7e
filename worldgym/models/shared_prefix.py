"""Teacher forcing for groups: what the rows of a group have in common is read once, with gradient.

Rollouts of one prompt share their first frame, forks of one prefix share all frames before the fork. Reading N tokens of which
the first n are common to G rows costs n + G (N - n) tokens instead of G N; answer and gradient are the same but for rounding.

- `Sharing`, `find_sharing(codes, actions)`: what is common. `hidden_states(body, tokens, cut, groups)`: the pass.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

WORTH = 0.2  # share of the tokens that must be saved: below, one call is faster than two


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
