"""Reads the actions back from a video (inverse dynamics, as in VPT and RLIR).

- `InverseDynamics`: frames (B, T, H, W, 3) to per-step logits of every action group and camera axis.
- `PRESETS`: "nano" (learned matching, transformer) for rewards; "nano-heldout" (block matching, recurrent) for evaluation;
  "small" and "small-heldout" for a GPU; "nano-pixels" sees no matching. What is used as a reward never evaluates.
"""

from __future__ import annotations

import dataclasses

import torch
import torch.nn.functional as F
from torch import nn

from worldgym.actions import ActionSpec, spec
from worldgym.judges import correlation, matching


@dataclasses.dataclass(frozen=True)
class InverseDynamicsConfig:
    """An inverse dynamics model.

    Attributes:
        spec: name of the action spec.
        frames: per clip in training; any length is read.
        after: whether step i also sees the frame after x_i (what was pressed shows late in the picture).
        stem: "pixels" (a strided image network), "matching" (block matching beside the pixels, see `judges.matching`) or
            "correlation" (matching of learned features beside normalised pixels, see `judges.correlation`).
        trunk: "transformer" or "gru", over the steps of a clip.
        widths: channels at 1/4, 1/8 and 1/16 of the resolution.
        hidden: of the trunk. layers: of the trunk.
        height, width: of a frame, pixels.
    """

    spec: str = "doom"
    frames: int = 16
    after: bool = False
    stem: str = "pixels"
    trunk: str = "transformer"
    widths: tuple[int, int, int] = (32, 64, 96)
    hidden: int = 192
    layers: int = 2
    height: int = 56
    width: int = 96


