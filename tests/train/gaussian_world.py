"""A world whose every answer is a formula: one Gaussian, its exact flow, and what rewards make of it."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True)
class Normal:
    """N(mean, var)."""

    mean: float
    var: float

    def tilted(self, linear: float = 0.0, curvature: float = 0.0) -> Normal:
        """The density times e^(linear x - curvature x^2 / 2), normalised."""
        var = 1 / (1 / self.var + curvature)
        return Normal(var * (self.mean / self.var + linear), var)


def velocity(x: Tensor, sigma: Tensor, mean: Tensor | float, var: Tensor | float) -> Tensor:
    """E[eps - x0 | x] for x = (1 - sigma) x0 + sigma eps and x0 from N(mean, var): what a perfect flow model says."""
    total = (1 - sigma) ** 2 * var + sigma**2
    return -mean + (sigma - (1 - sigma) * var) / total * (x - (1 - sigma) * mean)


def posterior(x: Tensor, sigma: Tensor, world: Normal) -> tuple[Tensor, Tensor]:
    """Mean and variance of x0 given x."""
    total = (1 - sigma) ** 2 * world.var + sigma**2
    return world.mean + (1 - sigma) * world.var / total * (x - (1 - sigma) * world.mean), world.var * sigma**2 / total


def generated(velocities: list[tuple[float, float]], sigmas: list[float]) -> Normal:
    """What Euler makes of standard noise with v = slope x + offset at each of the sigmas but the last."""
    mean, std = 0.0, 1.0
    for (slope, offset), sigma, after in zip(velocities, sigmas[:-1], sigmas[1:], strict=True):
        factor = 1 + (after - sigma) * slope
        mean, std = factor * mean + (after - sigma) * offset, factor * std
    return Normal(mean, std**2)


def line(world: Normal, sigma: float) -> tuple[float, float]:
    """Slope and offset in x of the exact velocity at sigma."""
    at = torch.tensor([0.0, 1.0], dtype=torch.float64)
    zero, one = velocity(at, torch.tensor(sigma, dtype=torch.float64), world.mean, world.var).tolist()
    return one - zero, zero
