"""Reading a token model wave by wave, with a cache or in one pass.

- `RasterReader`, `WaveReader`: `logits(codes, frame, wave)` of the codes drawn next; `fork`. Only new tokens are computed.
- `predictions`: the logits of all waves in one differentiable pass, under the mask that the waves make.
- `generate`: whole clips, wave by wave.
"""

from __future__ import annotations

import functools

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask

from worldgym.errors import InputError
from worldgym.models.layers.kv_cache import KVCache
from worldgym.models.layers.sampling import check_sampling, sample
from worldgym.models.token.code_schedule import CodeSchedule
from worldgym.models.token.llama import Place
from worldgym.models.token.token_decoder import TokenDecoder
from worldgym.models.token.token_model import TokenModel
from worldgym.rng import RowNoise


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
            tokens = codes.select(1, frame).narrow(1, wave - 1, 1)  # half the time of an index, and this is every step
        return self._decoder.feed(tokens).unsqueeze(1)

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
        self._order = torch.tensor(_orders(model, schedule, prefix, actions.shape[1] + 1))
        self._cache: _Scattered | None = None

    @torch.no_grad()
    def logits(self, codes: Tensor, frame: int, wave: int) -> Tensor:
        """(B, T, L) int64, filled up to there -> (B, n, V) logits of the n codes of a wave."""
        order = frame * len(self.schedule.waves) + wave
        if self._cache is None:
            self._cache = _Scattered(self.model.empty_cache(len(codes)))
            self._feed(codes, torch.where(self._order < order)[0], anew=True)
        hidden = self._feed(codes, torch.where(self._order == order)[0])
        return self.model.code_logits(hidden[:, -len(self.schedule.waves[wave]) :])

    def fork(self, groups: int) -> WaveReader:
        """As `RasterReader.fork`."""
        other = WaveReader(self.model, self.actions.repeat_interleave(groups, 0), self.schedule, self.prefix)
        if self._cache is not None:
            other._cache = _Scattered(self._cache.cache.repeat(groups))
        return other

    def _feed(self, codes: Tensor, places: Tensor, anew: bool = False) -> Tensor:
        """Append the tokens of some places; `anew`: of several waves at once, each of which saw less than the cache holds."""
        order = self._order[: int(places[-1]) + 1]
        frames = len(order) // self.model.config.stride + 1  # those that have begun
        known = codes[:, :frames].clamp_min(0)
        tokens = _inputs(self.model, known, self.actions[:, : frames - 1], self.schedule, self.prefix)
        if self.schedule.zeros and not anew:
            order = torch.full_like(order, -1)  # all of the cache takes part; where nothing has entered it is zero
        mask, self._cache.zeros = _sight(order, places, self.schedule.zeros)
        places = places.to(codes.device)
        return _run(self.model, tokens[:, places], places, mask.to(codes.device), self._cache, len(order))


def predictions(model: TokenModel, codes: Tensor, actions: Tensor, schedule: CodeSchedule, prefix: int) -> Tensor:
    """Logits of every code after the prefix as the waves see them: (B, T, L), (B, T-1, A) -> (B, T-P, L, V)."""
    tokens = _inputs(model, codes, actions, schedule, prefix)[:, :-1]
    order = torch.tensor(_orders(model, schedule, prefix, codes.shape[1])[:-1])
    places = torch.arange(len(order))
    if codes.is_cuda and torch.is_grad_enabled() and not schedule.zeros:  # training: one kernel that skips what nobody sees
        mask, zeros = _block_mask(tuple(order.tolist()), codes.device), 0
    else:
        mask, zeros = _sight(order, places, schedule.zeros)
        mask = mask.to(codes.device)
    hidden = _run(model, tokens, places.to(codes.device), mask, _NoCache(zeros) if zeros else None)
    length, stride = model.config.codes_per_frame, model.config.stride
    frames = hidden[:, prefix * stride - 1 :].unfold(1, length, stride).transpose(-1, -2)
    return model.code_logits(frames)


