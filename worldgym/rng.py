"""Named random generators: every stream has a seed and a name, nothing is global.

- `generator(seed, *names)`: a numpy generator. `torch_seed(seed, *names)`: an integer for a torch generator.
- `RowNoise`: one torch stream per batch row, so that a clip gets the same noise in any batch and on any device.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def torch_seed(seed: int, *names: object) -> int:
    """A 63-bit integer from a seed and a path of names, the same on every machine and Python."""
    text = "/".join(str(part) for part in (seed, *names))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little") >> 1


def generator(seed: int, *names: object) -> np.random.Generator:
    """A numpy generator for the stream called `names` under `seed`."""
    return np.random.default_rng(torch_seed(seed, *names))


class RowNoise:
    """One CPU random stream per batch row; draws are stacked and moved to the device.

    A row's numbers depend on its own seed and on how much it has drawn, never on its neighbours: a batch equals its
    singles, and a GPU run starts from the same noise as a CPU run.

    Args:
        seeds: one integer per row (B).
        device: where draws are put.
    """

    def __init__(self, seeds: Sequence[int], device: torch.device | str = "cpu"):
        import torch

        self.device = torch.device(device)
        self._rows = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def __len__(self) -> int:
        return len(self._rows)

    def uniform(self, *shape: int) -> torch.Tensor:
        """(B, *shape) float32 in [0, 1)."""
        import torch

        return torch.stack([torch.rand(shape, generator=row) for row in self._rows]).to(self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        """(B, *shape) float32, standard normal."""
        import torch

        return torch.stack([torch.randn(shape, generator=row) for row in self._rows]).to(self.device)
