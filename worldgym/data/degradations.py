"""Graded damage to frames: blur, noise, wrong light and the like, each with a severity from 0 to 1.

- `DEGRADATIONS`: name -> function(frames, severity, random) for damage that needs nothing but the frames.
- `corrupted(codec, …)`: a codec's reconstruction with a share of its codes, or of its latents' precision, lost.

Every function takes frames (N, H, W, 3) uint8, severities (N,) in [0, 1] and a torch generator (on the CPU), and returns
frames of the same shape. Severity 0 is no damage (a reconstruction, for a codec), 1 is much.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Degradation = Callable[[Tensor, Tensor, torch.Generator], Tensor]
BLOCK = 8  # pixels


def blur(frames: Tensor, severity: Tensor, random: torch.Generator) -> Tensor:
    """Gaussian blur with a standard deviation of up to 3 pixels."""
    x = _unit(frames)
    sigma = 3 * _wide(severity, x).clamp(min=1e-3)
    reach = torch.arange(-8, 9, device=x.device)
    window = torch.softmax(-(reach**2) / (2 * sigma[..., 0] ** 2), -1)[:, 0, :]  # (N, 17)
    count, channels = x.shape[:2]
    flat = x.reshape(1, count * channels, *x.shape[2:])
    weight = window.repeat_interleave(channels, 0)[:, None]
    flat = F.conv2d(F.pad(flat, (8, 8, 0, 0), mode="replicate"), weight[:, :, None, :], groups=count * channels)
    flat = F.conv2d(F.pad(flat, (0, 0, 8, 8), mode="replicate"), weight[..., None], groups=count * channels)
    return _frames(flat.reshape(x.shape))


def noise(frames: Tensor, severity: Tensor, random: torch.Generator) -> Tensor:
    """Gaussian noise with a standard deviation of up to a quarter of the range."""
    x = _unit(frames)
    return _frames(x + 0.25 * _wide(severity, x) * torch.randn(x.shape, generator=random).to(x.device))


def darken(frames: Tensor, severity: Tensor, random: torch.Generator) -> Tensor:
    """Brightness times 1 down to 0.2."""
    x = _unit(frames)
    return _frames(x * (1 - 0.8 * _wide(severity, x)))


def flatten(frames: Tensor, severity: Tensor, random: torch.Generator) -> Tensor:
    """Contrast around the frame's mean colour times 1 down to 0.2."""
    x = _unit(frames)
    return _frames(torch.lerp(x, x.mean((2, 3), keepdim=True), 0.8 * _wide(severity, x)))


def tint(frames: Tensor, severity: Tensor, random: torch.Generator) -> Tensor:
    """A colour added everywhere: a random direction, up to 0.35 of the range long."""
    x = _unit(frames)
    way = torch.randn((len(x), 3, 1, 1), generator=random)
    way = (way - way.mean(1, keepdim=True)).to(x.device)
    return _frames(x + 0.35 * _wide(severity, x) * way / way.norm(dim=1, keepdim=True))


def pixelate(frames: Tensor, severity: Tensor, random: torch.Generator) -> Tensor:
    """Blocks of 8x8 pixels moved towards their own mean; at severity 1 each block is its mean."""
    x = _unit(frames)
    means = F.avg_pool2d(x, BLOCK).repeat_interleave(BLOCK, -1).repeat_interleave(BLOCK, -2)
    return _frames(torch.lerp(x, means, _wide(severity, x)))


def mosaic(frames: Tensor, severity: Tensor, random: torch.Generator) -> Tensor:
    """Blocks of 8x8 pixels replaced by blocks from elsewhere in the frame; at severity 1 half of the blocks."""
    blocks = frames.unflatten(2, (-1, BLOCK)).unflatten(1, (-1, BLOCK)).transpose(2, 3).flatten(1, 2)  # (N, cells, 8, 8, 3)
    order = torch.rand(blocks.shape[:2], generator=random).argsort(1)
    lost = torch.rand(blocks.shape[:2], generator=random) < 0.5 * severity.cpu()[:, None]
    source = torch.where(lost, order, torch.arange(blocks.shape[1])).to(frames.device)
    moved = blocks[torch.arange(len(blocks), device=frames.device)[:, None], source]
    rows = frames.shape[1] // BLOCK
    return moved.unflatten(1, (rows, -1)).transpose(2, 3).reshape(frames.shape)


def ghost(frames: Tensor, severity: Tensor, random: torch.Generator) -> Tensor:
    """A second picture, moved by 3 to 10 pixels to a side, mixed in up to half, as in the mean of two possible frames."""
    x = _unit(frames)
    shifts = torch.randint(3, 11, (len(x),), generator=random) * (1 - 2 * torch.randint(0, 2, (len(x),), generator=random))
    columns = torch.arange(x.shape[-1]) - shifts[:, None]
    columns = columns.clamp(0, x.shape[-1] - 1).to(x.device)
    moved = x.gather(3, columns[:, None, None].expand(x.shape))
    return _frames(torch.lerp(x, moved, 0.5 * _wide(severity, x)))


DEGRADATIONS: dict[str, Degradation] = {
    "blur": blur,
    "noise": noise,
    "darken": darken,
    "flatten": flatten,
    "tint": tint,
    "pixelate": pixelate,
    "mosaic": mosaic,
    "ghost": ghost,
}


def corrupted(codec: nn.Module, frames: Tensor, severity: Tensor, random: torch.Generator) -> Tensor:
    """A codec's reconstruction after up to 0.3 of the codes were replaced, or noise of up to 1 standard deviation was added to
    the latents.

    Args:
        codec: has `encode` to integer codes (N, L) or float latents (N, C, h, w), and `decode`.
        frames, severity, random: see the module.
    """
    codes = codec.encode(frames)
    amount = severity.to(codes.device).view(-1, *[1] * (codes.ndim - 1))
    if codes.is_floating_point():
        return codec.decode(codes + amount * torch.randn(codes.shape, generator=random).to(codes.device))
    lost = torch.rand(codes.shape, generator=random).to(codes.device) < 0.3 * amount
    others = torch.randint(0, codec.codes, codes.shape, generator=random).to(codes.device)
    return codec.decode(torch.where(lost, others, codes))


def _unit(frames: Tensor) -> Tensor:
    """(N, H, W, 3) uint8 -> (N, 3, H, W) in [0, 1]."""
    return frames.movedim(-1, 1).float() / 255


def _frames(unit: Tensor) -> Tensor:
    return (unit.clamp(0, 1) * 255).round().to(torch.uint8).movedim(1, -1).contiguous()


def _wide(severity: Tensor, x: Tensor) -> Tensor:
    return severity.to(x.device, x.dtype).view(-1, 1, 1, 1)
