"""Small embeddings that both networks have, keyed as in `diffusers`.

- `sinusoid`: a number as cosines and sines. `Embedder`: two linear layers on it or on a text.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


def sinusoid(x: Tensor, width: int) -> Tensor:
    """(…,) to (…, width) float32: cosines, then sines; rates 10000^(-2i / width)."""
    half = width // 2
    rates = torch.exp(-math.log(1e4) * torch.arange(half, dtype=torch.float32, device=x.device) / half)
    angles = x.float()[..., None] * rates
    return torch.cat([angles.cos(), angles.sin()], -1)


class Embedder(nn.Module):
    """linear_2(activation(linear_1 x)) in the weights' own dtype."""

    def __init__(self, inputs: int, hidden: int, activation: nn.Module | None = None):
        super().__init__()
        self.linear_1, self.linear_2 = nn.Linear(inputs, hidden), nn.Linear(hidden, hidden)
        self.activation = activation or nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """(…, inputs) to (…, hidden)."""
        return self.linear_2(self.activation(self.linear_1(x.to(self.linear_1.weight.dtype))))
