"""What the loop needs from a learner, and the data order they share.

- `Task`: the protocol. `rows(seed, step, count, total)`: which clips a step looks at.
"""

from __future__ import annotations

import functools
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from worldgym import rng


class Task(Protocol):
    """A learner and its data.

    Attributes:
        kind: the zoo's kind of the finished model.
        origin: JSON that goes into checkpoint and card: data hash, codec, split.
    """

    kind: str
    origin: dict[str, Any]

    def build(self) -> nn.Module:
        """The untrained module."""

    def loss(self, module: nn.Module, step: int, share: float) -> tuple[torch.Tensor, dict[str, float]]:
        """Loss of a step's batch, and numbers to log; a pure function of the weights, the seed, step and share."""

    def validate(self, module: nn.Module) -> dict[str, float]:
        """Scores on the validation split."""


@functools.lru_cache(maxsize=2)
def _order(seed: int, epoch: int, total: int) -> np.ndarray:
    return rng.generator(seed, "order", epoch).permutation(total)


def rows(seed: int, step: int, count: int, total: int) -> np.ndarray:
    """(count,) indices below `total` for a step: consecutive pieces of an endless chain of shuffled epochs."""
    places = np.arange(step * count, (step + 1) * count)
    return np.array([_order(seed, place // total, total)[place % total] for place in places.tolist()], np.int64)


def evenly(total: int, count: int) -> np.ndarray:
    """At most `count` of `total` indices, evenly spaced."""
    return np.unique(np.linspace(0, total - 1, min(count, total)).astype(np.int64))
