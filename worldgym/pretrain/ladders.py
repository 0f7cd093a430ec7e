"""Ladders of frames from good to bad, whose order is known: what a quality net learns to rank from.

- `Ladders`: frames to ladders (n, 4, H, W, 3), the real frame first; kinds are the degradations, codecs and world models.
- `pairs(kinds)`: which rows of a batch of ladders are better than which.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from worldgym import rng
from worldgym.data.degradations import DEGRADATIONS, blur, corrupted
from worldgym.pretrain.clips import Clips

RUNGS = 4
# Damage that shows without the original: a dark, flat or tinted frame may well be a dark, flat or tinted room.
VISIBLE = ("blur", "noise", "pixelate", "mosaic", "ghost")
FIXED = (0.0, 0.25, 0.5, 1.0)  # severities of the rungs in validation


class Ladders:
    """Ladders of every kind from the clips of a store.

    Kinds: the names in `DEGRADATIONS` (real, then three severities), "codec/<i>" (real, reconstructed, two shares of lost
    codes) and "model/<i>" (real, reconstructed, generated at the same moment of the same clip, that blurred).

    Args:
        clips: the store.
        codecs: codec modules.
        made: per world model: indices of clips (m,) in the store, and its frames (m, T, H, W, 3) uint8.
        device: where ladders are made.
    """

    def __init__(
        self, clips: Clips, codecs: Sequence[nn.Module], made: Sequence[tuple[np.ndarray, np.ndarray]], device: torch.device
    ):
        self.clips, self.codecs, self.made, self.device = clips, codecs, made, device
        models = [f"model/{i}" for i in range(len(made))]
        self.kinds = [*DEGRADATIONS, *(f"codec/{i}" for i in range(len(codecs))), *models]
        self.weights = np.array([3.0 if kind in models else 1.0 for kind in self.kinds])

    def draw(self, indices: np.ndarray, seed: int, step: int) -> tuple[Tensor, list[str]]:
        """A step's ladders.

        Args:
            indices: (n,) clips whose frames are damaged; kinds "model/<i>" take their own.
            seed, step: decide everything that is random.

        Returns:
            (n, 4, H, W, 3) uint8 and the kind of each.
        """
        random = rng.generator(seed, "ladders", step)
        kinds = sorted(random.choice(self.kinds, len(indices), p=self.weights / self.weights.sum()).tolist())
        moments = random.integers(self.clips.length, size=len(indices))
        torch_random = torch.Generator().manual_seed(rng.torch_seed(seed, "ladders", step))
        parts = []
        for kind in dict.fromkeys(kinds):
            rows = np.array([k == kind for k in kinds])
            severities = np.sort(random.uniform(0.08, 1.0, (rows.sum(), RUNGS)), 1)
            severities[:, 0] = 0
            parts.append(self.of(kind, indices[rows], moments[rows], severities, torch_random))
        ladders = torch.cat(parts)
        flipped = torch.from_numpy(random.random(len(ladders)) < 0.5).to(ladders.device)
        return torch.where(flipped[:, None, None, None, None], ladders.flip(-2), ladders), kinds

    def of(
        self, kind: str, indices: np.ndarray, moments: np.ndarray, severities: np.ndarray, random: torch.Generator
    ) -> Tensor:
        """(n, 4, H, W, 3) uint8 ladders of one kind, for clips and moments (n,) and severities (n, 4)."""
        levels = torch.from_numpy(severities).float()
        if kind.startswith("model/"):
            return self._model(int(kind.removeprefix("model/")), indices, moments, levels, random)
        real = self.clips.frames(indices, moments[:, None], self.device)[:, 0]
        if kind.startswith("codec/"):
            codec = self.codecs[int(kind.removeprefix("codec/"))]
            levels = torch.stack([torch.zeros(len(levels)), levels[:, 1], levels[:, 3]], 1)
            return torch.stack([real, *(corrupted(codec, real, level, random) for level in levels.T)], 1)
        return torch.stack([real, *(DEGRADATIONS[kind](real, level, random) for level in levels.T[1:])], 1)

    def _model(self, index: int, indices: np.ndarray, moments: np.ndarray, levels: Tensor, random: torch.Generator) -> Tensor:
        chosen, frames = self.made[index]
        rows = indices % len(chosen)
        moments = 1 + moments % (frames.shape[1] - 1)  # frame 0 was given
        real = self.clips.frames(chosen[rows], moments[:, None], self.device)[:, 0]
        made = torch.from_numpy(frames[rows, moments]).to(self.device)
        codec = self.codecs[index % len(self.codecs)]
        return torch.stack([real, codec.decode(codec.encode(real)), made, blur(made, levels[:, 1], random)], 1)


def pairs(kinds: Sequence[str]) -> Tensor:
    """(P, 2) int64 rows of flattened ladders (n * 4): better, worse.

    Within a ladder every rung is better than all below. Between ladders the top is better than the lowest rung of the next
    one, where that damage shows by itself.
    """
    found = []
    for row, kind in enumerate(kinds):
        first = row * RUNGS
        found += [(first + i, first + j) for i in range(RUNGS) for j in range(i + 1, RUNGS)]
        if kind in VISIBLE or "/" in kind:
            found.append(((row + 1) % len(kinds) * RUNGS, first + RUNGS - 1))
    return torch.tensor(found)


def accuracy(quality: Mapping[str, Tensor]) -> dict[str, float]:
    """Shares of pairs in the right order, from qualities (n, 4) per kind.

    "order_<kind>": pairs within ladders; "accuracy": their mean over kinds; "generated": real above generated at the same
    moment; "codec_generated": reconstructed above generated; "between": real above the lowest rung of another clip.
    """
    found, between, generated, second = {}, [], [], []
    for kind, q in quality.items():
        right = [(q[:, i] > q[:, j]).float().mean() for i in range(RUNGS) for j in range(i + 1, RUNGS)]
        found[f"order_{kind}"] = float(torch.stack(right).mean())
        if kind in VISIBLE:
            between.append(float((q[:, None, 0] > q[None, :, -1]).float().mean()))
        if kind.startswith("model/"):
            generated.append(float((q[:, 0] > q[:, 2]).float().mean()))
            second.append(float((q[:, 1] > q[:, 2]).float().mean()))
    means = {"accuracy": list(found.values()), "between": between, "generated": generated, "codec_generated": second}
    return {**{name: float(np.mean(values)) for name, values in means.items() if values}, **found}
