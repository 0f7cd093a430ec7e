"""Perceptual distance: how different two pictures look, and the name of the network that says so.

- `Distance`: what `worldgym.zoo.perceptual_distance` returns.
- `FeatureDistance`: on the stages of a `Quality` net or of a codec's encoder. `PublishedLPIPS`: the `lpips` package.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgym.errors import InputError
from worldgym.judges.quality import Quality
from worldgym.models.codecs.codec import Block, LatentCodec, to_unit

LPIPS_TRUNKS = {"lpips-vgg": ("vgg", "vgg16-397923af.pth"), "lpips-alex": ("alex", "alexnet-owt-7be5be79.pth")}
MISSING = 'pip install "worldgym[published]" and put the trunk {file} into {folder}'


class Distance(Protocol):
    """A perceptual distance.

    Attributes:
        name: what it is, for results.
        highest: the largest value there can be.
    """

    name: str
    highest: float

    def __call__(self, frames: Tensor, truth: Tensor) -> Tensor:
        """(…, H, W, 3) uint8 twice -> (…,) float, 0 for equal pictures."""
        ...


class FeatureDistance:
    """Distance of normalised features, after LPIPS (arXiv 1801.03924, equation 1), but with equal weights:

        d(x, y) = mean over stages l and places p of |f_l(x)_p - f_l(y)_p|^2 / 4,   f of unit length over channels,

    which is (1 - cosine) / 2 and lies in [0, 1]. Features are centred by the mean of the net's features over both pictures,
    without which all of them point into nearly one direction.

    Args:
        net: has `stages(frames)`, a list of features (N, C, h, w): a `Quality` net, or `CodecStages`; no gradient is taken.
        source: its name.
    """

    highest = 1.0

    def __init__(self, net: Quality | CodecStages, source: str):
        self.net, self.name = net, f"features of {source}"

    @torch.no_grad()
    def __call__(self, frames: Tensor, truth: Tensor) -> Tensor:
        """See `Distance`."""
        parts = []
        for x, y in zip(self.net.stages(frames), self.net.stages(truth), strict=True):
            middle = (x.mean((2, 3), keepdim=True) + y.mean((2, 3), keepdim=True)) / 2
            x, y = F.normalize(x - middle, dim=1), F.normalize(y - middle, dim=1)
            parts.append((x - y).square().sum(1).mean((1, 2)) / 4)
        return torch.stack(parts).mean(0).reshape(frames.shape[:-3])


class CodecStages:
    """Stages of a latent codec's encoder: what an autoencoder that has seen nothing but the game keeps of a frame.

    It was trained to reproduce frames, not to please or to rank: a blurred frame is near its original, another place is far.
    """

    def __init__(self, codec: LatentCodec):
        self.codec = codec

    def stages(self, frames: Tensor) -> list[Tensor]:
        """(…, H, W, 3) uint8 -> the first and the last residual block's output, and the latents: (N, C, h, w) each."""
        x, blocks = to_unit(frames.flatten(0, -4)).contiguous(memory_format=torch.channels_last), []
        for layer in self.codec.encoder:
            x = layer(x)
            if isinstance(layer, Block):
                blocks.append(x)
        return [blocks[0], blocks[-1], (x - self.codec.mean[:, None, None]) / self.codec.std[:, None, None]]


class PublishedLPIPS:
    """LPIPS v0.1 by its own package: distance of two pictures in [-1, 1], mean over places.

    Args:
        net: "lpips-vgg" (RLVR-World) or "lpips-alex" (MineWorld's evaluation).
        device: where it runs.

    Raises:
        InputError: the package or the trunk's weights are not here; nothing is downloaded.
    """

    highest = float("inf")

    def __init__(self, net: str, device: str | torch.device):
        trunk, file = LPIPS_TRUNKS[net]
        folder = Path(torch.hub.get_dir()) / "checkpoints"
        if not (folder / file).is_file():
            raise InputError(f"{net} needs its trunk: {MISSING.format(file=file, folder=folder)}")
        try:
            import lpips
        except (ImportError, RuntimeError, AttributeError) as error:  # the latter from a torchvision for another torch
            raise InputError(f"{net} cannot be imported ({error}): {MISSING.format(file=file, folder=folder)}") from None
        self.net = lpips.LPIPS(net=trunk, version="0.1", verbose=False).eval().requires_grad_(False).to(device)
        self.name = f"{net} 0.1"

    @torch.no_grad()
    def __call__(self, frames: Tensor, truth: Tensor) -> Tensor:
        """See `Distance`."""
        x, y = (z.flatten(0, -4).movedim(-1, 1).float() / 127.5 - 1 for z in (frames, truth))
        return self.net(x, y).flatten().reshape(frames.shape[:-3])
