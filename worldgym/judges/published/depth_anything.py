"""Depth Anything 3 (arXiv 2511.10647), small and base: camera poses of a video, for interaction following.

- `CameraPoses`: the part of the published network that tells poses. `DepthAnything`: a `PoseEstimator` around it.
- `load(size)`: from the published model.safetensors; the parts for depth (`head.`) and given poses (`cam_enc.`) are left out.

A vision transformer (DINOv2) over patches of 14 pixels. From block 4 on, odd blocks look at all frames at once, the others at
one frame; there the class token is replaced by a camera token, one for the reference frame and one for the others, and
patches know their places by rotary embedding. A small network reads position, rotation and field of view from that token.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym.errors import InputError, unknown
from worldgym.models.files import published_files, torch_file

PATCH, SIDE, GRID = 14, 504, 37  # pixels; pixels of the longer side; places in the position table, each way
REFERENCE_FROM = 3  # frames; below that the first is the reference
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@dataclasses.dataclass(frozen=True)
class DepthAnythingConfig:
    """Sizes of the backbone.

    Attributes:
        width: of a token. heads: of attention. depth: blocks. first: the block from which frames are looked at together.
    """

    width: int = 384
    heads: int = 6
    depth: int = 12
    first: int = 4


SIZES = {"small": DepthAnythingConfig(), "base": DepthAnythingConfig(width=768, heads=12)}
FILES = {"small": "DA3-SMALL", "base": "DA3-BASE"}


class _Attention(nn.Module):
    def __init__(self, width: int, heads: int, late: bool):
        super().__init__()
        self.heads = heads
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.q_norm = nn.LayerNorm(width // heads) if late else nn.Identity()
        self.k_norm = nn.LayerNorm(width // heads) if late else nn.Identity()

    def forward(self, x: Tensor, places: Tensor | None) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        q, k = self.q_norm(q), self.k_norm(k)
        if places is not None:
            q, k = rotated(q, places), rotated(k, places)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class _Scale(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.gamma


class _MLP(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class _Block(nn.Module):
    def __init__(self, width: int, heads: int, late: bool):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
        self.attn, self.mlp = _Attention(width, heads, late), _MLP(width)
        self.ls1, self.ls2 = _Scale(width), _Scale(width)

    def forward(self, x: Tensor, places: Tensor | None) -> Tensor:
        x = x + self.ls1(self.attn(self.norm1(x), places))
        return x + self.ls2(self.mlp(self.norm2(x)))


class _Backbone(nn.Module):
    def __init__(self, config: DepthAnythingConfig):
        super().__init__()
        self.config, width = config, config.width
        self.patch_embed = nn.ModuleDict({"proj": nn.Conv2d(3, width, PATCH, PATCH)})
        self.cls_token, self.camera_token = nn.Parameter(torch.zeros(1, 1, width)), nn.Parameter(torch.zeros(1, 2, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, GRID**2 + 1, width))
        late = [number >= config.first for number in range(config.depth)]
        self.blocks = nn.ModuleList(_Block(width, config.heads, flag) for flag in late)
        self.norm = nn.LayerNorm(width)  # for depth alone

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, 3, H, W) normalised -> (B, T, 2 width): the camera token from the last local and the last global block."""
        batch, frames = x.shape[:2]
        rows, columns = x.shape[-2] // PATCH, x.shape[-1] // PATCH
        tokens = self._tokens(x.flatten(0, 1), rows, columns).unflatten(0, (batch, frames))
        alone, together = _places(rows, columns, x.device)
        order = None
        for number, block in enumerate(self.blocks):
            late = number >= self.config.first
            if number == self.config.first - 1 and frames >= REFERENCE_FROM:
                order = reference_first(tokens[:, :, 0])
                tokens = torch.stack([row[own] for row, own in zip(tokens, order, strict=True)])
            if number == self.config.first:
                camera = torch.cat([self.camera_token[:, :1], self.camera_token[:, 1:].expand(-1, frames - 1, -1)], 1)
                tokens = torch.cat([camera[:, :, None].expand(batch, -1, -1, -1), tokens[:, :, 1:]], 2)
            if late and number % 2:
                every = block(tokens.flatten(1, 2), together.repeat(frames, 1))
                tokens = every.unflatten(1, (frames, -1))
            else:
                tokens = block(tokens.flatten(0, 1), alone if late else None).unflatten(0, (batch, frames))
                local = tokens
        both = torch.cat([local[:, :, 0], tokens[:, :, 0]], -1)
        if order is None:
            return both
        return torch.stack([row[own.argsort()] for row, own in zip(both, order, strict=True)])

    def _tokens(self, pictures: Tensor, rows: int, columns: int) -> Tensor:
        """(N, 3, H, W) -> (N, 1 + rows * columns, width), class token first, places added."""
        x = self.patch_embed["proj"](pictures).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], 1)
        if (rows, columns) == (GRID, GRID):
            return x + self.pos_embed
        table = self.pos_embed[:, 1:].unflatten(1, (GRID, GRID)).movedim(-1, 1)
        scale = ((rows + 0.1) / GRID, (columns + 0.1) / GRID)  # DINOv2's guard against rounding, part of its numbers
        table = F.interpolate(table, scale_factor=scale, mode="bicubic")
        return x + torch.cat([self.pos_embed[:, :1], table.flatten(2).transpose(1, 2)], 1)


