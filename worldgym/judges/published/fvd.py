"""FVD's network: I3D in TorchScript, as StyleGAN-V publishes it and MineWorld's evaluation uses it.

A TorchScript file is a program. It can't reach Python, but it runs, so it is opened only when its hash is one that you vouched
for: `sha256sum i3d_torchscript.pt > i3d_torchscript.pt.sha256` beside the file, after you have compared the hash with that of
somebody you trust. (Its publisher names none.)

- `load(device)`: the network. `FVDFeatures`: clips in, features of every prefix length out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from worldgym.errors import InputError
from worldgym.files import sha256
from worldgym.models.files import published_files

NAME = "i3d_torchscript.pt"
PREFIXES = (10, 11, 12, 13, 14, 15)  # MineWorld averages over them
SIDE = 224


class FVDFeatures:
    """400 numbers per clip.

    Args:
        network: takes (N, 3, T, 224, 224) in [-1, 1] and the keywords rescale, resize, return_features; gives (N, 400).
        device: where it is.
    """

    def __init__(self, network: Any, device: str | torch.device = "cpu"):
        self.network, self.device = network, device

    @torch.no_grad()
    def __call__(self, frames: Tensor, prefixes: Sequence[int] = PREFIXES) -> Tensor:
        """Features of the first 10, 11, … 15 frames of each clip.

        Args:
            frames: (N, T, H, W, 3) uint8 RGB, T at least the longest prefix.
            prefixes: lengths in frames; I3D needs at least 9.

        Returns:
            (N, len(prefixes), 400) float32.

        Raises:
            InputError: the clips are too short.
        """
        if frames.shape[1] < max(prefixes):
            raise InputError(f"the clips have {frames.shape[1]} frames, but FVD over {max(prefixes)} was asked for")
        features = []
        for clip in frames:  # one by one: a clip's features must not depend on its neighbours
            x = prepare(clip.to(self.device)).movedim(1, 0)[None]  # (1, 3, T, 224, 224)
            parts = [self.network(x[:, :, :n], rescale=False, resize=False, return_features=True) for n in prefixes]
            features.append(torch.cat(parts).float())
        return torch.stack(features)


def prepare(clip: Tensor) -> Tensor:
    """(T, H, W, 3) uint8 -> (T, 3, 224, 224) in [-1, 1]: the shorter side to 224, bilinear; the middle."""
    x = clip.movedim(-1, 1).float() / 255
    height, width = x.shape[-2:]
    scale = SIDE / min(height, width)
    size = (SIDE, math.ceil(width * scale)) if height < width else (math.ceil(height * scale), SIDE)
    if size != (height, width):
        x = F.interpolate(x, size=size, mode="bilinear", align_corners=False)
    top, left = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
    return (x[..., top : top + SIDE, left : left + SIDE] - 0.5) * 2


def load(device: str | torch.device = "cpu") -> FVDFeatures:
    """The published network.

    Raises:
        InputError: the file is missing (says what to type), or you have not vouched for its hash.
    """
    path = published_files.locate(NAME)
    digest, note = sha256(path), path.with_name(f"{NAME}.sha256")
    vouched = note.read_text(encoding="utf-8").split()[:1] if note.is_file() else []
    if vouched != [digest]:
        raise InputError(
            f"{str(path)!r} is a program and will not be run before you vouch for it: compare its sha256 {digest} with that "
            f"of somebody you trust, then: sha256sum {path} > {note}"
        )
    try:
        network = torch.jit.load(str(path), map_location=device).eval()
    except RuntimeError as error:
        raise InputError(f"{str(path)!r} is no whole TorchScript file ({str(error).splitlines()[0][:120]})") from None
    return FVDFeatures(network, device)
