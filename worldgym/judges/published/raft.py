"""RAFT (Teed and Deng 2020, arXiv 2003.12039): optical flow between two frames, read from the published `raft-things.pth`.

- `RAFT`: the full model ("things"), 5.3 M parameters. `load(device)`: with the published weights.

Three parts: features of both frames and their all-pairs products at four scales; a context of the first frame; and a gated
recurrent unit that looks the products up around the present estimate and corrects it, at an eighth of the resolution.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym.models.files import published_files, torch_file

NAME = "raft-things.pth"
LEVELS, RADIUS = 4, 4
HIDDEN = 128
ITERATIONS = 20  # VBench's


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.InstanceNorm2d(channels) if kind == "instance" else nn.BatchNorm2d(channels)


class _Residual(nn.Module):
    def __init__(self, inside: int, channels: int, kind: str, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inside, channels, 3, stride, 1)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1)
        self.norm1, self.norm2 = _norm(kind, channels), _norm(kind, channels)
        if stride > 1:  # the published file names this normalisation twice
            self.norm3 = _norm(kind, channels)
            self.downsample = nn.Sequential(nn.Conv2d(inside, channels, 1, stride), self.norm3)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x))))))
        return F.relu((self.downsample(x) if hasattr(self, "downsample") else x) + y)


class _Encoder(nn.Module):
    """(N, 3, H, W) -> (N, out, H / 8, W / 8)."""

    def __init__(self, out: int, kind: str):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(3, 64, 7, 2, 3), _norm(kind, 64)
        self.layer1 = nn.Sequential(_Residual(64, 64, kind, 1), _Residual(64, 64, kind, 1))
        self.layer2 = nn.Sequential(_Residual(64, 96, kind, 2), _Residual(96, 96, kind, 1))
        self.layer3 = nn.Sequential(_Residual(96, 128, kind, 2), _Residual(128, 128, kind, 1))
        self.conv2 = nn.Conv2d(128, out, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.norm1(self.conv1(x)))
        return self.conv2(self.layer3(self.layer2(self.layer1(x))))


class _Motion(nn.Module):
    """What the looked-up products and the present flow say: 126 channels and the flow itself."""

    def __init__(self):
        super().__init__()
        self.convc1, self.convc2 = nn.Conv2d(LEVELS * (2 * RADIUS + 1) ** 2, 256, 1), nn.Conv2d(256, 192, 3, padding=1)
        self.convf1, self.convf2 = nn.Conv2d(2, 128, 7, padding=3), nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(64 + 192, 126, 3, padding=1)

    def forward(self, flow: Tensor, products: Tensor) -> Tensor:
        seen = F.relu(self.convc2(F.relu(self.convc1(products))))
        moved = F.relu(self.convf2(F.relu(self.convf1(flow))))
        return torch.cat([F.relu(self.conv(torch.cat([seen, moved], 1))), flow], 1)


class _GRU(nn.Module):
    """A gated recurrent unit along rows, then along columns."""

    def __init__(self):
        super().__init__()
        for number, (kernel, padding) in enumerate((((1, 5), (0, 2)), ((5, 1), (2, 0))), start=1):
            for gate in "zrq":
                setattr(self, f"conv{gate}{number}", nn.Conv2d(3 * HIDDEN, HIDDEN, kernel, padding=padding))

    def forward(self, h: Tensor, x: Tensor) -> Tensor:
        for z_conv, r_conv, q_conv in ((self.convz1, self.convr1, self.convq1), (self.convz2, self.convr2, self.convq2)):
            both = torch.cat([h, x], 1)
            z, r = z_conv(both).sigmoid(), r_conv(both).sigmoid()
            h = (1 - z) * h + z * q_conv(torch.cat([r * h, x], 1)).tanh()
        return h


class _FlowHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(HIDDEN, 256, 3, padding=1), nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(F.relu(self.conv1(x)))


class _Update(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder, self.gru, self.flow_head = _Motion(), _GRU(), _FlowHead()
        self.mask = nn.Sequential(nn.Conv2d(HIDDEN, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 64 * 9, 1))


class RAFT(nn.Module):
    """Flow from one frame to the next, in pixels."""

    def __init__(self):
        super().__init__()
        self.fnet, self.cnet = _Encoder(256, "instance"), _Encoder(2 * HIDDEN, "batch")
        self.update_block = _Update()

    @torch.no_grad()
    def forward(self, first: Tensor, second: Tensor, iterations: int = ITERATIONS) -> Tensor:
        """Where each pixel of `first` goes.

        Args:
            first, second: (N, H, W, 3) uint8 RGB, at least 128x128; padded to multiples of 8 by repeating the edge.
            iterations: corrections.

        Returns:
            (N, 2, H, W) float32: to the right and downward, pixels.
        """
        height, width = first.shape[1:3]
        a, b, (top, left) = *(_unit(x) for x in (first, second)), _margins(height, width)
        features = self.fnet(torch.cat([a, b])).chunk(2)
        pyramid = _products(*features)
        hidden, context = self.cnet(a).split(HIDDEN, 1)
        hidden, context = hidden.tanh(), context.relu()
        start = _grid(*features[0].shape[-2:], a.device)
        at = start.expand(len(a), -1, -1, -1)
        for _ in range(iterations):
            motion = self.update_block.encoder(at - start, _look_up(pyramid, at))
            hidden = self.update_block.gru(hidden, torch.cat([context, motion], 1))
            at = at + self.update_block.flow_head(hidden)
        flow = _enlarge(at - start, 0.25 * self.update_block.mask(hidden))
        return flow[..., top : top + height, left : left + width]


def _margins(height: int, width: int) -> tuple[int, int]:
    return (-height % 8) // 2, (-width % 8) // 2


def _unit(frames: Tensor) -> Tensor:
    height, width = frames.shape[1:3]
    top, left = _margins(height, width)
    x = 2 * (frames.movedim(-1, 1).float() / 255) - 1
    return F.pad(x, (left, -width % 8 - left, top, -height % 8 - top), mode="replicate")


def _grid(height: int, width: int, device: torch.device) -> Tensor:
    """(1, 2, height, width): x and y of every cell."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y])[None].float()


