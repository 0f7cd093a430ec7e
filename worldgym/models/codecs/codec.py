"""Two frame codecs, 8x smaller on each side: one to codes (for token models), one to latents (for diffusion).

- `FrameCodec`: finite scalar quantisation (FSQ, Mentzer et al. 2023, arXiv 2309.15505): every position of a 7x12 grid is a
  vector of a few numbers, each rounded to one of a few levels; together they are one code.
- `LatentCodec`: the same body without rounding; latents are whitened with running statistics.

Both read uint8 RGB frames and write uint8 RGB frames, so that everything between is theirs to decide.
"""

from __future__ import annotations

import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn

DOWN = 8  # pixels per position, each way


@dataclasses.dataclass(frozen=True)
class FrameCodecConfig:
    """A discrete codec.

    Attributes:
        levels: of each number at a position; their product is the number of codes V.
        wide: channels at 1/8 of the resolution. fine: channels at 1/4.
        blocks: residual blocks at each resolution of the decoder; the encoder has one fewer at 1/4.
        height, width: of a frame, pixels, multiples of 8.
    """

    levels: tuple[int, ...] = (8, 8, 6, 5)
    wide: int = 96
    fine: int = 48
    blocks: int = 2
    height: int = 56
    width: int = 96


@dataclasses.dataclass(frozen=True)
class LatentCodecConfig:
    """A continuous codec; fields as in `FrameCodecConfig`, and the number of latent channels C."""

    channels: int = 12
    wide: int = 96
    fine: int = 48
    blocks: int = 2
    height: int = 56
    width: int = 96


FRAME_PRESETS = {
    "nano": FrameCodecConfig(),
    "sharp": FrameCodecConfig(wide=128, fine=64, blocks=3),  # 4 ms a frame on a core
    "small": FrameCodecConfig(wide=320, fine=160, blocks=4),
}
LATENT_PRESETS = {
    "nano": LatentCodecConfig(),
    "sharp": LatentCodecConfig(channels=16, wide=128, fine=64, blocks=3),
    "small": LatentCodecConfig(channels=16, wide=320, fine=160, blocks=4),
}


class Block(nn.Module):
    """Residual block: norm, SiLU, 3x3 convolution, twice."""

    def __init__(self, channels: int):
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(4, channels), nn.GroupNorm(4, channels)
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        nn.init.zeros_(self.conv2.weight)  # starts as the identity

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # noqa: D102
        return x + self.conv2(F.silu(self.norm2(self.conv1(F.silu(self.norm1(x))))))


def encoder(out: int, wide: int, fine: int, blocks: int) -> nn.Sequential:
    """(B, 3, H, W) -> (B, out, H/8, W/8)."""
    return nn.Sequential(
        nn.PixelUnshuffle(4),
        nn.Conv2d(48, fine, 3, padding=1),
        *(Block(fine) for _ in range(blocks - 1)),
        nn.PixelUnshuffle(2),
        nn.Conv2d(4 * fine, wide, 1),
        *(Block(wide) for _ in range(blocks)),
        nn.GroupNorm(4, wide),
        nn.SiLU(),
        nn.Conv2d(wide, out, 1),
    )


def decoder(out: int, wide: int, fine: int, blocks: int) -> nn.Sequential:
    """(B, out, H/8, W/8) -> (B, 3, H, W)."""
    return nn.Sequential(
        nn.Conv2d(out, wide, 3, padding=1),
        *(Block(wide) for _ in range(blocks)),
        nn.Conv2d(wide, 4 * fine, 1),
        nn.PixelShuffle(2),
        *(Block(fine) for _ in range(blocks)),
        nn.GroupNorm(4, fine),
        nn.SiLU(),
        nn.Conv2d(fine, 48, 3, padding=1),
        nn.PixelShuffle(4),
    )


