"""WorldPlay-8B: HunyuanVideo-1.5 with actions and cameras, keyed like the published file; the autoregressive form.

- `HunyuanConfig`: sizes; the defaults are the published ones. `HunyuanWorldPlay`: the network; start reading at `_run`.

Text and video have their own weights in every block. Unlike in the base model (`diffusers`: HunyuanVideo15Transformer3DModel)
the text is read by itself, once per prompt and at timestep 0, and the video attends to the keys and values that are left. The
additions: `action_in`, added to the time vector of a latent, and `double_blocks.*.img_attn_prope_proj` for a second attention
with cameras in place of positions (`prope.py`), in which the text has no camera. So moving the whole world changes the answer:
the first pose of a path must be the identity.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym.errors import InputError
from worldgym.models.diffusion.worldplay.context import Attend, Memo
from worldgym.models.diffusion.worldplay.hunyuan_text import GlyphIn, Mlp, TextIn, TimeIn, Told, VisionIn, padded, valid
from worldgym.models.diffusion.worldplay.network import Shot, WorldPlayNetwork, join_heads, split_heads
from worldgym.models.diffusion.worldplay.prope import Lenses, project
from worldgym.models.diffusion.worldplay.rope import rotate, turns
from worldgym.models.diffusion.worldplay.view_memory import HUNYUAN

NAMES = {  # of config.json, in the original form and in that of diffusers
    **{"hidden_size": "hidden", "heads_num": "heads", "mm_double_blocks_depth": "layers", "rope_dim_list": "rope_parts"},
    **{"text_states_dim": "text", "vision_states_dim": "vision", "mlp_width_ratio": "mlp_ratio", "out_channels": "channels"},
    **{"num_attention_heads": "heads", "num_layers": "layers", "rope_axes_dim": "rope_parts", "text_embed_dim": "text"},
    **{"image_embed_dim": "vision", "text_embed_2_dim": "glyph", "num_refiner_layers": "refiner_layers"},
    **{"mlp_ratio": "mlp_ratio", "rope_theta": "rope_theta"},
}


@dataclasses.dataclass(frozen=True)
class HunyuanConfig:
    """Sizes of the network.

    Attributes:
        channels: C, latent channels; the network takes 2 C + 1.
        hidden: D. heads: of attention. layers: blocks. mlp_ratio: inner width of feed-forward networks, in D.
        refiner_layers: blocks that refine the text.
        text, glyph, vision: widths of the encoders; glyph_inner: width within `byt5_in`.
        rope_parts: channels of a head for time, height and width; they add up to D / heads, a multiple of 4.
        rope_theta: base of the rotary frequencies. frequencies: width of the sinusoid. eps: of the norms.
    """

    channels: int = 32
    hidden: int = 2048
    heads: int = 16
    layers: int = 54
    mlp_ratio: float = 4.0
    refiner_layers: int = 2
    text: int = 3584
    glyph: int = 1472
    glyph_inner: int = 2048
    vision: int = 1152
    rope_parts: tuple[int, int, int] = (16, 56, 56)
    rope_theta: float = 256.0
    frequencies: int = 256
    eps: float = 1e-6

    def __post_init__(self):
        object.__setattr__(self, "rope_parts", tuple(self.rope_parts))  # JSON brings lists
        if sum(self.rope_parts) * self.heads != self.hidden:
            raise InputError(f"rope parts {self.rope_parts} times {self.heads} heads do not add up to the width {self.hidden}")

    @classmethod
    def published(cls, values: Mapping[str, Any]) -> HunyuanConfig:
        """From a `config.json`, in the original form or that of diffusers; what it leaves out has the published value."""
        found = {ours: values[theirs] for theirs, ours in NAMES.items() if values.get(theirs) is not None}
        if "attention_head_dim" in values:
            found["hidden"] = values["attention_head_dim"] * found.get("heads", cls.heads)
        return cls(**found)


class Modulation(nn.Module):
    """Six changes from a vector, keyed `linear`: shift, scale and gate of attention, then of the feed-forward network."""

    def __init__(self, hidden: int):
        super().__init__()
        self.linear = nn.Linear(hidden, 6 * hidden)

    def forward(self, vector: Tensor) -> tuple[Tensor, ...]:
        """(B, F, D) to six of (B, F, 1, D)."""
        return self.linear(F.silu(vector))[:, :, None].chunk(6, -1)


class Block(nn.Module):
    """Weights of both streams, `img_*` and `txt_*`; who attends to whom is handed in."""

    def __init__(self, config: HunyuanConfig):
        super().__init__()
        hidden, self.heads, self.eps = config.hidden, config.heads, config.eps
        for side in ("img", "txt"):
            self.add_module(f"{side}_mod", Modulation(hidden))
            for part in ("q", "k", "v", "proj"):
                self.add_module(f"{side}_attn_{part}", nn.Linear(hidden, hidden))
            for part in ("q", "k"):
                self.add_module(f"{side}_attn_{part}_norm", nn.RMSNorm(hidden // self.heads, eps=config.eps))
            self.add_module(f"{side}_mlp", Mlp(hidden, int(hidden * config.mlp_ratio), nn.GELU(approximate="tanh")))
        self.img_attn_prope_proj = nn.Linear(hidden, hidden)
        nn.init.zeros_(self.img_attn_prope_proj.weight)
        nn.init.zeros_(self.img_attn_prope_proj.bias)

    def forward(self, x: Tensor, vector: Tensor, turn: Tensor, lenses: Lenses, attend: Callable[..., Tensor]) -> Tensor:
        """The video x (B, F, L, D) with time vectors (B, F, D)."""

        def mixed(normed: Tensor) -> Tensor:
            q, k, v = self._heads("img", normed)
            queries = torch.cat([rotate(q, turn), project(q, lenses.forward.mT)], 1)
            keys = torch.cat([rotate(k, turn), project(k, lenses.inverse)], 1)
            placed, seen = attend(queries, keys, torch.cat([v, project(v, lenses.inverse)], 1)).chunk(2, 1)
            seen = self.img_attn_prope_proj(join_heads(project(seen, lenses.forward), x))
            return self.img_attn_proj(join_heads(placed, x)) + seen

        return self._residuals("img", x, vector, mixed)

    def read(self, x: Tensor, vector: Tensor, kept: list[tuple[Tensor, Tensor]]) -> Tensor:
        """The text x (1, 1, S, D) with the vector of timestep 0 (1, 1, D); its keys and values are put into `kept`."""

        def mixed(normed: Tensor) -> Tensor:
            q, k, v = self._heads("txt", normed)
            kept.append((k, v))
            return self.txt_attn_proj(join_heads(F.scaled_dot_product_attention(q, k, v), x))

        return self._residuals("txt", x, vector, mixed)

    def _residuals(self, side: str, x: Tensor, vector: Tensor, mixed: Callable[[Tensor], Tensor]) -> Tensor:
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = getattr(self, f"{side}_mod")(vector)
        x = x + mixed(self._normed(x, shift_a, scale_a)) * gate_a
        return x + getattr(self, f"{side}_mlp")(self._normed(x, shift_m, scale_m)) * gate_m

    def _normed(self, x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], eps=self.eps) * (1 + scale) + shift

    def _heads(self, side: str, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(B, F, L, D) to queries, keys and values (B, heads, N, d), the first two normalised per head."""
        q, k, v = (split_heads(getattr(self, f"{side}_attn_{part}")(x), self.heads) for part in "qkv")
        return getattr(self, f"{side}_attn_q_norm")(q), getattr(self, f"{side}_attn_k_norm")(k), v


