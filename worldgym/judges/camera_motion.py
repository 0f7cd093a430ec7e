"""Reads the camera's motion back from a video: forward, right, up, yaw, pitch of every step.

- `CameraMotion`: frames (B, T, H, W, 3) to motion (B, T-1, 5), see `worldgym.judges.camera_labels`.
- `PRESETS`: "nano" (pixels and displacements, transformer) for rewards; "nano-heldout" (whole matching volumes, recurrent)
  for evaluation. What is used as a reward never evaluates.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

from worldgym.errors import InputError
from worldgym.judges import matching
from worldgym.judges.camera_labels import COLUMNS, mirrored
from worldgym.judges.inverse_dynamics import augment

SCALES = (20.0, 20.0, 16.0, 6.0, 2.0)  # map units and degrees that the network's outputs of 1 stand for
# The loss is linear beyond this. With a much smaller value it asks for the median, which is no turn, and little is learned.
BETA = 0.3
SHARPER = 4.0  # power of the matching weights before their mean is taken
REGIONS = (2, 3)  # parts of the picture whose matching costs are put together


@dataclasses.dataclass(frozen=True)
class CameraMotionConfig:
    """A camera motion model.

    Attributes:
        frames: per clip in training; any length is read.
        stem: "volume" (matching volumes and pixels in cells of 8) or "pixels" (a strided image network, joined by the
            displacements that matching finds).
        trunk: "transformer" or "gru", over the steps of a clip.
        widths: channels at 1/4, 1/8 and 1/16 of the resolution.
        hidden: of the trunk. layers: of the trunk.
        height, width: of a frame, pixels; multiples of 8.
    """

    frames: int = 16
    stem: str = "pixels"
    trunk: str = "transformer"
    widths: tuple[int, int, int] = (32, 48, 48)
    hidden: int = 192
    layers: int = 2
    height: int = 56
    width: int = 96


PRESETS = {
    "nano": CameraMotionConfig(),
    "nano-heldout": CameraMotionConfig(stem="volume", trunk="gru", widths=(0, 64, 48), hidden=160, layers=1),
}


class _Block(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(4, channels)
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(self.norm(x)))))


class CameraMotion(nn.Module):
    """An image network over neighbouring frames, then a trunk over steps that looks both ways, then five numbers per step."""

    def __init__(self, config: CameraMotionConfig):
        super().__init__()
        self.config = config
        a, b, c = config.widths
        if config.stem == "volume":
            pixels = 6 * matching.CELL**2
            self.near = nn.Sequential(nn.Conv2d(matching.CHANNELS + SHIFTS + pixels, b, 1), _Block(b))
        else:
            begin = [nn.PixelUnshuffle(4), nn.Conv2d(6 * 16, a, 3, padding=1), _Block(a), nn.Conv2d(a, b, 3, 2, 1)]
            self.near = nn.Sequential(*begin)
            self.join = nn.Conv2d(b + SHIFTS, b, 1)
        self.far = nn.Sequential(_Block(b), nn.Conv2d(b, c, 3, 2, 1), nn.GroupNorm(4, c), nn.SiLU(), nn.Flatten())
        cells = -(-config.height // 16) * -(-config.width // 16)
        fine = (config.height // matching.CELL) * (config.width // matching.CELL)
        seen = cells * c + fine * SHIFTS + REGIONS[0] * REGIONS[1] * matching.CHANNELS
        self.project = nn.Sequential(
            nn.Linear(seen, config.hidden), nn.LayerNorm(config.hidden), nn.GELU(), nn.Linear(config.hidden, config.hidden)
        )
        self.trunk = _trunk(config)
        wide = config.hidden * (2 if config.trunk == "gru" else 1)
        self.norm = nn.LayerNorm(wide)
        self.head = nn.Linear(wide, len(COLUMNS))
        self.register_buffer("scales", torch.tensor(SCALES), persistent=False)

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Camera motion of every step.

        Args:
            frames: (B, T, H, W, 3) uint8 RGB, T >= 2.

        Returns:
            (B, T-1, 5) float32 forward, right, up (map units), yaw, pitch (degrees); step i leads from frame i-1 to frame i.
        """
        return self._scaled(self._check(frames).float() / 255) * self.scales

    @torch.no_grad()
    def motion(self, frames: torch.Tensor) -> torch.Tensor:
        """Mean of what is read from the frames and from their mirror image: (B, T, H, W, 3) uint8 -> (B, T-1, 5)."""
        return self.motion_of(self._check(frames).float() / 255)

    def motion_of(self, unit: torch.Tensor) -> torch.Tensor:
        """`motion` of pictures (B, T, H, W, 3) float in [0, 1], with a gradient for them."""
        straight, flipped = (self._scaled(x) * self.scales for x in (unit, unit.flip(-2)))
        return (straight + mirrored(flipped)) / 2

    @torch.no_grad()
    def seen(self, frames: torch.Tensor) -> torch.Tensor:
        """Image features of every step by itself, plain and mirrored: (B, T, H, W, 3) uint8 -> (B, T-1, 2 hidden)."""
        return torch.cat([self._features(self._check(x).float() / 255) for x in (frames, frames.flip(-2))], -1)

    @torch.no_grad()
    def read(self, seen: torch.Tensor) -> torch.Tensor:
        """`motion` from the features that `seen` gives: (B, T-1, 2 hidden) -> (B, T-1, 5)."""
        straight, flipped = (self._motion(part) * self.scales for part in seen.chunk(2, -1))
        return (straight + mirrored(flipped)) / 2

    def loss(self, frames: torch.Tensor, motion: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        """Smooth L1 of scaled motion, on augmented frames, every second clip mirrored.

        Args:
            frames: (B, T, H, W, 3) uint8. motion: (B, T-1, 5) float, the true one.
        """
        frames, motion = frames.clone(), motion.float().clone()
        frames[::2], motion[::2] = frames[::2].flip(-2), mirrored(motion[::2])
        guess = self._scaled(augment(self._check(frames).float() / 255))
        loss = F.smooth_l1_loss(guess, motion / self.scales, beta=BETA)
        off = ((guess.detach() * self.scales) - motion).abs().mean((0, 1))
        return loss, {"forward_off": off[0].item(), "yaw_off": off[3].item(), "pitch_off": off[4].item()}

    def _scaled(self, unit: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, 3) in [0, 1] -> (B, T-1, 5), motion / scales."""
        return self._motion(self._features(unit))

    def _features(self, unit: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, 3) in [0, 1] -> (B, T-1, hidden), of every step by itself."""
        before, now = unit[:, :-1], unit[:, 1:]
        pictures = torch.cat([now - 0.5, 4 * (now - before)], -1).flatten(0, 1).movedim(-1, 1)
        volume = matching.match(unit)
        shifts = displacements(volume)
        if self.config.stem == "volume":
            near = self.near(torch.cat([volume, shifts, F.pixel_unshuffle(pictures, matching.CELL)], 1))
        else:
            near = self.join(torch.cat([self.near(pictures), shifts], 1))
        seen = torch.cat([self.far(near), shifts.flatten(1), regional(volume)], 1)
        return self.project(seen).unflatten(0, before.shape[:2])

    def _motion(self, features: torch.Tensor) -> torch.Tensor:
        """(B, T-1, hidden) -> (B, T-1, 5), motion / scales: each step with the others as context."""
        if self.config.trunk == "gru":
            hidden = self.trunk(features)[0]
        else:
            hidden = self.trunk(features + _positions(features))
        return self.head(self.norm(hidden))

    def _check(self, frames: torch.Tensor) -> torch.Tensor:
        want = (self.config.height, self.config.width, 3)
        if frames.ndim != 5 or frames.shape[1] < 2 or tuple(frames.shape[2:]) != want or frames.dtype != torch.uint8:
            raise InputError(
                f"frames are {frames.dtype} {tuple(frames.shape)}; "
                f"this judge reads torch.uint8 (B, T >= 2, {want[0]}, {want[1]}, 3)"
            )
        return frames


SHIFTS = 3 * len(matching.LEVELS)


def displacements(volume: torch.Tensor) -> torch.Tensor:
    """From matching weights to displacements.

    Args:
        volume: (N, CHANNELS, h, w) as `matching.match` gives.

    Returns:
        (N, 3 levels, h, w): per level the mean shift down and right (8 pixels = 1) and the largest weight.
    """
    parts, first = [], 0
    for halved, rows, columns in matching.LEVELS:
        count = (2 * rows + 1) * (2 * columns + 1)
        weights = volume[:, first : first + count]
        sharp = weights**SHARPER
        sharp = sharp / sharp.sum(1, keepdim=True)
        down, right = (
            axis.flatten().to(volume) * 2**halved / matching.CELL
            for axis in torch.meshgrid(torch.arange(-rows, rows + 1), torch.arange(-columns, columns + 1), indexing="ij")
        )
        parts += [torch.einsum("nkhw,k->nhw", sharp, axis) for axis in (down, right)] + [weights.amax(1)]
        first += count
    return torch.stack(parts, 1)


def regional(volume: torch.Tensor) -> torch.Tensor:
    """How well each shift fits whole regions of the picture, because a single cell may hold too little texture.

    Args:
        volume: (N, CHANNELS, h, w) as `matching.match` gives.

    Returns:
        (N, CHANNELS * regions): softmax over each level's shifts of the mean log weight of a region.
    """
    evidence = F.adaptive_avg_pool2d((volume + 1e-6).log(), REGIONS)
    sizes = [(2 * rows + 1) * (2 * columns + 1) for _, rows, columns in matching.LEVELS]
    return torch.cat([torch.softmax(SHARPER * level, 1) for level in evidence.split(sizes, 1)], 1).flatten(1)


def _trunk(config: CameraMotionConfig) -> nn.Module:
    if config.trunk == "gru":
        return nn.GRU(config.hidden, config.hidden, config.layers, batch_first=True, bidirectional=True)
    layer = nn.TransformerEncoderLayer(
        config.hidden, config.hidden // 32, 3 * config.hidden, 0.0, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)


def _positions(x: torch.Tensor) -> torch.Tensor:
    """(T-1, hidden) sinusoids of the step number, for x (B, T-1, hidden)."""
    length, width = x.shape[1], x.shape[2]
    rates = torch.exp(torch.linspace(0, -6, width // 2, device=x.device))
    angles = torch.arange(length, device=x.device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)
