"""The token world model: a Llama over frame codes and action tokens (MineWorld's architecture, arXiv 2504.08388, section 3).

One sequence holds a clip: [frame 0: L codes][action 1: S tokens][frame 1: L codes] … ; action a_i stands right before
frame x_i, because it leads to it. The model predicts codes only; action tokens are given, never learned.

- `TokenConfig`, `PRESETS`: sizes; "300M", "700M", "1.2B" are the paper's Table 4.
- `TokenModel`: `loss`, `logprobs`, `generate`, and `forward` for plain logits.

The body is in `llama.py`, the cache in `kv_cache.py`, step-by-step decoding in `token_decoder.py`, other software's
parameter names in `llama_format.py`.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym import actions as action_specs
from worldgym.actions import ActionTokens
from worldgym.errors import InputError
from worldgym.models.layers.cuda_graph import GraphedStep
from worldgym.models.layers.kv_cache import KVCache
from worldgym.models.layers.sampling import check_sampling, logprob_sum, sample
from worldgym.models.layers.shared_context import find_sharing, hidden_states
from worldgym.models.token.llama import Llama
from worldgym.models.token.token_decoder import Recompute, TokenDecoder
from worldgym.rng import RowNoise


@dataclasses.dataclass(frozen=True)
class TokenConfig:
    """Sizes of a token model.

    Attributes:
        codes: V, image codes; their ids are 0 to V-1, action tokens follow.
        codes_per_frame: L, codes of one frame in raster order.
        spec: name of the action spec.
        hidden: width of the residual stream.
        mlp: width of the gated MLP.
        heads: query heads; a head is hidden / heads wide.
        kv_heads: key/value heads, shared by heads / kv_heads query heads each.
        layers: number of blocks.
        max_frames: T at most, given and generated together.
        vocabulary: rows of the embedding; 0 means as many as are used (MineWorld's files have spare rows).
        rope_theta: base of the rotary frequencies.
        rms_eps: added to the mean square in RMSNorm.
    """

    codes: int = 1000
    codes_per_frame: int = 84
    spec: str = "doom"
    hidden: int = 128
    mlp: int = 384
    heads: int = 4
    kv_heads: int = 1
    layers: int = 4
    max_frames: int = 16
    vocabulary: int = 0
    rope_theta: float = 1e4
    rms_eps: float = 1e-5

    def __post_init__(self):
        if self.hidden % self.heads or self.head_dim % 2:
            raise InputError(f"hidden {self.hidden} must be heads ({self.heads}) times an even number")
        if self.heads % self.kv_heads:
            raise InputError(f"heads ({self.heads}) must be a multiple of kv_heads ({self.kv_heads})")
        used = self.action_tokens.vocabulary
        if 0 < self.vocabulary < used:
            raise InputError(f"vocabulary is {self.vocabulary}, but codes and action tokens need {used}")

    @property
    def head_dim(self) -> int:
        """Width of one attention head."""
        return self.hidden // self.heads

    @property
    def action_tokens(self) -> ActionTokens:
        """The action segments, their ids right after the image codes."""
        return _action_tokens(self.spec, self.codes)

    @property
    def rows(self) -> int:
        """Embedding rows."""
        return self.vocabulary or self.action_tokens.vocabulary

    @property
    def stride(self) -> int:
        """Tokens from one frame to the next, L + S."""
        return self.codes_per_frame + self.action_tokens.length

    @property
    def max_len(self) -> int:
        """Positions of the longest sequence."""
        return self.max_frames * self.stride


@functools.lru_cache
def _action_tokens(spec: str, codes: int) -> ActionTokens:
    return ActionTokens(action_specs.spec(spec), codes)  # asked for at every step of decoding


def _mineworld(hidden: int, mlp: int, heads: int) -> TokenConfig:
    return TokenConfig(8192, 336, "minecraft", hidden, mlp, heads, kv_heads=4, layers=20, vocabulary=8262)


PRESETS = {
    "nano": TokenConfig(codes=1920),  # 1.3 M parameters: some 15 M tokens, what a CPU core reads in an hour, feed no more
    "play": TokenConfig(hidden=256, mlp=704, heads=4, kv_heads=2, layers=8),  # 6.9 M parameters, for parallel decoding
    "small": TokenConfig(codes=1920, hidden=384, mlp=1024, heads=6, kv_heads=2, layers=8),
    "300M": _mineworld(1024, 4096, 16),
    "700M": _mineworld(2048, 4096, 32),
    "1.2B": _mineworld(2048, 8192, 32),
}


class TokenModel(nn.Module):
    """A video world model that plays code by code."""

    def __init__(self, config: TokenConfig):
        super().__init__()
        self.config = config
        self.model = Llama(
            config.rows,
            config.hidden,
            config.mlp,
            config.heads,
            config.kv_heads,
            config.layers,
            config.max_len,
            config.rope_theta,
            config.rms_eps,
        )
        self.lm_head = nn.Linear(config.hidden, config.rows, bias=False)
        self.make_tables()
        self.apply(_initialise)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> TokenModel:
        """A model with fresh weights from a config as stored in a checkpoint."""
        return cls(TokenConfig(**config))

    def make_tables(self) -> None:
        """What follows from the config alone and is in no file: the ids of actions."""
        tokens = self.config.action_tokens
        self.register_buffer("_weights", torch.from_numpy(tokens.weights), persistent=False)
        self.register_buffer("_ids", torch.from_numpy(tokens.ids), persistent=False)

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N) ids -> (B, N, vocabulary) logits of the token after each."""
        return self.lm_head(self.model(tokens))

    def segments(self, actions: Tensor) -> Tensor:
        """(…, A) int -> (…, S) int64 token ids, as `ActionTokens.encode` but on the device."""
        values = (actions[..., None, :] * self._weights).sum(-1)
        return self._ids[torch.arange(len(self._ids), device=actions.device), values]

    def sequence(self, codes: Tensor, actions: Tensor) -> Tensor:
        """Frames and actions in turn: (B, T, L), (B, T-1, A) -> (B, T * L + (T-1) * S) int64."""
        self._check_shapes(codes, actions, frames=codes.shape[1] if codes.ndim == 3 else 0)
        if codes.device.type == "cpu":  # reading values back would make a training step wait for the GPU
            self._check_values(codes, actions)
        later = torch.cat([self.segments(actions), codes[:, 1:]], -1)
        return torch.cat([codes[:, 0], later.flatten(1)], 1)

    def predictions(self, codes: Tensor, actions: Tensor, prefix: int = 1) -> Tensor:
        """Logits of every code after the prefix, each given the true codes before it (teacher forcing).

        Args:
            codes: (B, T, L) int64.
            actions: (B, T-1, A) int.
            prefix: P >= 1 frames that are given.

        Returns:
            (B, T-P, L, V).
        """
        tokens = self.sequence(codes, actions)
        if not 1 <= prefix < codes.shape[1]:
            raise InputError(f"prefix is {prefix}, but of {codes.shape[1]} frames at least 1 is given and 1 predicted")
        length, stride = self.config.codes_per_frame, self.config.stride
        tokens, common = tokens[:, :-1], find_sharing(codes, actions)  # nothing follows the last code
        if common.saves(codes.shape[1]):
            hidden = hidden_states(self.model, tokens, common.frames * stride, common.groups)
        else:
            hidden = self.model(tokens)
        # code 0 of a frame is predicted at the action's last token, code j at code j-1
        frames = hidden[:, prefix * stride - 1 :].unfold(1, length, stride).transpose(-1, -2)
        return self.code_logits(frames)

    def loss(self, codes: Tensor, actions: Tensor, prefix: int = 1) -> Tensor:
        """Mean cross-entropy in nats of all codes after the prefix: (B, T, L), (B, T-1, A) -> scalar.

        The softmax runs over the V image codes, as in sampling. Works for any T up to max_frames; attention sees only
        differences of positions, so short windows are as good anywhere as at the start.
        """
        logits = self.predictions(codes, actions, prefix)
        return F.cross_entropy(logits.flatten(0, -2).float(), codes[:, prefix:].flatten())

    def logprobs(
        self, codes: Tensor, actions: Tensor, prefix: int = 1, top_p: float = 0.8, temperature: float = 1.0
    ) -> Tensor:
        """logprob_sum of each code after the prefix in one pass, under the distribution that `generate` draws from.

        Args:
            codes: (B, T, L) int64.
            actions: (B, T-1, A) int.
            prefix: P >= 1 frames that were given.
            top_p: as in `generate`.
            temperature: as in `generate`, above 0.

        Returns:
            (B, T-P, L) float32.
        """
        check_sampling(top_p, temperature)
        return logprob_sum(self.predictions(codes, actions, prefix), codes[:, prefix:], top_p, temperature)

    @torch.no_grad()
    def generate(
        self,
        codes: Tensor,
        actions: Tensor,
        noise: RowNoise,
        top_p: float = 0.8,
        temperature: float = 1.0,
        cache: bool = True,
    ) -> Tensor:
        """Continue clips by one frame per action.

        Args:
            codes: (B, P, L) int64, the frames that are given.
            actions: (B, T-1, A) int, the first P-1 lie inside the prefix.
            noise: one stream per row; a code takes one uniform number.
            top_p: keep the most probable codes up to this share of probability.
            temperature: divides the logits; 0 is greedy and draws nothing.
            cache: False recomputes everything at each code (slow, for checking).

        Returns:
            (B, T, L) int64, prefix included.
        """
        check_sampling(top_p, temperature)
        self._check_shapes(codes, actions, frames=actions.shape[1] + 1)
        self._check_values(codes, actions)
        if len(noise) != len(codes):
            raise InputError(f"noise has {len(noise)} rows, but there are {len(codes)} clips; give one seed per clip")
        prefix, segments = codes.shape[1], self.segments(actions)
        reader = TokenDecoder(self, len(codes)) if cache else Recompute(self)
        draw = GraphedStep(lambda logits, uniform: sample(logits, uniform, top_p, temperature))
        pending = self.sequence(codes, actions[:, : prefix - 1])  # tokens the reader has not seen yet
        played = [codes.flatten(1)]
        for index in range(prefix - 1, actions.shape[1]):
            pending = torch.cat([pending, segments[:, index]], 1)
            uniform = noise.uniform(self.config.codes_per_frame) if temperature else torch.zeros_like(codes[:, 0])
            for column in uniform.to(codes.device).unbind(1):
                pending = draw(reader.feed(pending), column)[:, None]
                played.append(pending)
        return torch.cat(played, 1).unflatten(1, (-1, codes.shape[2]))

    def next_logits(self, tokens: Tensor, cache: KVCache, start: int | Tensor) -> Tensor:
        """Append (B, n) tokens to the cache at `start` -> (B, V) logits of the code after the last."""
        return self.code_logits(self.model(tokens, cache, start)[:, -1])

    def empty_cache(self, batch: int) -> KVCache:
        """A cache that holds the longest sequence for B rows."""
        config, weight = self.config, self.lm_head.weight
        return KVCache(config.layers, batch, config.kv_heads, config.max_len, config.head_dim, weight.dtype, weight.device)

    def code_logits(self, hidden: Tensor) -> Tensor:
        """(…, hidden) -> (…, V) float32 logits of image codes; action tokens are never predicted.

        In float32 whatever the model computes in: a logit of 8 bits is off by up to .03, and so would be the ratio of a
        policy with itself when a step and its recomputation round to different sides.
        """
        with torch.autocast(hidden.device.type, enabled=False):
            return F.linear(hidden.float(), self.lm_head.weight[: self.config.codes].float())

    def _check_shapes(self, codes: Tensor, actions: Tensor, frames: int) -> None:
        config = self.config
        if codes.ndim != 3 or codes.shape[2] != config.codes_per_frame or not codes.shape[1]:
            raise InputError(f"codes have shape {tuple(codes.shape)}, but this model needs (B, T, {config.codes_per_frame})")
        frames = max(frames, codes.shape[1])
        shape = (len(codes), frames - 1, len(config.action_tokens.spec.sizes))
        if actions.shape != shape:
            raise InputError(f"actions have shape {tuple(actions.shape)}, but {frames} frames need {shape}")
        if frames > config.max_frames:
            raise InputError(f"{frames} frames were asked for, but this model holds {config.max_frames} at most")

    def _check_values(self, codes: Tensor, actions: Tensor) -> None:
        self.config.action_tokens.spec.check(actions.cpu().numpy())
        low, high, last = int(codes.min()), int(codes.max()), self.config.codes - 1
        if low < 0 or high > last:
            raise InputError(f"codes run from {low} to {high}, but this model knows 0 to {last}")


def _initialise(module: nn.Module) -> None:
    """Normal with variance 1 / inputs, so that a layer keeps the size of what it is given."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
    elif isinstance(module, nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
