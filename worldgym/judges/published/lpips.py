"""LPIPS v0.1 (Zhang et al. 2018, arXiv 1801.03924): distance on features of AlexNet or VGG-16, read from the published files.

The PyPI package `lpips` needs torchvision for two stacks of convolutions; here they stand written out, and the weights come
from the same files: the trunk's (pytorch.org) and the five linear heads' (the LPIPS repository).

- `LPIPS(net)`: the network. `load(net, device)`: with the published weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym.errors import unknown
from worldgym.models.files import published_files, torch_file

# (channels, kernel, stride, padding) of a convolution with ReLU; "pool": maximum; "tap": features are read here.
_THIRD = ((384, 3, 1, 1), "tap", (256, 3, 1, 1), "tap", (256, 3, 1, 1), "tap")
ALEX = ((64, 11, 4, 2), "tap", "pool", (192, 5, 1, 2), "tap", "pool", *_THIRD)
_STAGES = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))
VGG = tuple(x for n, (c, k) in enumerate(_STAGES) for x in (*(("pool",) if n else ()), *((c, 3, 1, 1),) * k, "tap"))
NETS = {"alex": (ALEX, 3, "alexnet-owt-7be5be79.pth"), "vgg": (VGG, 2, "vgg16-397923af.pth")}
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)


class LPIPS(nn.Module):
    """The distance; lower is nearer.

    Args:
        net: "alex" (MineWorld's evaluation) or "vgg" (RLVR-World).
    """

    def __init__(self, net: str = "alex"):
        super().__init__()
        if net not in NETS:
            raise unknown("net of LPIPS", net, NETS)
        plan, self.pool, _ = NETS[net]
        layers, self.taps, channels, widths = {}, [], 3, []
        index = 0  # as torchvision numbers its layers: convolution, ReLU, pooling
        for part in plan:
            if part == "tap":
                self.taps.append(str(index - 1))
                widths.append(channels)
                continue
            layers[str(index)] = nn.MaxPool2d(self.pool, 2) if part == "pool" else nn.Conv2d(channels, *part)
            if part != "pool":
                layers[str(index + 1)] = nn.ReLU()
                channels = part[0]
            index += 1 if part == "pool" else 2
        self.features = nn.ModuleDict(layers)
        self.heads = nn.ParameterList(nn.Parameter(torch.zeros(width)) for width in widths)
        self.register_buffer("shift", torch.tensor(SHIFT)[:, None, None], persistent=False)
        self.register_buffer("scale", torch.tensor(SCALE)[:, None, None], persistent=False)

    def forward(self, a: Tensor, b: Tensor, spatial: bool = True) -> Tensor:
        """Distance of each pair of pictures.

        Args:
            a, b: (N, H, W, 3) uint8 RGB.
            spatial: average maps that were first enlarged to H x W, as MineWorld's evaluation does; else average each map.

        Returns:
            (N,) float32, at least 0 with the published heads.
        """
        total = torch.zeros(len(a), device=self.shift.device)
        for head, one, two in zip(self.heads, self._read(a), self._read(b), strict=True):
            far = ((one - two).square() * head[:, None, None]).sum(1, keepdim=True)
            if spatial:
                far = F.interpolate(far, size=tuple(a.shape[1:3]), mode="bilinear", align_corners=False)
            total = total + far.mean((1, 2, 3))
        return total

    def _read(self, frames: Tensor) -> list[Tensor]:
        """(N, H, W, 3) uint8 -> five maps of unit vectors (N, C, h, w)."""
        x = (frames.to(self.shift.device).movedim(-1, 1).float() / 127.5 - 1 - self.shift) / self.scale
        maps = []
        for name, layer in self.features.items():
            x = layer(x)
            if name in self.taps:
                maps.append(x / (x.square().sum(1, keepdim=True).sqrt() + 1e-10))
        return maps


def load(net: str = "alex", device: str | torch.device = "cpu") -> LPIPS:
    """LPIPS with the published weights.

    Raises:
        InputError: a file is missing (says what to type), is another one, or lacks a weight.
    """
    if net not in NETS:
        raise unknown("net of LPIPS", net, NETS)
    trunk_path, heads_path = published_files.locate(NETS[net][2]), published_files.locate(f"lpips-{net}.pth")
    trunk = {n: x for n, x in torch_file.read(trunk_path).items() if n.startswith("features.")}  # the classifier is left out
    heads = torch_file.read(heads_path)
    renamed = {n.replace("lin", "heads.", 1).replace(".model.1.weight", ""): x.flatten() for n, x in heads.items()}
    source = f"{trunk_path} and {heads_path}"
    return torch_file.fill(LPIPS(net), {**trunk, **renamed}, source).to(device)
