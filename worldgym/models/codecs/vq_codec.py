"""MineWorld's tokenizer: a convolutional VQGAN, 16 times smaller on each side (arXiv 2504.08388, section 3.1).

The network is that of aMUSEd's tokenizer (`VQModel` in the diffusers library), whose parameter names are kept: residual
blocks at five resolutions without attention, and a table of 8192 vectors; a position's code is the nearest vector's number.

- `VQConfig`: sizes; the defaults are the published ones (146,244,675 parameters). `VQCodec`: frames to codes and back.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym.errors import InputError


@dataclasses.dataclass(frozen=True)
class VQConfig:
    """A VQ codec.

    Attributes:
        channels: at each resolution from the finest; every one but the last is halved on each side.
        layers: residual blocks per resolution of the encoder; the decoder has one more.
        latent: channels between network and table. embed: width of the table. codes: V, its rows.
        groups: of the group normalisation.
        height, width: of a frame, pixels.
    """

    channels: tuple[int, ...] = (128, 256, 256, 512, 768)
    layers: int = 2
    latent: int = 64
    embed: int = 64
    codes: int = 8192
    groups: int = 32
    height: int = 224
    width: int = 384

    def __post_init__(self):
        if self.height % self.down or self.width % self.down:
            raise InputError(f"frames of {self.height} x {self.width} pixels do not divide by {self.down}")
        if any(width % self.groups for width in self.channels):
            raise InputError(f"channels {self.channels} must be multiples of the {self.groups} groups of their norms")

    @property
    def down(self) -> int:
        """Pixels per position, each way."""
        return 2 ** (len(self.channels) - 1)


class _Resnet(nn.Module):
    """Norm, SiLU, 3x3 convolution, twice, added to the input."""

    def __init__(self, config: VQConfig, before: int, after: int):
        super().__init__()
        self.norm1 = nn.GroupNorm(config.groups, before, eps=1e-6)
        self.conv1 = nn.Conv2d(before, after, 3, padding=1)
        self.norm2 = nn.GroupNorm(config.groups, after, eps=1e-6)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1)
        if before != after:
            self.conv_shortcut = nn.Conv2d(before, after, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))
        return y + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class _Halve(nn.Module):
    """Every second pixel of a 3x3 convolution that looks right and down."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.pad(x, (0, 1, 0, 1)))


class _Double(nn.Module):
    """Pixels repeated, then a 3x3 convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


class _Stage(nn.Module):
    """Residual blocks at one resolution, and the change to the next where there is one."""

    def __init__(self, config: VQConfig, before: int, after: int, blocks: int, change: str | None):
        super().__init__()
        self.resnets = nn.ModuleList(_Resnet(config, before if k == 0 else after, after) for k in range(blocks))
        self.change = change
        if change:
            self.add_module(change, nn.ModuleList([_Halve(after) if change == "downsamplers" else _Double(after)]))

    def forward(self, x: Tensor) -> Tensor:
        for block in self.resnets:
            x = block(x)
        return getattr(self, self.change)[0](x) if self.change else x


class _Encoder(nn.Module):
    def __init__(self, config: VQConfig):
        super().__init__()
        widths = config.channels
        self.conv_in = nn.Conv2d(3, widths[0], 3, padding=1)
        pairs = list(zip((widths[0], *widths), widths, strict=False))
        self.down_blocks = nn.ModuleList(
            _Stage(config, *pair, config.layers, "downsamplers" if k < len(widths) - 1 else None)
            for k, pair in enumerate(pairs)
        )
        self.mid_block = _Stage(config, widths[-1], widths[-1], 2, None)
        self.conv_norm_out = nn.GroupNorm(config.groups, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[-1], config.latent, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv_in(x)
        for stage in self.down_blocks:
            x = stage(x)
        return self.conv_out(F.silu(self.conv_norm_out(self.mid_block(x))))


class _Decoder(nn.Module):
    def __init__(self, config: VQConfig):
        super().__init__()
        widths = config.channels[::-1]
        self.conv_in = nn.Conv2d(config.latent, widths[0], 3, padding=1)
        self.mid_block = _Stage(config, widths[0], widths[0], 2, None)
        pairs = list(zip((widths[0], *widths), widths, strict=False))
        self.up_blocks = nn.ModuleList(
            _Stage(config, *pair, config.layers + 1, "upsamplers" if k < len(widths) - 1 else None)
            for k, pair in enumerate(pairs)
        )
        self.conv_norm_out = nn.GroupNorm(config.groups, widths[-1], eps=1e-6)
        self.conv_out = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.mid_block(self.conv_in(z))
        for stage in self.up_blocks:
            x = stage(x)
        return self.conv_out(F.silu(self.conv_norm_out(x)))


class _Table(nn.Module):
    def __init__(self, codes: int, width: int):
        super().__init__()
        self.embedding = nn.Embedding(codes, width)


class VQCodec(nn.Module):
    """Frames to codes and back, with the face of `worldgym.models.codecs.codec.FrameCodec`.

    Attributes:
        codes: V. grid: (h, w); a frame has L = h * w codes in raster order.
    """

    def __init__(self, config: VQConfig):
        super().__init__()
        self.config, self.codes = config, config.codes
        self.grid = (config.height // config.down, config.width // config.down)
        self.encoder, self.decoder = _Encoder(config), _Decoder(config)
        self.quant_conv = nn.Conv2d(config.latent, config.embed, 1)
        self.post_quant_conv = nn.Conv2d(config.embed, config.latent, 1)
        self.quantize = _Table(config.codes, config.embed)

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """(…, H, W, 3) uint8 -> (…, L) int64 in [0, V), the table's rows nearest by Euclidean distance."""
        config, table = self.config, self.quantize.embedding.weight
        if frames.shape[-3:] != (config.height, config.width, 3) or frames.dtype != torch.uint8:
            raise InputError(
                f"frames are {frames.dtype} {tuple(frames.shape)}; this codec reads "
                f"torch.uint8 (…, {config.height}, {config.width}, 3)"
            )
        lead, flat = frames.shape[:-3], frames.reshape(-1, *frames.shape[-3:])
        codes = []
        for frame in flat.split(1):  # one by one: little memory, and a batch equals its singles
            unit = (frame.movedim(-1, 1).float() / 255 - 0.5) / 0.5
            z = self.quant_conv(self.encoder(unit.to(table.dtype)))
            z = z.movedim(1, -1).reshape(-1, config.embed)
            codes.append(torch.cdist(z.float(), table.float()).argmin(1))
        return torch.stack(codes).reshape(*lead, -1) if codes else flat.new_zeros((*lead, self.grid[0] * self.grid[1])).long()

    @torch.no_grad()
    def decode(self, codes: Tensor) -> Tensor:
        """(…, L) int64 -> (…, H, W, 3) uint8; fractions are cut off, as published."""
        frames = []
        for each in codes.reshape(-1, 1, *self.grid):
            z = self.quantize.embedding(each).movedim(-1, 1).contiguous()
            unit = self.decoder(self.post_quant_conv(z)).clamp(-1, 1)
            frames.append(((unit.float() + 1) / 2 * 255).to(torch.uint8)[0].movedim(0, -1))
        config = self.config
        return torch.stack(frames).reshape(*codes.shape[:-1], config.height, config.width, 3)