def _products(a: Tensor, b: Tensor) -> list[Tensor]:
    """Products of all cells of a with all of b, (N * h * w, 1, h / 2^k, w / 2^k) for k = 0 … 3."""
    count, channels, height, width = a.shape
    every = torch.einsum("nci,ncj->nij", a.flatten(2), b.flatten(2)) / channels**0.5
    level = every.reshape(count * height * width, 1, height, width)
    levels = [level]
    for _ in range(LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def _look_up(pyramid: list[Tensor], at: Tensor) -> Tensor:
    """Products within 4 cells of each estimate (N, 2, h, w), at every scale: (N, 4 * 81, h, w)."""
    count, _, height, width = at.shape
    offsets = torch.arange(-RADIUS, RADIUS + 1, device=at.device, dtype=at.dtype)
    around = torch.stack(torch.meshgrid(offsets, offsets, indexing="ij"), -1)  # x is the slow axis, as published
    centre = at.movedim(1, -1).reshape(-1, 1, 1, 2)
    near = []
    for level, products in enumerate(pyramid):
        size = torch.tensor([products.shape[-1] - 1, products.shape[-2] - 1], device=at.device)
        where = 2 * (centre / 2**level + around) / size - 1
        near.append(F.grid_sample(products, where, align_corners=True).reshape(count, height, width, -1))
    return torch.cat(near, -1).movedim(-1, 1)


def _enlarge(flow: Tensor, mask: Tensor) -> Tensor:
    """Each pixel of the eightfold flow is a learned mean of 3x3 cells."""
    count, _, height, width = flow.shape
    weights = mask.view(count, 1, 9, 8, 8, height, width).softmax(2)
    cells = F.unfold(8 * flow, 3, padding=1).view(count, 2, 9, 1, 1, height, width)
    fine = (weights * cells).sum(2)  # (N, 2, 8, 8, h, w)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(count, 2, 8 * height, 8 * width)


def load(device: str | torch.device = "cpu") -> RAFT:
    """RAFT with the published weights.

    Raises:
        InputError: the file is missing (says what to type), would run code, or lacks a weight.
    """
    path = published_files.locate(NAME)
    tensors = {name.removeprefix("module."): tensor for name, tensor in torch_file.read(path).items()}
    return torch_file.fill(RAFT(), tensors, str(path)).to(device)