@torch.no_grad()
def generate(
    model: TokenModel,
    codes: Tensor,
    actions: Tensor,
    noise: RowNoise,
    schedule: CodeSchedule,
    top_p: float = 0.8,
    temperature: float = 1.0,
) -> Tensor:
    """Continue clips wave by wave; as `TokenModel.generate`, whose arguments these are, for any schedule.

    Args:
        model: the token model.
        codes: (B, P, L) int64, the frames that are given.
        actions: (B, T-1, A) int.
        noise: one stream per row; a frame takes L uniform numbers, as there.
        schedule: which cells are drawn together.
        top_p: share of probability that is kept.
        temperature: 0 is greedy.

    Returns:
        (B, T, L) int64, prefix included.
    """
    check_sampling(top_p, temperature)
    prefix, frames = codes.shape[1], actions.shape[1] + 1
    if frames > model.config.max_frames:
        raise InputError(f"{frames} frames were asked for, but this model holds {model.config.max_frames} at most")
    if len(schedule.drawn) != codes.shape[2]:
        raise InputError(f"the schedule has {len(schedule.drawn)} codes per frame, but codes have shape {tuple(codes.shape)}")
    played = F.pad(codes, (0, 0, 0, frames - prefix), value=-1)
    reader = RasterReader(model, actions) if schedule.name == "raster" else WaveReader(model, actions, schedule, prefix)
    for frame in range(prefix, frames):
        uniform = noise.uniform(codes.shape[2]).to(codes.device) if temperature else torch.zeros_like(codes[:, 0])
        for wave, cells in enumerate(map(list, schedule.waves)):
            logits = reader.logits(played, frame, wave)
            played[:, frame, cells] = sample(logits, uniform[:, cells], top_p, temperature)
    return played


class _NoCache:
    """The face that attention layers expect of a cache, with `zeros` keys and values of zero behind the true ones."""

    def __init__(self, zeros: int = 0):
        self.zeros = zeros

    def write(self, layer: int, k: Tensor, v: Tensor, start: tuple[Tensor, int]) -> tuple[Tensor, Tensor]:
        return (F.pad(k, (0, 0, 0, self.zeros)), F.pad(v, (0, 0, 0, self.zeros))) if self.zeros else (k, v)


class _Scattered(_NoCache):
    """A cache that is written at scattered places."""

    def __init__(self, cache: KVCache):
        super().__init__()
        self.cache = cache

    def write(self, layer: int, k: Tensor, v: Tensor, start: tuple[Tensor, int]) -> tuple[Tensor, Tensor]:
        places, stop = start
        keys, values = self.cache.keys[layer], self.cache.values[layer]
        keys.index_copy_(2, places, k.to(keys.dtype))
        values.index_copy_(2, places, v.to(values.dtype))
        return super().write(layer, keys[:, :, :stop], values[:, :, :stop], start)


@functools.lru_cache(maxsize=8)
def _block_mask(order: tuple[int, ...], device: torch.device) -> BlockMask:
    """`_sight` of a whole sequence without zero keys, as a block mask of FlexAttention."""
    entered = torch.tensor(order, device=device)

    def sees(batch: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (key <= query) & (entered[key] <= entered[query])

    return create_block_mask(sees, None, None, len(order), len(order), device=str(device))


def _run(
    model: TokenModel, tokens: Tensor, places: Tensor, mask: Tensor | BlockMask, cache: _NoCache | None, stop: int = 0
) -> Tensor:
    """(B, n) ids at `places` (n,) -> (B, n, hidden); `mask` (n, keys) says which places each token sees."""
    body = model.model
    place = Place(body.cos[places], body.sin[places], (places, stop), cache, mask)
    x = body.embed_tokens(tokens)
    for index, layer in enumerate(body.layers):
        x = layer(x, place, index if cache is not None else 0)  # the number is the cache's; blocks are compiled once for all
    return body.norm(x)


def _orders(model: TokenModel, schedule: CodeSchedule, prefix: int, frames: int) -> list[int]:
    """When each token of a whole sequence enters the model (N,)."""
    segment = model.config.action_tokens.length
    parts = (schedule.orders(i, segment if i else 0, i >= prefix) for i in range(frames))
    return [order for part in parts for order in part]


def _sight(order: Tensor, places: Tensor, zeros: bool) -> tuple[Tensor, int]:
    """Which keys each token sees: those at or before its own place that have entered by the time it does.

    Args:
        order: (keys,) when each place's token enters.
        places: (n,) of the tokens that look.
        zeros: a token also sees one zero key for every place before it that has not entered.

    Returns:
        (n, keys + Z) bool, and Z, the number of zero keys that stand behind the true ones.
    """
    before = torch.arange(len(order)) <= places[:, None]
    mask = before & (order <= order[places][:, None])
    holes = (before & ~mask).sum(1)
    count = int(holes.max()) if zeros else 0
    return torch.cat([mask, torch.arange(count) < holes[:, None]], 1), count


def _inputs(model: TokenModel, codes: Tensor, actions: Tensor, schedule: CodeSchedule, prefix: int) -> Tensor:
    """The sequence as it is fed, with stand-ins from frame 0: (B, N)."""
    cells = torch.tensor(sorted(schedule.stand_ins), dtype=torch.int64, device=codes.device)
    fed = codes.clone()
    fed[:, prefix:, cells] = codes[:, :1, cells]
    return model.sequence(fed, actions)