class Patches(nn.Module):
    """Cells to tokens, one each, keyed `proj`."""

    def __init__(self, inputs: int, hidden: int):
        super().__init__()
        self.proj = nn.Conv3d(inputs, hidden, 1)

    def forward(self, latents: Tensor) -> Tensor:
        """(B, F, c, h, w) to (B, F, h w, D)."""
        return self.proj(latents.transpose(1, 2)).permute(0, 2, 3, 4, 1).flatten(2, 3)


class Final(nn.Module):
    """Modulated norm and projection to cells."""

    def __init__(self, hidden: int, channels: int, eps: float):
        super().__init__()
        self.eps = eps
        self.linear = nn.Linear(hidden, channels)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(hidden, 2 * hidden))

    def forward(self, x: Tensor, vector: Tensor) -> Tensor:
        """(B, F, L, D) and (B, F, D) to (B, F, L, C)."""
        shift, scale = self.adaLN_modulation(vector)[:, :, None].chunk(2, -1)
        return self.linear(F.layer_norm(x, x.shape[-1:], eps=self.eps) * (1 + scale) + shift)


class HunyuanWorldPlay(WorldPlayNetwork):
    """The 8B network. The first image enters as condition channels of latent 0, which is generated like the others."""

    memory_rule = HUNYUAN
    clamps_given = trains_text = False

    def __init__(self, config: HunyuanConfig | None = None):
        super().__init__()
        self.config = config = config or HunyuanConfig()
        hidden, inner = config.hidden, int(config.hidden * config.mlp_ratio)
        self.img_in = Patches(2 * config.channels + 1, hidden)
        refiner = (config.frequencies, hidden, config.heads, inner, config.refiner_layers, config.eps)
        self.txt_in = TextIn(config.text, *refiner)
        self.byt5_in = GlyphIn(config.glyph, config.glyph_inner, hidden)
        self.vision_in = VisionIn(config.vision, hidden)
        self.cond_type_embedding = nn.Embedding(3, hidden)
        self.time_in, self.action_in = (TimeIn(config.frequencies, hidden) for _ in range(2))
        nn.init.zeros_(self.action_in.mlp[2].weight)
        nn.init.zeros_(self.action_in.mlp[2].bias)
        self.double_blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.final_layer = Final(hidden, config.channels, config.eps)

    def read_text(self, text: Told | Memo) -> Memo:
        """Keys and values of what was told, padding dropped; one prompt after the other, so a batch equals its singles."""
        if isinstance(text, Memo):
            return text
        rows = [self._read(text, row) for row in range(len(text))]
        layers, lengths = [], None
        for layer in zip(*rows, strict=True):
            (keys, lengths), (values, _) = (padded(list(side)) for side in zip(*layer, strict=True))
            layers.append((keys, values))
        return Memo(tuple(layers), 0, lengths)

    def no_text(self, rows: int = 1) -> Told:
        """No tokens at all. This is not the encoders' answer to an empty string."""
        return Told(rows=rows)

    def shown(self, z: Tensor, given: Tensor | None, indices: Tensor) -> Tensor:
        """Noisy channels, then the image's latent at latent 0 and zeros elsewhere, then 1 where it stands."""
        first = (
            (indices == 0).to(z)[:, :, None, None, None]
            if given is not None
            else z.new_zeros(z.shape[:2])[..., None, None, None]
        )
        condition = torch.zeros_like(z) if given is None else given[:, None].to(z) * first
        return torch.cat([z, condition, first.expand(*z.shape[:2], 1, *z.shape[3:])], 2)

    def _read(self, told: Told, row: int) -> list[tuple[Tensor, Tensor]]:
        """Keys and values (1, heads, S, d) of one prompt, layer by layer."""
        weight = self.txt_in.input_embedder.weight
        parts = (  # module, states, row of the type embedding
            (self.vision_in, valid(told.vision, None, row), 2),
            (self.byt5_in, valid(told.glyphs, told.glyphs_mask, row), 1),
            (self.txt_in, valid(told.text, told.text_mask, row), 0),
        )
        tokens = [module(x.to(weight)) + self.cond_type_embedding.weight[kind] for module, x, kind in parts if x is not None]
        x = torch.cat(tokens, 1) if tokens else weight.new_zeros(1, 0, self.config.hidden)
        x, vector, kept = x[:, None], self.time_in(x.new_zeros(1, 1)), []
        for block in self.double_blocks:
            x = block.read(x, vector, kept)
        return kept

    def _run(self, shot: Shot, text: Memo, attend: Attend) -> Tensor:
        latents, config = shot.latents, self.config
        grid = latents.shape[-2:]
        x = self.img_in(latents.to(self.final_layer.linear.weight.dtype))
        vector = self.time_in(shot.timestep) + self.action_in(shot.labels)
        turn = turns(shot.positions, grid, config.rope_parts, config.rope_theta)
        lenses = Lenses.of(shot.camera_to_world, shot.intrinsics)
        for layer, block in enumerate(self.double_blocks):

            def here(q: Tensor, k: Tensor, v: Tensor, layer: int = layer) -> Tensor:
                return attend(layer, q, k, v)

            x = self._block(block, x, vector, turn, lenses, here)
        return self.final_layer(x, vector).mT.unflatten(-1, grid).to(latents.dtype)

    def _memos(self, text: Memo, cache: Memo | None) -> list[Memo]:
        return [text, cache] if cache else [text]

    def _tokens(self, latents: Tensor) -> int:
        return latents.shape[-1] * latents.shape[-2]

    def _check(self, latents: Tensor) -> None:
        needed = 2 * self.config.channels + 1
        if latents.shape[2] != needed:
            raise InputError(
                f"latents have shape {tuple(latents.shape)}, but the network needs {needed} channels: noisy ones, the image's "
                "and a mark, as `shown` puts them together"
            )
