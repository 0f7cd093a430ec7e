"""The linear path of flow matching: x = (1 - sigma) x0 + sigma eps, velocity v = eps - x0, sigma the share of noise.

- `noised`, `velocity`: the path and its direction.
- `clean_of`, `noise_of`: x0 and eps from (x, v).
- `score`: grad log p(x) from (x, v), for stochastic samplers.
- `time_grid`: the sigmas of a sampler, 1 down to 0, with resolution shift. `logit_normal`: the sigmas of training.

`sigma` may be a number or a tensor that covers the leading axes of x: (B,) or (B, T) for x (B, T, C, h, w).
Equations: Lipman et al. 2022 (arXiv 2210.02747), linear path; Esser et al. 2024 (arXiv 2403.03206) for shift and logit-normal.
"""

from __future__ import annotations

import torch
from torch import Tensor

from worldgym.errors import InputError


def spread(sigma: Tensor | float, like: Tensor) -> Tensor:
    """Sigma with trailing axes of size 1 added until it broadcasts against `like`."""
    sigma = torch.as_tensor(sigma, dtype=like.dtype, device=like.device)
    return sigma.reshape(sigma.shape + (1,) * (like.ndim - sigma.ndim))


def noised(x0: Tensor, eps: Tensor, sigma: Tensor | float) -> Tensor:
    """x = (1 - sigma) x0 + sigma eps."""
    sigma = spread(sigma, x0)
    return (1 - sigma) * x0 + sigma * eps


def velocity(x0: Tensor, eps: Tensor) -> Tensor:
    """v = dx / dsigma = eps - x0."""
    return eps - x0


def clean_of(x: Tensor, v: Tensor, sigma: Tensor | float) -> Tensor:
    """x0 = x - sigma v."""
    return x - spread(sigma, x) * v


def noise_of(x: Tensor, v: Tensor, sigma: Tensor | float) -> Tensor:
    """eps = x + (1 - sigma) v."""
    return x + (1 - spread(sigma, x)) * v


def score(x: Tensor, v: Tensor, sigma: Tensor | float) -> Tensor:
    """grad log p_sigma(x) = -(x + (1 - sigma) v) / sigma, for sigma > 0."""
    return -noise_of(x, v, sigma) / spread(sigma, x)


def time_grid(steps: int, shift: float = 1.0) -> tuple[float, ...]:
    """K + 1 sigmas from 1 down to 0: even spacing, then sigma' = s sigma / (1 + (s - 1) sigma).

    Args:
        steps: K, how many model calls.
        shift: s; above 1 more steps are spent where there is much noise.
    """
    if steps < 1:
        raise InputError(f"steps is {steps}, but a sampler needs at least 1")
    if not shift > 0:
        raise InputError(f"shift is {shift}, but it must be above 0")
    even = (1 - k / steps for k in range(steps + 1))
    return tuple(shift * sigma / (1 + (shift - 1) * sigma) for sigma in even)


def logit_normal(shape: tuple[int, ...], mean: float, std: float, generator: torch.Generator) -> Tensor:
    """Sigmas for training: sigmoid(mean + std n), n standard normal; `shape` float32 on the generator's device."""
    n = torch.randn(shape, generator=generator, device=generator.device)
    return torch.sigmoid(mean + std * n)
