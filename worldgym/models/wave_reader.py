"""Reading a token model wave by wave, with a cache or in one pass.

- `RasterReader`, `WaveReader`: `logits(codes, frame, wave)` of the codes drawn next; `fork`. Only new tokens are computed.
- `predictions`: the logits of all waves in one differentiable pass, under the mask that the waves make.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgym.models.code_schedule import CodeSchedule
from worldgym.models.kv_cache import KVCache
from worldgym.models.llama import Place
from worldgym.models.token_decoder import TokenDecoder
from worldgym.models.token_model import TokenModel


class RasterReader:
    """One code at a time, through `TokenDecoder` (and its captured graph on a GPU).

    Args:
        model: the token model.
        actions: (B, T-1, A) int.
        decoder: a filled decoder to go on with.
    """

    def __init__(self, model: TokenModel, actions: Tensor, decoder: TokenDecoder | None = None):
        self.model, self.actions, self._decoder = model, actions, decoder

    def logits(self, codes: Tensor, frame: int, wave: int) -> Tensor:
        """(B, T, L) int64, filled up to there -> (B, 1, V) logits of code `wave` of frame `frame`."""
        if self._decoder is None:
            self._decoder = TokenDecoder(self.model, len(codes))
            known = codes[:, : frame + 1].clamp_min(0)
            tokens = self.model.sequence(known, self.actions[:, :frame])
            tokens = tokens[:, : frame * self.model.config.stride + wave]
        elif wave == 0:
            tokens = torch.cat([codes[:, frame - 1, -1:], self.model.segments(self.actions[:, frame - 1])], 1)
        else:
            tokens = codes[:, frame, wave - 1 : wave]
        return self._decoder.feed(tokens)[:, None]

    def fork(self, groups: int) -> RasterReader:
        """G continuations of every row, side by side; the past is shared by copying the cache."""
        decoder = self._decoder and self._decoder.fork(groups)
        return RasterReader(self.model, self.actions.repeat_interleave(groups, 0), decoder)


class WaveReader:
    """All codes of a wave at a time.

    Args:
        model: the token model.
        actions: (B, T-1, A) int.
        schedule: which cells are drawn together.
        prefix: P, frames that are given.
    """

    def __init__(self, model: TokenModel, actions: Tensor, schedule: CodeSchedule, prefix: int):
        self.model, self.actions, self.schedule, self.prefix = model, actions, schedule, prefix
        self._orders = _orders(model, schedule, prefix, actions.shape[1] + 1)
        self._cache: _Scattered | None = None

    @torch.no_grad()
    def logits(self, codes: Tensor, frame: int, wave: int) -> Tensor:
        """(B, T, L) int64, filled up to there -> (B, n, V) logits of the n codes of a wave."""
        order = frame * len(self.schedule.waves) + wave
        if self._cache is None:
            self._cache = _Scattered(self.model.empty_cache(len(codes)))
            self._feed(codes, torch.tensor([p for p, o in enumerate(self._orders) if o < order]))
        hidden = self._feed(codes, torch.tensor([p for p, o in enumerate(self._orders) if o == order]))
        return _logits(self.model, hidden[:, -len(self.schedule.waves[wave]) :])

    def fork(self, groups: int) -> WaveReader:
        """As `RasterReader.fork`."""
        other = WaveReader(self.model, self.actions.repeat_interleave(groups, 0), self.schedule, self.prefix)
        if self._cache is not None:
            other._cache = _Scattered(self._cache.cache.repeat(groups))
        return other

    def _feed(self, codes: Tensor, places: Tensor) -> Tensor:
        tokens = _inputs(self.model, codes.clamp_min(0), self.actions, self.schedule, self.prefix)
        stop = int(places[-1]) + 1
        mask = _mask(self._orders[:stop], places).to(codes.device)
        places = places.to(codes.device)
        return _run(self.model, tokens[:, places], places, mask, self._cache, stop)


def predictions(model: TokenModel, codes: Tensor, actions: Tensor, schedule: CodeSchedule, prefix: int) -> Tensor:
    """Logits of every code after the prefix as the waves see them: (B, T, L), (B, T-1, A) -> (B, T-P, L, V)."""
    tokens = _inputs(model, codes, actions, schedule, prefix)[:, :-1]
    orders = _orders(model, schedule, prefix, codes.shape[1])[:-1]
    places = torch.arange(len(orders))
    hidden = _run(model, tokens, places.to(codes.device), _mask(orders, places).to(codes.device))
    length, stride = model.config.codes_per_frame, model.config.stride
    frames = hidden[:, prefix * stride - 1 :].unfold(1, length, stride).transpose(-1, -2)
    return _logits(model, frames)


class _Scattered:
    """A cache that is written at scattered places; the face that attention layers expect."""

    def __init__(self, cache: KVCache):
        self.cache = cache

    def write(self, layer: int, k: Tensor, v: Tensor, start: tuple[Tensor, int]) -> tuple[Tensor, Tensor]:
        places, stop = start
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        keys.index_copy_(2, places, k.to(keys.dtype))
        values.index_copy_(2, places, v.to(values.dtype))
        return keys[:, :, :stop], values[:, :, :stop]


def _run(model: TokenModel, tokens: Tensor, places: Tensor, mask: Tensor, cache=None, stop: int = 0) -> Tensor:
    """(B, n) ids at `places` (n,) -> (B, n, hidden); `mask` (n, keys) says which places each token sees."""
    body = model.model
    place = Place(body.cos[places], body.sin[places], (places, stop), cache, mask)
    x = body.embed_tokens(tokens)
    for index, layer in enumerate(body.layers):
        x = layer(x, place, index)
    return body.norm(x)


def _orders(model: TokenModel, schedule: CodeSchedule, prefix: int, frames: int) -> list[int]:
    """When each token of a whole sequence enters the model (N,)."""
    segment = model.config.action_tokens.length
    parts = (schedule.orders(i, segment if i else 0, i >= prefix) for i in range(frames))
    return [order for part in parts for order in part]


def _mask(orders: list[int], places: Tensor) -> Tensor:
    """(n, keys) bool: keys at or before a token's own place that have entered by the time it does."""
    order = torch.tensor(orders)
    return (torch.arange(len(order)) <= places[:, None]) & (order <= order[places][:, None])


def _inputs(model: TokenModel, codes: Tensor, actions: Tensor, schedule: CodeSchedule, prefix: int) -> Tensor:
    """The sequence as it is fed, with stand-ins from frame 0: (B, N)."""
    cells = torch.tensor(sorted(schedule.stand_ins), dtype=torch.int64, device=codes.device)
    fed = codes.clone()
    fed[:, prefix:, cells] = codes[:, :1, cells]
    return model.sequence(fed, actions)


def _logits(model: TokenModel, hidden: Tensor) -> Tensor:
    return F.linear(hidden, model.lm_head.weight[: model.config.codes])