PRESETS = {
    "nano": InverseDynamicsConfig(stem="correlation", widths=(0, 72, 96), hidden=160),
    "nano-pixels": InverseDynamicsConfig(),
    "nano-heldout": InverseDynamicsConfig(stem="matching", trunk="gru", widths=(0, 80, 96), hidden=160, layers=1),
    "small": InverseDynamicsConfig(stem="correlation", widths=(0, 256, 320), hidden=384, layers=4),
    "small-heldout": InverseDynamicsConfig(stem="matching", trunk="gru", widths=(0, 256, 320), hidden=320, layers=2),
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
        c = config.widths[-1]
        if config.stem == "correlation":
            self.correlation = correlation.Correlation()
        self.image = _image_network(config).to(memory_format=torch.channels_last)
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
        return self.logits_of(self._check(frames).float() / 255)

    def logits_of(self, unit: torch.Tensor) -> list[torch.Tensor]:
        """`forward` of pictures (B, T, H, W, 3) float in [0, 1], with a gradient for them."""
        hidden = self._hidden(self._seen(unit))
        return [head(hidden) for head in self.heads]

    @torch.no_grad()
    def labels(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, 3) uint8 -> (B, T-1, A) int64, the likeliest label of every column."""
        return torch.stack([logits.argmax(-1) for logits in self(frames)], dim=-1)

    @torch.no_grad()
    def probabilities(self, frames: torch.Tensor, actions: torch.Tensor) -> torch.Tensor:
        """How likely the given actions are: (B, T, H, W, 3) uint8 and (B, T-1, A) int64 -> (B, T-1, A) float32 in [0, 1]."""
        return probabilities_of(self(frames), actions)

    @property
    def steps_alone(self) -> bool:
        """Whether `seen` may be called on two frames at a time; it may not where a step also sees the frame after it."""
        return not self.config.after

    @torch.no_grad()
    def seen(self, frames: torch.Tensor) -> torch.Tensor:
        """Image features of every step by itself: (B, T, H, W, 3) uint8 -> (B, T-1, hidden)."""
        return self._seen(self._check(frames).float() / 255)

    @torch.no_grad()
    def read(self, seen: torch.Tensor) -> list[torch.Tensor]:
        """The logits (see `forward`) from the features that `seen` gives, (B, T-1, hidden)."""
        hidden = self._hidden(seen)
        return [head(hidden) for head in self.heads]

    @torch.no_grad()
    def features(self, frames: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, 3) uint8 -> (B, D) float32, the mean over steps of the image network's output."""
        return self.seen(frames).mean(1)

    def loss(self, frames: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, dict[str, float]]:
        """Mean cross-entropy over columns, on augmented frames.

        Args:
            frames: (B, T, H, W, 3) uint8. actions: (B, T-1, A) int64.
        """
        frames, actions = mirror(frames, actions, self.spec)
        logits = self.logits_of(augment(self._check(frames).float() / 255))
        parts = [F.cross_entropy(x.flatten(0, 1), actions[..., k].flatten()) for k, x in enumerate(logits)]
        right = torch.stack([x.argmax(-1) == actions[..., k] for k, x in enumerate(logits)]).float().mean()
        return torch.stack(parts).mean(), {"accuracy": right.item()}

    def _seen(self, unit: torch.Tensor) -> torch.Tensor:
        """(B, T, H, W, 3) in [0, 1] -> image features (B, T-1, hidden)."""
        before, now = self._pairs(unit)
        pictures = [now - 0.5, 4 * (now - before)]
        if self.config.after:
            pictures.append(4 * (torch.cat([now[:, 1:], now[:, -1:]], 1) - now))
        stacked = torch.cat(pictures, -1).flatten(0, 1).movedim(-1, 1)  # channels last in memory: no copy
        if self.config.stem != "pixels":
            match = matching.match if self.config.stem == "matching" else self.correlation
            stacked = torch.cat([match(unit), F.pixel_unshuffle(stacked, matching.CELL)], 1)
        return self.project(self.image(stacked)).unflatten(0, before.shape[:2])

    def _hidden(self, seen: torch.Tensor) -> torch.Tensor:
        """(B, T-1, hidden) -> trunk output (B, T-1, wide): each step with the others as context."""
        mixed = self.trunk(seen + _positions(seen)) if self.config.trunk == "transformer" else self.trunk(seen)[0]
        return self.norm(mixed)

    def _pairs(self, unit: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Frames x_{i-1} and x_i of every step, (B, T-1, H, W, 3) each; for learned matching normalised per colour."""
        if self.config.stem != "correlation":
            return unit[:, :-1], unit[:, 1:]
        pairs = correlation.normalised(torch.stack([unit[:, :-1], unit[:, 1:]], 2), (2, 3, 4))
        return tuple((0.25 * pairs + 0.5).unbind(2))

    def _check(self, frames: torch.Tensor) -> torch.Tensor:
        want = (self.config.height, self.config.width, 3)
        if frames.ndim != 5 or frames.shape[1] < 2 or tuple(frames.shape[2:]) != want or frames.dtype != torch.uint8:
            raise ValueError(
                f"frames are {frames.dtype} {tuple(frames.shape)}; "
                f"this judge reads torch.uint8 (B, T >= 2, {want[0]}, {want[1]}, 3)"
            )
        return frames


def probabilities_of(logits: list[torch.Tensor], actions: torch.Tensor) -> torch.Tensor:
    """A tensors (B, T-1, n_k) of logits and actions (B, T-1, A) int64 -> their probabilities (B, T-1, A)."""
    asked = actions[..., None].unbind(-2)
    return torch.cat([each.softmax(-1).gather(-1, k) for each, k in zip(logits, asked, strict=True)], -1)


def recovered(logits: list[torch.Tensor], actions: torch.Tensor) -> torch.Tensor:
    """A tensors (B, T-1, n_k) of logits and actions (B, T-1, A) int64 -> whether each is the likeliest, (B, T-1, A) bool."""
    return torch.stack([each.argmax(-1) for each in logits], -1) == actions


def _image_network(config: InverseDynamicsConfig) -> nn.Sequential:
    """(N, channels, H, W), or (N, channels, H/8, W/8) after matching -> (N, cells * widths[2])."""
    a, b, c = config.widths
    pixels = 3 * (3 if config.after else 2)  # the frame, and its differences from its neighbours
    if config.stem != "pixels":
        channels = matching.CHANNELS if config.stem == "matching" else correlation.CHANNELS
        begin = [nn.Conv2d(channels + pixels * matching.CELL**2, b, 1), _Block(b)]
    else:
        begin = [nn.PixelUnshuffle(4), nn.Conv2d(16 * pixels, a, 3, padding=1), _Block(a), nn.Conv2d(a, b, 3, 2, 1)]
    return nn.Sequential(*begin, _Block(b), nn.Conv2d(b, c, 3, 2, 1), nn.GroupNorm(4, c), nn.SiLU(), nn.Flatten())


def _transformer(config: InverseDynamicsConfig) -> nn.Module:
    layer = nn.TransformerEncoderLayer(
        config.hidden, config.hidden // 32, 3 * config.hidden, 0.0, "gelu", batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(layer, config.layers, enable_nested_tensor=False)


def _recurrent(config: InverseDynamicsConfig) -> nn.Module:
    return nn.GRU(config.hidden, config.hidden, config.layers, batch_first=True, bidirectional=True)


def _positions(x: torch.Tensor) -> torch.Tensor:
    """(T-1, hidden) sinusoids of the step number, for x (B, T-1, hidden)."""
    length, width = x.shape[1], x.shape[2]
    rates = torch.exp(torch.linspace(0, -6, width // 2, device=x.device))
    angles = torch.arange(length, device=x.device)[:, None] * rates
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
    """Random gain and offset per clip; blur, tints and noise on some: model output is darker, softer, noisier, off in colour.

    Randomness is torch's global one. Nothing is written into `unit`, so that gradients pass.

    Args:
        unit: (B, T, H, W, 3) float in [0, 1].
    """
    count = len(unit)
    gain = torch.empty((count, 1, 1, 1, 1), device=unit.device).uniform_(0.5, 1.15)
    offset = torch.empty((count, 1, 1, 1, 1), device=unit.device).uniform_(-0.05, 0.05)
    unit = unit * gain + offset
    some = count // 4
    if some:
        soft = F.avg_pool2d(unit[:some].flatten(0, 1).movedim(-1, 1), 3, stride=1, padding=1, count_include_pad=False)
        soft = soft.movedim(1, -1).unflatten(0, unit[:some].shape[:2])
        tinted = unit[some : 2 * some] + tints(unit[some : 2 * some])
        noisy = unit[-some:] + 0.03 * torch.randn_like(unit[-some:])
        unit = torch.cat([soft, tinted, unit[2 * some : count - some], noisy])
    return unit.clamp(0, 1)


def tints(like: torch.Tensor) -> torch.Tensor:
    """A shift of colour, not of brightness, for every frame, at most 0.35 long: (B, T, 1, 1, 3) for `like` (B, T, H, W, 3)."""
    way = torch.randn((*like.shape[:2], 1, 1, 3), device=like.device)
    way = way - way.mean(-1, keepdim=True)
    return 0.35 * torch.rand_like(way[:, :1, ..., :1]) * way / way.norm(dim=-1, keepdim=True)