class _Decoder(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU())
        self.fc_t, self.fc_qvec = nn.Linear(width, 3), nn.Linear(width, 4)
        self.fc_fov = nn.Sequential(nn.Linear(width, 2), nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        x = self.backbone(x)
        return torch.cat([self.fc_t(x), self.fc_qvec(x), self.fc_fov(x)], -1)


class CameraPoses(nn.Module):
    """Position (3), rotation (4, scalar last) and field of view (2) of every frame's camera."""

    def __init__(self, config: DepthAnythingConfig):
        super().__init__()
        self.config = config
        self.backbone = nn.ModuleDict({"pretrained": _Backbone(config)})
        self.cam_dec = _Decoder(2 * config.width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, 3, H, W) normalised, H and W multiples of 14 -> (B, T, 9)."""
        return self.cam_dec(self.backbone["pretrained"](x))


def rotated(x: Tensor, places: Tensor) -> Tensor:
    """Rotary embedding in two directions: the first half of a head by rows, the second by columns.

    Args:
        x: (N, heads, L, D). places: (L, 2) int64, row and column.
    """
    half = x.shape[-1] // 2
    rates = 100.0 ** -(torch.arange(0, half, 2, device=x.device) / half)
    parts = []
    for part, place in zip(x.split(half, -1), places.unbind(-1), strict=True):
        angles = place[:, None] * rates
        cos, sin = (torch.cat([f, f], -1).to(x.dtype) for f in (angles.cos(), angles.sin()))
        one, two = part.chunk(2, -1)
        parts.append(part * cos + torch.cat([-two, one], -1) * sin)
    return torch.cat(parts, -1)


def _places(rows: int, columns: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """(1 + rows * columns, 2) places, the camera's first: within a frame, and among frames, where all patches are alike."""
    grid = torch.cartesian_prod(torch.arange(rows, device=device), torch.arange(columns, device=device)) + 1
    camera = grid.new_zeros(1, 2)
    return torch.cat([camera, grid]), torch.cat([camera, torch.ones_like(grid)])


def reference_first(tokens: Tensor) -> Tensor:
    """(B, T) order of frames with the reference first: the one nearest to the middle of three measures of its class token.

    Args:
        tokens: (B, T, width) class tokens.
    """
    length = tokens.norm(dim=-1)
    unit = tokens / length[..., None]
    alike = (unit @ unit.transpose(1, 2) - torch.eye(unit.shape[1], device=unit.device)).sum(-1) / (unit.shape[1] - 1)
    away = torch.zeros_like(length)
    for measure in (alike, length, unit.var(-1)):
        low, high = measure.amin(1, keepdim=True), measure.amax(1, keepdim=True)
        away = away + ((measure - low) / (high - low + 1e-8) - 0.5).abs()
    frames = torch.arange(tokens.shape[1], device=tokens.device)
    return torch.stack([torch.cat([best[None], frames[frames != best]]) for best in away.argmin(1)])


def matrices(encoding: Tensor) -> Tensor:
    """(…, 9) -> (…, 4, 4) camera-to-world, OpenCV's convention."""
    x, y, z, w = (encoding[..., 3:7] / encoding[..., 3:7].norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        torch.stack([1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], -1),
        torch.stack([2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], -1),
        torch.stack([2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], -1),
    ]
    poses = torch.zeros(*encoding.shape[:-1], 4, 4, device=encoding.device)
    poses[..., :3, :3], poses[..., :3, 3], poses[..., 3, 3] = torch.stack(rows, -2), encoding[..., :3], 1
    return poses


class DepthAnything:
    """A `PoseEstimator`: `InteractionFollowingReward(env, judge=load("small"))`; lengths have no unit.

    Args:
        network: the network.
    """

    def __init__(self, network: CameraPoses):
        self.network = network

    @torch.no_grad()
    def poses(self, frames: Tensor) -> Tensor:
        """(B, T, H, W, 3) uint8 RGB -> (B, T, 4, 4) camera-to-world; each clip by itself."""
        device = next(self.network.parameters()).device
        return torch.cat([matrices(self.network(prepare(clip.to(device))[None])) for clip in frames])


def prepare(clip: Tensor) -> Tensor:
    """(T, H, W, 3) uint8 -> (T, 3, h, w) normalised: the longer side to 504, both sides to multiples of 14.

    The published program shrinks by area and enlarges by cubic interpolation of OpenCV; here both are bicubic.
    """
    if clip.ndim != 4 or clip.dtype != torch.uint8:
        raise InputError(f"a clip is {clip.dtype} {tuple(clip.shape)}; uint8 (T, H, W, 3) is needed")
    scale = SIDE / max(clip.shape[1:3])
    size = [max(PATCH, round(side * scale / PATCH) * PATCH) for side in clip.shape[1:3]]
    x = clip.movedim(-1, 1).float() / 255
    x = F.interpolate(x, size=size, mode="bicubic", antialias=True).clamp(0, 1)
    mean, std = (torch.tensor(v, device=x.device)[:, None, None] for v in (MEAN, STD))
    return (x - mean) / std


def load(size: str = "small", device: str | torch.device = "cpu") -> DepthAnything:
    """The published network (Apache-2.0; the larger ones are not free for every use and not read here).

    Raises:
        InputError: an unknown size, a missing file (says what to type), or weights that do not fit.
    """
    if size not in SIZES:
        raise unknown("size of Depth Anything 3", size, SIZES)
    path = Path(published_files.locate(FILES[size])) / "model.safetensors"
    named = {name.removeprefix("model."): tensor for name, tensor in torch_file.read(path).items()}
    wanted = {name: tensor for name, tensor in named.items() if not name.startswith(("head.", "cam_enc."))}
    with torch.device("meta"):
        network = CameraPoses(SIZES[size])
    return DepthAnything(torch_file.fill(network, wanted, str(path)).to(device))
