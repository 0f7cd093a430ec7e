"""MUSIQ (Ke et al. 2021, arXiv 2108.05997): image quality, with Google's weights for SPAQ, for VBench's imaging quality.

A picture is seen at three sizes (longer side 224, 384, and its own), each cut into patches of 32x32; a small convolutional
network makes a vector of each patch; positions are hashed to a 10x10 grid; a transformer of 14 blocks reads all of them.

- `MUSIQ`: the network, 27 M parameters. `load(device)`: with the weights of Google's `spaq_ckpt.npz` (Apache-2.0).

VBench reads the same weights in a conversion whose licence is not permissive, so this network was not compared with it. With
random weights it gives the scores of Google's program to 1e-5, once pictures are resized as there. Two points in which the two
programs differ: pictures are resized bicubically, as VBench does it (Google's uses a Gaussian kernel), and GELU is the
tanh form, as Google's does it.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym.errors import InputError
from worldgym.models.files import published_files, torch_file

NAME = "musiq_spaq_ckpt.npz"
PATCH, GRID, SIDES = 32, 10, (224, 384)
HIDDEN, MLP, HEADS, LAYERS, STEM = 384, 1152, 6, 14, 64


class _Conv(nn.Conv2d):
    """A convolution whose filters are brought to mean 0 and deviation 1; padded as TensorFlow's SAME."""

    def __init__(self, inside: int, outside: int, kernel: int, stride: int = 1):
        super().__init__(inside, outside, kernel, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        mean = self.weight.mean((1, 2, 3), keepdim=True)
        weight = (self.weight - mean) / (self.weight.std((1, 2, 3), correction=0, keepdim=True) + 1e-5)
        return F.conv2d(_same(x, self.kernel_size[0], self.stride[0], 0.0), weight, stride=self.stride)


def _same(x: Tensor, kernel: int, stride: int, value: float) -> Tensor:
    """The smaller half of the padding comes first."""
    pads = []
    for size in (x.shape[-1], x.shape[-2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        pads += [total // 2, total - total // 2]
    return F.pad(x, pads, value=value)


class _Unit(nn.Module):
    """A bottleneck, 64 -> 256 channels."""

    def __init__(self):
        super().__init__()
        wide = 4 * STEM
        self.conv1, self.conv2, self.conv3 = _Conv(STEM, STEM, 1), _Conv(STEM, STEM, 3), _Conv(STEM, wide, 1)
        self.gn1, self.gn2, self.gn3 = (nn.GroupNorm(32, width, 1e-4) for width in (STEM, STEM, wide))
        self.conv_proj, self.gn_proj = _Conv(STEM, wide, 1), nn.GroupNorm(32, wide, 1e-4)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.gn2(self.conv2(F.relu(self.gn1(self.conv1(x))))))
        return F.relu(self.gn_proj(self.conv_proj(x)) + self.gn3(self.conv3(y)))


class _Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(HIDDEN, 1e-6), nn.LayerNorm(HIDDEN, 1e-6)
        self.query, self.key, self.value, self.out = (nn.Linear(HIDDEN, HIDDEN) for _ in range(4))
        self.mlp0, self.mlp1 = nn.Linear(HIDDEN, MLP), nn.Linear(MLP, HIDDEN)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm1(x)
        q, k, v = (m(y).unflatten(-1, (HEADS, -1)).transpose(1, 2) for m in (self.query, self.key, self.value))
        x = x + self.out(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))
        return x + self.mlp1(F.gelu(self.mlp0(self.norm2(x)), approximate="tanh"))


class MUSIQ(nn.Module):
    """Quality of pictures of any size; SPAQ's scale, 0 to 100."""

    def __init__(self):
        super().__init__()
        self.conv_root, self.gn_root, self.unit = _Conv(3, STEM, 7, 2), nn.GroupNorm(32, STEM, 1e-6), _Unit()
        self.embedding = nn.Linear(4 * STEM * (PATCH // 4) ** 2, HIDDEN)
        self.positions, self.scales = nn.Parameter(torch.zeros(GRID**2, HIDDEN)), nn.Parameter(torch.zeros(3, HIDDEN))
        self.token = nn.Parameter(torch.zeros(1, 1, HIDDEN))
        self.blocks = nn.ModuleList(_Block() for _ in range(LAYERS))
        self.norm, self.head = nn.LayerNorm(HIDDEN, 1e-6), nn.Linear(HIDDEN, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Score of each picture.

        Args:
            frames: (N, H, W, 3) uint8 RGB; a longer side above 512 is first brought to 512, as VBench does.

        Returns:
            (N,) float32.
        """
        x = frames.to(self.token.device).movedim(-1, 1).float() / 255
        longest = max(x.shape[-2:])
        if longest > 512:
            x = F.interpolate(x, size=[int(512 / longest * side) for side in x.shape[-2:]], mode="bilinear")
        x = 2 * x - 1
        seen = [self._scale(resize(x, side), number) for number, side in enumerate((*SIDES, None))]
        tokens = torch.cat([self.token.expand(len(x), -1, -1), *seen], 1)
        for block in self.blocks:
            tokens = block(tokens)
        return self.head(self.norm(tokens)[:, 0])[:, 0]

    def _scale(self, x: Tensor, number: int) -> Tensor:
        """(N, 3, h, w) -> (N, patches, HIDDEN)."""
        cut, (rows, columns) = patches(x)
        y = F.relu(self.gn_root(self.conv_root(cut.flatten(0, 1))))
        y = self.unit(F.max_pool2d(_same(y, 3, 2, -torch.inf), 3, 2))
        y = self.embedding(y.movedim(1, -1).flatten(1)).unflatten(0, cut.shape[:2])  # rows, columns, channels, as in JAX
        return y + self.positions[hashed(rows, columns).to(x.device)] + self.scales[number]


def resize(x: Tensor, side: int | None) -> Tensor:
    """(N, 3, H, W) with its longer side brought to `side`; None leaves it."""
    if side is None:
        return x
    ratio = side / max(x.shape[-2:])
    size = [round(length * ratio) for length in x.shape[-2:]]
    return F.interpolate(x, size=size, mode="bicubic", align_corners=False)


def patches(x: Tensor) -> tuple[Tensor, tuple[int, int]]:
    """(N, 3, H, W) -> (N, rows * columns, 3, 32, 32) and (rows, columns); what is missing is grey, half on each side."""
    x = _same(x, PATCH, PATCH, 0.0)
    rows, columns = x.shape[-2] // PATCH, x.shape[-1] // PATCH
    cut = x.unflatten(-1, (columns, PATCH)).unflatten(-3, (rows, PATCH))  # (N, 3, rows, 32, columns, 32)
    return cut.permute(0, 2, 4, 1, 3, 5).flatten(1, 2), (rows, columns)


def hashed(rows: int, columns: int) -> Tensor:
    """(rows * columns,) cell of the 10x10 grid of each patch."""
    down, across = (torch.arange(count) * GRID // count for count in (rows, columns))
    return (down[:, None] * GRID + across).flatten()


def load(device: str | torch.device = "cpu") -> MUSIQ:
    """MUSIQ with Google's weights.

    Raises:
        InputError: the file is missing (says what to type), holds objects, or lacks a weight.
    """
    path = published_files.locate(NAME)
    with torch.device("meta"):
        network = MUSIQ()
    return torch_file.fill(network, read(path), str(path)).to(device)


def read(path: Path) -> dict[str, Tensor]:
    """The checkpoint's arrays under our names, turned as PyTorch wants them.

    Raises:
        InputError: no whole .npz, or one that holds Python objects (they are never unpickled).
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, KeyError) as error:
        reason = "it holds Python objects, which could run code" if "allow_pickle" in str(error) else str(error)[:120]
        raise InputError(f"{str(path)!r} is no .npz of arrays ({reason})") from None
    ours_by_name = {}
    for name, array in arrays.items():
        if name.startswith("opt/target/") and array.dtype.kind == "f":  # the rest is the optimizer's
            ours = _rename(name.removeprefix("opt/target/"))
            ours_by_name[ours] = torch.from_numpy(_turn(ours, name, array).copy())
    return ours_by_name


_NAMES = (
    (r"^Transformer/encoderblock_(\d+)/", r"blocks.\1."),
    (r"^Transformer/posembed_input/pos_embedding$", "positions"),
    (r"^Transformer/scaleembed_input/scale_embedding$", "scales"),
    (r"^Transformer/cls$", "token"),
    (r"^Transformer/encoder_norm/", "norm."),
    (r"^block1/unit1/", "unit."),
    (r"LayerNorm_0/", "norm1."),
    (r"LayerNorm_2/", "norm2."),
    (r"(?:MultiHeadDotProductAttention|SelfAttention)_1/(query|key|value|out)/", r"\1."),
    (r"MlpBlock_3/Dense_(\d)/", r"mlp\1."),
    (r"/?(?:kernel|scale)$", ".weight"),
    (r"/bias$", ".bias"),
    (r"\.\.", "."),
    (r"/", "."),
)


def _rename(name: str) -> str:
    for pattern, ours in _NAMES:
        name = re.sub(pattern, ours, name)
    return re.sub(r"\.bias$|\.?bias$", ".bias", name)


def _turn(ours: str, theirs: str, array: np.ndarray) -> np.ndarray:
    """JAX keeps kernels with the outputs last, attention's with its heads apart, and vectors with axes of 1."""
    if ours in ("positions", "scales"):
        return array[0]
    if ours == "token":
        return array
    if not theirs.endswith("kernel"):
        return array.reshape(-1)
    if array.ndim == 4:
        return array.transpose(3, 2, 0, 1)
    if ".out." in ours:
        array = array.reshape(-1, array.shape[-1])
    return array.reshape(array.shape[0], -1).T