def to_unit(frames: torch.Tensor) -> torch.Tensor:
    """(…, H, W, 3) uint8 -> (…, 3, H, W) float32 in [-1, 1]."""
    return frames.movedim(-1, -3).float() / 127.5 - 1


def to_frames(unit: torch.Tensor) -> torch.Tensor:
    """(…, 3, H, W) float in [-1, 1] -> (…, H, W, 3) uint8, rounded."""
    return ((unit.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).movedim(-3, -1)


def as_shown(pictures: torch.Tensor) -> torch.Tensor:
    """Pictures as they reach a viewer, cut to [0, 1] and rounded to 255 steps; the gradient passes as if they had not been."""
    return pictures + ((pictures.detach().clamp(0, 1) * 255).round() / 255 - pictures.detach())


class _Codec(nn.Module):
    """What both codecs share: the body, and batches with any leading axes."""

    def __init__(self, config: FrameCodecConfig | LatentCodecConfig, out: int):
        super().__init__()
        self.config = config
        self.grid = (config.height // DOWN, config.width // DOWN)
        self.encoder = encoder(out, config.wide, config.fine, config.blocks)
        self.decoder = decoder(out, config.wide, config.fine, config.blocks)
        self.to(memory_format=torch.channels_last)  # twice as fast on a CPU

    def _flat(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Size]:
        config = self.config
        if frames.shape[-3:] != (config.height, config.width, 3) or frames.dtype != torch.uint8:
            raise ValueError(
                f"frames are {frames.dtype} {tuple(frames.shape)}; this codec reads "
                f"torch.uint8 (…, {config.height}, {config.width}, 3)"
            )
        unit = to_unit(frames.reshape(-1, config.height, config.width, 3))
        return unit.contiguous(memory_format=torch.channels_last), frames.shape[:-3]


class FrameCodec(_Codec):
    """Frames to codes and back.

    Attributes:
        codes: V. grid: (h, w); a frame has L = h * w codes in raster order.
    """

    def __init__(self, config: FrameCodecConfig):
        super().__init__(config, len(config.levels))
        self.codes = math.prod(config.levels)
        levels = torch.tensor(config.levels)
        self.register_buffer("_levels", levels, persistent=False)
        self.register_buffer(
            "_base", torch.cumprod(torch.cat([torch.ones(1, dtype=torch.long), levels[:-1]]), 0), persistent=False
        )

    @torch.no_grad()
    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """(…, H, W, 3) uint8 -> (…, L) int64 in [0, V)."""
        x, lead = self._flat(frames)
        index = self._round(self.encoder(x))[1]  # (N, h, w, numbers)
        return (index * self._base).sum(-1).reshape(*lead, -1)

    @torch.no_grad()
    def decode(self, codes: torch.Tensor) -> torch.Tensor:
        """(…, L) int64 -> (…, H, W, 3) uint8."""
        frames = to_frames(self._unit(self.values(codes)))
        return frames.reshape(*codes.shape[:-1], *frames.shape[1:])

    def values(self, codes: torch.Tensor) -> torch.Tensor:
        """The numbers that codes stand for: (…) int64 -> (…, n) float in [-1, 1]."""
        return self._values(codes[..., None] // self._base % self._levels)

    def pictures(self, values: torch.Tensor) -> torch.Tensor:
        """`decode` of values before rounding, with a gradient: (…, L, n) float -> (…, H, W, 3) float, about [0, 1]."""
        pictures = (self._unit(values).movedim(1, -1) + 1) / 2
        return pictures.reshape(*values.shape[:-2], *pictures.shape[1:])

    def _unit(self, values: torch.Tensor) -> torch.Tensor:
        """(…, L, n) -> (N, 3, H, W), about [-1, 1]."""
        return self.decoder(values.reshape(-1, *self.grid, values.shape[-1]).movedim(-1, 1))

    def loss(self, frames: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        """Reconstruction loss of (B, H, W, 3) uint8, in squared units of [-1, 1]; gradients pass the rounding unchanged."""
        return reconstruction(*self.reconstruct(frames))

    def reconstruct(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Frames and what comes back, (B, 3, H, W) in about [-1, 1] each, and what codes cost (nothing)."""
        x, _ = self._flat(frames)
        return x, self.decoder(self._round(self.encoder(x))[0]), x.new_zeros(())

    def _round(self, z: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(N, numbers, h, w) any real -> quantised values (N, numbers, h, w) in [-1, 1] and indices (N, h, w, numbers)."""
        bounded = (torch.tanh(z.movedim(1, -1)) + 1) / 2 * (self._levels - 1)  # in [0, levels - 1]
        index = bounded.round().long()
        straight_through = bounded + (index - bounded).detach()
        return (straight_through / (self._levels - 1) * 2 - 1).movedim(-1, 1), index

    def _values(self, index: torch.Tensor) -> torch.Tensor:
        return index / (self._levels - 1) * 2 - 1


class LatentCodec(_Codec):
    """Frames to latents and back.

    Attributes:
        channels: C. grid: (h, w). Latents have about zero mean and unit variance per channel.
    """

    def __init__(self, config: LatentCodecConfig):
        super().__init__(config, config.channels)
        self.channels = config.channels
        self.register_buffer("mean", torch.zeros(config.channels))
        self.register_buffer("std", torch.ones(config.channels))

    @torch.no_grad()
    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        """(…, H, W, 3) uint8 -> (…, C, h, w) float32."""
        x, lead = self._flat(frames)
        z = (self.encoder(x) - self.mean[:, None, None]) / self.std[:, None, None]
        return z.reshape(*lead, self.channels, *self.grid)

    @torch.no_grad()
    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        """(…, C, h, w) float -> (…, H, W, 3) uint8."""
        frames = to_frames(self._unit(latents))
        return frames.reshape(*latents.shape[:-3], *frames.shape[1:])

    def pictures(self, latents: torch.Tensor) -> torch.Tensor:
        """`decode` before rounding, with a gradient: (…, C, h, w) float -> (…, H, W, 3) float, about [0, 1]."""
        pictures = (self._unit(latents).movedim(-3, -1) + 1) / 2
        return pictures.reshape(*latents.shape[:-3], *pictures.shape[1:])

    def _unit(self, latents: torch.Tensor) -> torch.Tensor:
        """(…, C, h, w) -> (N, 3, H, W), about [-1, 1]."""
        z = latents.reshape(-1, self.channels, *self.grid) * self.std[:, None, None] + self.mean[:, None, None]
        return self.decoder(z)

    def loss(self, frames: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        """Reconstruction loss of (B, H, W, 3) uint8 and a weak pull of the latents to unit variance."""
        return reconstruction(*self.reconstruct(frames))

    def reconstruct(self, frames: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Frames and what comes back, (B, 3, H, W) in about [-1, 1] each, and the pull of the latents to unit variance.

        A little noise on the latents makes near latents decode to near frames, which a diffusion model needs.
        """
        x, _ = self._flat(frames)
        z = self.encoder(x).float()
        if z.requires_grad:  # not where the encoder stays as it is
            self._track(z.detach())
        noisy = z + 0.1 * self.std[:, None, None] * torch.randn_like(z)
        return x, self.decoder(noisy), 1e-4 * z.float().square().mean()

    def _track(self, z: torch.Tensor) -> None:
        mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
        self.mean.lerp_(mean, 0.02)
        self.std.lerp_(std, 0.02)


def reconstruction(
    truth: torch.Tensor, guess: torch.Tensor, extra: torch.Tensor
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Mean squared error plus a tenth of the mean absolute error, plus what the latents cost; the log is PSNR in dB."""
    guess = guess.float()
    error = F.mse_loss(guess, truth)
    loss = error + 0.1 * F.l1_loss(guess, truth) + extra
    return loss, {"psnr": 10 * torch.log10(4 / error.detach().clamp(min=1e-10))}
