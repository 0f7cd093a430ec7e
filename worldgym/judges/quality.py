"""Quality of a single frame without a reference: a net that was trained to rank frames.

- `Quality`: frames (…, H, W, 3) to a number in [0, 1] each; `stages` gives its inner features (see `judges.perceptual`).
- `ranking_loss`: the Bradley-Terry loss it was trained with.
- `PRESETS`: "nano" (convolutions) for rewards; "nano-heldout" (patches, attention) for evaluation; "small" and
  "small-heldout" for a GPU. What is used as a reward never evaluates.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

from worldgym.errors import InputError

SCALE = 10.0  # log-odds of a frame of quality 1 against one of quality 0
PATCH = 8  # pixels
STEMS = ("convolution", "patches")


@dataclasses.dataclass(frozen=True)
class QualityConfig:
    """A quality net.

    Attributes:
        stem: "convolution" (a strided image network) or "patches" (a transformer over patches of 8x8 pixels).
        widths: channels at 1/2, 1/4 and 1/8 of the resolution; of the patches only the last counts.
        layers: residual blocks per resolution, or transformer layers.
        height, width: of a frame, pixels, multiples of 8.
    """

    stem: str = "convolution"
    widths: tuple[int, int, int] = (24, 48, 96)
    layers: int = 1
    height: int = 56
    width: int = 96


PRESETS = {
    "nano": QualityConfig(),
    "nano-heldout": QualityConfig(stem="patches", widths=(0, 0, 128), layers=3),
    "small": QualityConfig(widths=(64, 128, 256), layers=2),
    "small-heldout": QualityConfig(stem="patches", widths=(0, 0, 384), layers=6),
}


class Quality(nn.Module):
    """Stages of image features, their mean and spread over the frame, then one number between 0 and 1."""

    def __init__(self, config: QualityConfig):
        super().__init__()
        if config.stem not in STEMS:
            raise InputError(f"stem of a quality net is {config.stem!r}, but must be one of {', '.join(STEMS)}")
        self.config = config
        self.body = nn.ModuleList(_convolutions(config) if config.stem == "convolution" else _patches(config))
        self.to(memory_format=torch.channels_last)
        wide = config.widths[-1]
        seen = 2 * (sum(config.widths) if config.stem == "convolution" else wide * config.layers)
        self.norm = nn.LayerNorm(seen)
        self.head = nn.Sequential(nn.Linear(seen, wide), nn.SiLU(), nn.Linear(wide, 1))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Quality q of every frame; by the net, frame a is better than frame b with odds exp(10 (q_a - q_b)).

        Args:
            frames: (…, H, W, 3) uint8 RGB.

        Returns:
            (…,) float32 in [0, 1]; frames as the game draws them are near 1.
        """
        self.check(frames)
        return self.quality_of(frames.float() / 255)

    def quality_of(self, unit: torch.Tensor) -> torch.Tensor:
        """`forward` of pictures (…, H, W, 3) float in [0, 1], with a gradient for them."""
        stages = self._stages(unit)
        pooled = torch.cat([torch.cat([x.mean((2, 3)), x.flatten(2).std(-1)], 1) for x in stages], 1)
        return torch.sigmoid(self.head(self.norm(pooled))[:, 0]).reshape(unit.shape[:-3])

    def stages(self, frames: torch.Tensor) -> list[torch.Tensor]:
        """(…, H, W, 3) uint8 -> features (N, C, h, w) of every stage, from fine to coarse; N the product of the rest.

        Convolutions take any H and W that are multiples of 8.
        """
        if self.config.stem == "patches" or frames.shape[-3] % PATCH or frames.shape[-2] % PATCH:
            self.check(frames)
        return self._stages(frames.float() / 255)

    def _stages(self, unit: torch.Tensor) -> list[torch.Tensor]:
        x = unit.flatten(0, -4).movedim(-1, 1) - 0.5  # channels last in memory: no copy
        outputs = []
        for stage in self.body:
            x = stage(x)
            outputs.append(x)
        return outputs

    def check(self, frames: torch.Tensor) -> None:
        """Raise InputError unless the frames are uint8 RGB of the net's own size."""
        want = (self.config.height, self.config.width, 3)
        if frames.ndim < 4 or tuple(frames.shape[-3:]) != want or frames.dtype != torch.uint8:
            raise InputError(
                f"frames are {frames.dtype} {tuple(frames.shape)}; "
                f"this quality net reads torch.uint8 (…, {want[0]}, {want[1]}, 3)"
            )


def ranking_loss(quality: torch.Tensor, pairs: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
    """Bradley-Terry: mean of -log sigmoid(10 (q_better - q_worse)), and the share of pairs in the right order.

    Args:
        quality: (N,) in [0, 1].
        pairs: (P, 2) int64 rows of `quality`: the better one, the worse one.
    """
    difference = quality[pairs[:, 0]] - quality[pairs[:, 1]]
    return F.softplus(-SCALE * difference).mean(), {"accuracy": (difference > 0).float().mean().item()}


class _Block(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(4, channels)
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(self.norm(x)))))


class _Attention(nn.Module):
    """A transformer layer on a grid (N, C, h, w)."""

    def __init__(self, channels: int):
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(
            channels, channels // 32, 2 * channels, 0.0, "gelu", batch_first=True, norm_first=True
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(2).mT).mT.unflatten(-1, x.shape[2:])


class _Embed(nn.Module):
    """Patches of the frame, and of its difference from its 3x3 mean times four, which shows blur and noise."""

    def __init__(self, channels: int, height: int, width: int):
        super().__init__()
        self.linear = nn.Conv2d(6, channels, PATCH, PATCH)
        self.places = nn.Parameter(0.02 * torch.randn(1, channels, height // PATCH, width // PATCH))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        fine = x - F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)
        return self.linear(torch.cat([x, 4 * fine], 1)) + self.places


def _convolutions(config: QualityConfig) -> list[nn.Module]:
    before = 12
    stages = []
    for index, channels in enumerate(config.widths):
        begin = [nn.PixelUnshuffle(2), nn.Conv2d(before, channels, 3, padding=1)]
        if index:
            begin = [nn.SiLU(), nn.Conv2d(before, channels, 3, 2, 1)]
        stages.append(nn.Sequential(*begin, *(_Block(channels) for _ in range(config.layers))))
        before = channels
    return stages


def _patches(config: QualityConfig) -> list[nn.Module]:
    wide = config.widths[-1]
    layers = [_Attention(wide) for _ in range(config.layers)]
    return [nn.Sequential(_Embed(wide, config.height, config.width), layers[0]), *layers[1:]]
