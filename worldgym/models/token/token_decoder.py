"""Token-by-token decoding: a model, its key/value cache and the position reached.

- `TokenDecoder`: `prefill` a prefix once, then `step` code by code; `fork` to continue it in several ways.
- `Recompute`: the same face without a cache, everything anew at each token: slow, and the oracle for tests.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.models.layers.cuda_graph import GraphedStep
from worldgym.models.layers.kv_cache import KVCache
from worldgym.models.token.lean_step import LeanStep


class NextCode(Protocol):
    """What a decoder asks of a token model."""

    config: Any

    def empty_cache(self, batch: int) -> KVCache:
        """A cache with room for the model's longest sequence."""
        ...

    def next_logits(self, tokens: Tensor, cache: KVCache, start: int | Tensor) -> Tensor:
        """(B, n) new tokens behind `start` cached ones -> (B, V) logits of the code after the last of them."""
        ...

    def __call__(self, tokens: Tensor) -> Tensor:
        """(B, N) -> (B, N, V), all logits in one pass."""
        ...


class TokenDecoder:
    """Feeds new tokens only; older ones stay in the cache. Parts of the model are read, never copied.

    On a CPU, attention reads the filled part of the cache; on CUDA, all of it under a mask, so that one captured graph
    serves every position.

    Args:
        model: the token model.
        batch: B, rows.
        cache: a filled cache to go on with; empty when left out.
        position: tokens in that cache.
    """

    def __init__(self, model: NextCode, batch: int, cache: KVCache | None = None, position: int = 0):
        self.model = model
        self.cache = cache or model.empty_cache(batch)
        self._graphed, self._lean = GraphedStep(self._at_clock), LeanStep(model)
        self._clock = torch.zeros((), dtype=torch.int64, device=self.cache.keys.device)
        self._move_to(position)

    def prefill(self, tokens: Tensor) -> Tensor:
        """Start anew with a prefix: (B, N) int64 -> (B, V) logits of the code that comes next."""
        self._move_to(0)
        return self.feed(tokens)

    def step(self, codes: Tensor, segment: Tensor | None = None) -> Tensor:
        """Take one code per row: (B,) int64 -> (B, V) logits of the next code.

        Args:
            codes: the codes that were chosen.
            segment: (B, S) int64, the next action's tokens, after the last code of a frame.
        """
        tokens = codes[:, None] if segment is None else torch.cat([codes[:, None], segment], 1)
        return self.feed(tokens)

    @torch.no_grad()
    def feed(self, tokens: Tensor) -> Tensor:
        """Append any tokens: (B, n) int64 -> (B, V) logits of the code after the last of them."""
        count = tokens.shape[1]
        if self.position + count > self.cache.max_len:
            limit = self.model.config.max_frames
            raise InputError(f"the sequence is longer than the {limit} frames of this model; generate fewer frames")
        if tokens.is_cuda and self.position > 0:
            logits = self._graphed(tokens, self._clock)
        elif self._lean.fits(tokens):
            logits = self._lean(tokens, self.cache, self.position)
        else:
            logits = self.model.next_logits(tokens, self.cache, self.position)
        self._move_to(self.position + count)
        return logits

    def fork(self, groups: int) -> TokenDecoder:
        """G continuations of every row, side by side: B rows -> B * G rows, past shared by copying the cache."""
        cache = self.cache.repeat(groups)
        return TokenDecoder(self.model, cache.keys.shape[1], cache, self.position)

    def _at_clock(self, tokens: Tensor, clock: Tensor) -> Tensor:
        return self.model.next_logits(tokens, self.cache, clock)

    def _move_to(self, position: int) -> None:
        self.position = position
        self._clock.fill_(position)  # the same number on the device, where a captured graph reads it


class Recompute:
    """`feed` as in `TokenDecoder`, by running the model over the whole sequence every time."""

    def __init__(self, model: NextCode):
        self.model = model
        self.tokens: Tensor | None = None

    @torch.no_grad()
    def feed(self, tokens: Tensor) -> Tensor:
        """Append tokens: (B, n) int64 -> (B, V) logits of the code after the last of them."""
        self.tokens = tokens if self.tokens is None else torch.cat([self.tokens, tokens], 1)
        return self.model(self.tokens)[:, -1, : self.model.config.codes]
