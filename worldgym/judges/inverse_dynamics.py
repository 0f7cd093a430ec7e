"""Reads the actions back from a video (inverse dynamics, as in VPT and RLIR).

- `InverseDynamics`: frames (B, T, H, W, 3) to per-step logits of every action group and camera axis.
- `PRESETS`: "nano" (pairs of frames, transformer) for rewards; "nano-heldout" (three frames, recurrent) for evaluation;
  "small" and "small-heldout" for a GPU. What is used as a reward never evaluates.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

from worldgym.actions import ActionSpec, spec


@dataclasses.dataclass(frozen=True)
class InverseDynamicsConfig:
    """An inverse dynamics model.

    Attributes:
        spec: name of the action spec.
        frames: per clip in training; any length is read.
        after: whether step i also sees the frame after x_i (what was pressed shows late in the picture).
        trunk: "transformer" or "gru", over the steps of a clip.
        widths: channels at 1/4, 1/8 and 1/16 of the resolution.
        hidden: of the trunk. layers: of the trunk.
        height, width: of a frame, pixels.
    """

    spec: str = "doom"
    frames: int = 16
    after: bool = False
    trunk: str = "transformer"
    widths: tuple[int, int, int] = (32, 64, 96)
    hidden: int = 192
    layers: int = 2
    height: int = 56
    width: int = 96


PRESETS = {
    "nano": InverseDynamicsConfig(),
    "nano-heldout": InverseDynamicsConfig(after=True, trunk="gru", widths=(40, 56, 112), hidden=160, layers=1),
    "small": InverseDynamicsConfig(widths=(96, 192, 320), hidden=384, layers=4),
    "small-heldout": InverseDynamicsConfig(after=True, trunk="gru", widths=(112, 160, 352), hidden=320, layers=2),
}


class _Block(nn.Module):
    def __init__(self, channels: int):
        super().__init__()
        self.norm = nn.GroupNorm(4, channels)
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv2(F.silu(self.conv1(F.silu(self.norm(x)))))


class InverseDynamics(nn.Module):
    """An image network over neighbouring frames, then a trunk over steps that looks both ways, then one head per column."""

    def __init__(self, config: InverseDynamicsConfig):
        super().__init__()
        self.config = config
        self.spec: ActionSpec = spec(config.spec)
        a, b, c = config.widths
        pictures = 5 if config.after else 3  # frames and their differences
        self.image = nn.Sequential(
            nn.Conv2d(3 * pictures, a, 8, stride=4, padding=2),
            _Block(a),
            nn.Conv2d(a, b, 3, stride=2, padding=1),
            _Block(b),
            nn.Conv2d(b, c, 3, stride=2, padding=1),
            nn.GroupNorm(4, c),
            nn.SiLU(),
            nn.Flatten(),
        ).to(memory_format=torch.channels_last)
        cells = -(-config.height // 16) * -(-config.width // 16)
        self.project = nn.Sequential(nn.Linear(cells * c, config.hidden), nn.LayerNorm(config.hidden))
        self.trunk = _transformer(config) if config.trunk == "transformer" else _recurrent(config)
        wide = config.hidden * (1 if config.trunk == "transformer" else 2)
        self.norm = nn.LayerNorm(wide)
        self.heads = nn.ModuleList(nn.Linear(wide, size) for size in self.spec.sizes)

    def forward(self, frames: torch.Tensor) -> list[torch.Tensor]:
        """Logits of every column.

        Args:
            frames: (B, T, H, W, 3) uint8 RGB, T >= 2.

        Returns:
            A tensors (B, T-1, n_k); element i - 1 along time is about action a_i, which leads from x_{i-1} to x_i.
        """
        return self._logits(self._check(frames).float() / 255)

    @torch.no_grad()
    def labels(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, 3) uint8 -> (B, T-1, A) int64, the likeliest label of every column."""
        return torch.stack([logits.argmax(-1) for logits in self(frames)], dim=-1)

    @torch.no_grad()
    def features(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, 3) uint8 -> (B, D) float32, the mean over steps of the image network's output: what moves and how."""
        return self._hidden(self._check(frames).float() / 255)[1].mean(1)

    def loss(self, frames: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        """Mean cross-entropy over columns, on augmented frames.

        Args:
            frames: (B, T, H, W, 3) uint8. actions: (B, T-1, A) int64.
        """
        frames, actions = mirror(frames, actions, self.spec)
        logits = self._logits(augment(self._check(frames).float() / 255))
        parts = [F.cross_entropy(x.flatten(0, 1), actions[..., k].flatten()) for k, x in enumerate(logits)]
        right = torch.stack([x.argmax(-1) == actions[..., k] for k, x in enumerate(logits)]).float().mean()
        return torch.stack(parts).mean(), {"accuracy": right.item()}

    def _logits(self, unit: torch.Tensor) -> list[torch.Tensor]:
        hidden, _ = self._hidden(unit)
        return [head(hidden) for head in self.heads]

    def _hidden(self, unit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, T, H, W, 3) in [0, 1] -> trunk output (B, T-1, wide) and image features (B, T-1, hidden)."""
        x = unit.movedim(-1, 2) - 0.5
        before, now = x[:, :-1], x[:, 1:]
        pictures = [before, now, 4 * (now - before)]
        if self.config.after:
            after = torch.cat([now[:, 1:], now[:, -1:]], 1)
            pictures += [after, 4 * (after - now)]
        stacked = torch.cat(pictures, 2).flatten(0, 1).contiguous(memory_format=torch.channels_last)
        features = self.project(self.image(stacked)).unflatten(0, before.shape[:2])
        if self.config.trunk == "transformer":
            hidden = self.trunk(features + _positions(features))
        else:
            hidden = self.trunk(features)[0]
        return self.norm(hidden), features

    def _check(self, frames: torch.Tensor) -> torch.Tensor:
        want = (self.config.height, self.config.width, 3)
        if frames.ndim != 5 or frames.shape[1] < 2 or tuple(frames.shape[2:]) != want or frames.dtype != torch.uint8:
            raise ValueError(
                f"frames are {frames.dtype} {tuple(frames.shape)}; this judge reads torch.uint8 (B, T >= 2, {want[0]}, {want[1]}, 3)"
            )
        return frames


def _transformer(config: InverseDynamicsConfig) -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        config.hidden, config.hidden // 32, 3 * config.hidden, 0.0, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)


def _recurrent(config: InverseDynamicsConfig) -> nn.Module:
    return nn.GRU(config.hidden, config.hidden, config.layers, batch_first=True, bidirectional=True)


def _positions(x: torch.Tensor) -> torch.Tensor:
    """(T-1, hidden) sinusoids of the step number, for x (B, T-1, hidden)."""
    steps, width = x.shape[1], x.shape[2]
    rates = torch.exp(torch.linspace(0, -6, width // 2, device=x.device))
    angles = torch.arange(steps, device=x.device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], -1)


def mirror(frames: torch.Tensor, actions: torch.Tensor, action_spec: ActionSpec) -> tuple[torch.Tensor, torch.Tensor]:
    """Mirror every second clip of a batch left to right, with its strafe labels and yaw bins."""
    frames, actions = frames.clone(), actions.clone()
    frames[::2] = frames[::2].flip(-2)
    strafe, yaw = action_spec.column("strafe"), action_spec.column("yaw")
    side = actions[::2, :, strafe]
    actions[::2, :, strafe] = torch.where(side > 0, 3 - side, side)
    actions[::2, :, yaw] = action_spec.sizes[yaw] - 1 - actions[::2, :, yaw]
    return frames, actions


def augment(unit: torch.Tensor) -> torch.Tensor:
    """Random gain and offset per clip, blur and noise on some: codec and world model output is darker, softer, noisier.

    Args:
        unit: (B, T, H, W, 3) float in [0, 1].
    """
    shape = (len(unit), 1, 1, 1, 1)
    gain = torch.empty(shape, device=unit.device).uniform_(0.5, 1.15)
    offset = torch.empty(shape, device=unit.device).uniform_(-0.05, 0.05)
    soft = len(unit) // 3
    if soft:
        x = unit[:soft].flatten(0, 1).movedim(-1, 1)
        blurred = F.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False).movedim(1, -1)
        unit = torch.cat([blurred.unflatten(0, unit[:soft].shape[:2]), unit[soft:]])
    noise = torch.empty(shape, device=unit.device).uniform_(0, 0.03) * torch.randn_like(unit)
    return (unit * gain + offset + noise).clamp(0, 1)
