"""WorldPlay-5B: Wan2.2-TI2V-5B with an action embedder and a camera branch, keyed like the published file.

- `WanConfig`: sizes; the defaults are the published ones. `WanWorldPlay`: the network; start reading at `_run`.

Beside the base model (`diffusers` knows it as WanTransformer3DModel) there are two additions, both zero at the start of their
training: `condition_embedder.action_embedder`, whose output for a latent's label is added to its time vector, and
`blocks.*.attn1.to_out_prope`, which projects what a second attention over the same queries, keys and values brings back, with
cameras (`prope.py`) in place of rotary positions. Both branches run in one call, as twice as many heads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym.errors import InputError
from worldgym.models.diffusion.worldplay.context import Attend, Memo
from worldgym.models.diffusion.worldplay.embedding import Embedder, sinusoid
from worldgym.models.diffusion.worldplay.network import Shot, WorldPlayNetwork, join_heads, layer_rows, split_heads
from worldgym.models.diffusion.worldplay.prope import Lenses, project
from worldgym.models.diffusion.worldplay.rope import rotate, turns
from worldgym.models.diffusion.worldplay.view_memory import WAN


@dataclasses.dataclass(frozen=True)
class WanConfig:
    """Sizes of the network.

    Attributes:
        channels: C, latent channels.
        heads, head_dim: of attention; the width D is their product, head_dim a multiple of 4.
        mlp: inner width of the feed-forward network.
        layers: blocks.
        text: width of the text encoder. text_tokens: positions, filled up with zeros that are seen.
        frequencies: width of the sinusoid of timesteps and labels.
        patch: latent cells per token, along height and along width.
        rope_theta: base of the rotary frequencies.
        eps: of the norms.
    """

    channels: int = 48
    heads: int = 24
    head_dim: int = 128
    mlp: int = 14336
    layers: int = 30
    text: int = 4096
    text_tokens: int = 512
    frequencies: int = 256
    patch: int = 2
    rope_theta: float = 1e4
    eps: float = 1e-6

    @property
    def hidden(self) -> int:
        """D."""
        return self.heads * self.head_dim

    @property
    def rope_parts(self) -> tuple[int, int, int]:
        """Channels of a head for time, height and width."""
        space = 2 * (self.head_dim // 6)
        return self.head_dim - 2 * space, space, space

    @classmethod
    def published(cls, values: Mapping[str, Any]) -> WanConfig:
        """From the `config.json` beside the published weights; what it leaves out has the published value."""
        names = {
            **{"in_channels": "channels", "num_attention_heads": "heads", "attention_head_dim": "head_dim"},
            **{"ffn_dim": "mlp", "num_layers": "layers", "text_dim": "text", "freq_dim": "frequencies", "eps": "eps"},
        }
        found = {ours: values[theirs] for theirs, ours in names.items() if theirs in values}
        return cls(**found, patch=tuple(values.get("patch_size", (1, 2, 2)))[-1])


class Attention(nn.Module):
    """Projections of an attention layer; queries and keys are normalised over all heads together."""

    def __init__(self, config: WanConfig, cameras: bool):
        super().__init__()
        hidden, self.heads = config.hidden, config.heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(hidden, hidden) for _ in range(3))
        self.norm_q, self.norm_k = (nn.RMSNorm(hidden, eps=config.eps) for _ in range(2))
        self.to_out = nn.ModuleList([nn.Linear(hidden, hidden)])
        if cameras:
            self.to_out_prope = nn.ModuleList([_zeros(nn.Linear(hidden, hidden))])

    def queries(self, x: Tensor) -> Tensor:
        """(B, …, D) to (B, heads, N, d)."""
        return split_heads(self.norm_q(self.to_q(x)), self.heads)

    def keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(B, …, D) to keys and values (B, heads, N, d)."""
        return split_heads(self.norm_k(self.to_k(x)), self.heads), split_heads(self.to_v(x), self.heads)

    def over_text(self, x: Tensor, text: tuple[Tensor, Tensor]) -> Tensor:
        """x (B, F, L, D) looks at a text."""
        mixed = F.scaled_dot_product_attention(self.queries(x), *text)
        return self.to_out[0](join_heads(mixed, x))

    def over_video(self, x: Tensor, turn: Tensor, lenses: Lenses, attend: Any) -> Tensor:
        """x (B, F, L, D) looks at the video, by positions and by cameras."""
        q, (k, v) = self.queries(x), self.keys(x)
        queries = torch.cat([rotate(q, turn), project(q, lenses.forward.mT)], 1)
        keys = torch.cat([rotate(k, turn), project(k, lenses.inverse)], 1)
        values = torch.cat([v, project(v, lenses.inverse)], 1)
        placed, seen = attend(queries, keys, values).chunk(2, 1)
        seen = project(seen, lenses.forward)
        return self.to_out[0](join_heads(placed, x)) + self.to_out_prope[0](join_heads(seen, x))


class Gelu(nn.Module):
    """A linear layer and its activation, keyed as `proj`."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.proj = nn.Linear(inputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """gelu(proj x), tanh form."""
        return F.gelu(self.proj(x), approximate="tanh")


class FeedForward(nn.Module):
    """Two layers, keyed as `net.0.proj` and `net.2`."""

    def __init__(self, hidden: int, inner: int):
        super().__init__()
        self.net = nn.Sequential(Gelu(hidden, inner), nn.Identity(), nn.Linear(inner, hidden))

    def forward(self, x: Tensor) -> Tensor:
        """(…, D) to (…, D)."""
        return self.net(x)


class Block(nn.Module):
    """Self-attention with positions and cameras, a look at the text, feed-forward; norms and gates in float32."""

    def __init__(self, config: WanConfig):
        super().__init__()
        self.eps = config.eps
        self.attn1, self.attn2 = Attention(config, cameras=True), Attention(config, cameras=False)
        self.norm2 = nn.LayerNorm(config.hidden, eps=config.eps)
        self.ffn = FeedForward(config.hidden, config.mlp)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 6, config.hidden) / config.hidden**0.5)

    def forward(
        self, x: Tensor, change: Tensor, text: tuple[Tensor, Tensor], turn: Tensor, lenses: Lenses, attend: Any
    ) -> Tensor:
        """x (B, F, L, D), change (B, F, 6, D): shift, scale and gate of attention, then of the feed-forward network."""
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = (self.scale_shift_table + change.float()).split(1, 2)
        mixed = self.attn1.over_video(modulated(x, shift_a, scale_a, self.eps), turn, lenses, attend)
        x = (x.float() + mixed * gate_a).to(x.dtype)
        norm = self.norm2
        read = F.layer_norm(x.float(), norm.normalized_shape, norm.weight.float(), norm.bias.float(), norm.eps).to(x.dtype)
        x = x + self.attn2.over_text(read, text)
        grown = self.ffn(modulated(x, shift_m, scale_m, self.eps))
        return (x.float() + grown.float() * gate_m).to(x.dtype)


class Conditions(nn.Module):
    """Embeddings of time, label and text."""

    def __init__(self, config: WanConfig):
        super().__init__()
        hidden = config.hidden
        self.time_embedder = Embedder(config.frequencies, hidden)
        self.action_embedder = Embedder(config.frequencies, hidden)
        _zeros(self.action_embedder.linear_2)
        self.time_proj = nn.Linear(hidden, 6 * hidden)
        self.text_embedder = Embedder(config.text, hidden, nn.GELU(approximate="tanh"))

    def forward(self, timestep: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """(B, F) both: a vector per latent (B, F, D), and its six changes (B, F, 6, D)."""
        width = self.time_embedder.linear_1.in_features
        dtype = self.time_proj.weight.dtype
        vector = self.time_embedder(sinusoid(timestep, width)).to(dtype)
        vector = vector + self.action_embedder(sinusoid(labels, width)).to(dtype)
        return vector, self.time_proj(F.silu(vector)).unflatten(-1, (6, -1))


class WanWorldPlay(WorldPlayNetwork):
    """The 5B network. The first image's latent stands at place 0, clean and said to be at t = 14; nothing is asked of it."""

    FLOAT32 = ("time_embedder", "scale_shift_table", "norm2")
    memory_rule = WAN
    clamps_given = trains_text = True

    def __init__(self, config: WanConfig | None = None):
        super().__init__()
        self.config = config = config or WanConfig()
        patch = (1, config.patch, config.patch)
        self.patch_embedding = nn.Conv3d(config.channels, config.hidden, patch, stride=patch)
        self.condition_embedder = Conditions(config)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.proj_out = nn.Linear(config.hidden, config.channels * config.patch**2)
        self.scale_shift_table = nn.Parameter(torch.randn(1, 2, config.hidden) / config.hidden**0.5)

    def read_text(self, text: Tensor | Memo) -> Memo:
        """Keys and values of a text (C, S, text), S at most `text_tokens`; filled up with zeros that are seen."""
        if isinstance(text, Memo):
            return text
        config = self.config
        if text.ndim != 3 or text.shape[2] != config.text or text.shape[1] > config.text_tokens:
            limits = f"(C, S, {config.text}) with S at most {config.text_tokens}"
            raise InputError(f"the text has shape {tuple(text.shape)}, but the network needs {limits}")
        full = F.pad(text.to(self.proj_out.weight), (0, 0, 0, config.text_tokens - text.shape[1]))
        embedded = self.condition_embedder.text_embedder(full)
        return Memo(tuple(block.attn2.keys(embedded) for block in self.blocks))

    def no_text(self, rows: int = 1) -> Tensor:
        """(rows, 0, text): every position a zero. This is not the encoder's answer to an empty string."""
        weight = self.proj_out.weight
        return weight.new_zeros(rows, 0, self.config.text)

    def shown(self, z: Tensor, given: Tensor | None, indices: Tensor) -> Tensor:
        """The latents themselves."""
        return z

    def _run(self, shot: Shot, text: Memo, attend: Attend) -> Tensor:
        latents, dtype = shot.latents, self.proj_out.weight.dtype
        x = self.patch_embedding(latents.to(dtype).transpose(1, 2)).permute(0, 2, 3, 4, 1)  # (B, F, h', w', D)
        grid, x = x.shape[2:4], x.flatten(2, 3)
        vector, change = self.condition_embedder(shot.timestep, shot.labels)
        turn = turns(shot.positions, grid, self.config.rope_parts, self.config.rope_theta)
        lenses = Lenses.of(shot.camera_to_world, shot.intrinsics)
        for layer, block in enumerate(self.blocks):

            def here(q: Tensor, k: Tensor, v: Tensor, layer: int = layer) -> Tensor:
                return attend(layer, q, k, v)

            x = self._block(block, x, change, layer_rows(text, layer, len(x)), turn, lenses, here)
        shift, scale = (self.scale_shift_table + vector.float()[:, :, None]).split(1, 2)
        return self._cells(self.proj_out(modulated(x, shift, scale, self.config.eps)), grid).to(latents.dtype)

    def _cells(self, tokens: Tensor, grid: tuple[int, int]) -> Tensor:
        """(B, F, L, patch patch C) to (B, F, C, h, w)."""
        patch = self.config.patch
        cells = tokens.unflatten(2, grid).unflatten(-1, (patch, patch, -1))  # B F h' w' p p C
        return cells.permute(0, 1, 6, 2, 4, 3, 5).flatten(5).flatten(3, 4)

    def _memos(self, text: Memo, cache: Memo | None) -> list[Memo]:
        return [cache] if cache else []

    def _tokens(self, latents: Tensor) -> int:
        return latents.shape[-1] * latents.shape[-2] // self.config.patch**2

    def _check(self, latents: Tensor) -> None:
        patch = self.config.patch
        if latents.shape[2] != self.config.channels or any(size % patch for size in latents.shape[3:]):
            raise InputError(
                f"latents have shape {tuple(latents.shape)}, but the network needs {self.config.channels} channels and cells "
                f"in multiples of {patch}"
            )


def modulated(x: Tensor, shift: Tensor, scale: Tensor, eps: float) -> Tensor:
    """Normalise without own parameters, then scale and shift, in float32; returned in x's dtype."""
    return (F.layer_norm(x.float(), x.shape[-1:], eps=eps) * (1 + scale) + shift).to(x.dtype)


def _zeros(linear: nn.Linear) -> nn.Linear:
    nn.init.zeros_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear
