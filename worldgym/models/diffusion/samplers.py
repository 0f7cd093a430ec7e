"""Samplers of flow matching: how to walk dx = v(x, sigma) dsigma from noise (sigma 1) to data (sigma 0).

- `Euler`: first order, x' = x + (sigma' - sigma) v.
- `MultistepSolver`: DPM-Solver++(2M), second order with one model call per step (arXiv 2211.01095, algorithm 2).
- `SAMPLERS`, `sampler(name)`: by name, "euler" and "dpm++".

A sampler is one object per trajectory: `step(x, v, sigma, sigma_next)` returns the next x. It never calls a model, draws no
noise and does not look at shapes, so the same code serves frames, clips and a plain number.
"""

from __future__ import annotations

import math
from typing import Protocol

from torch import Tensor

from worldgym.errors import unknown
from worldgym.models.diffusion import flow


class Sampler(Protocol):
    """What a sampler must offer."""

    def step(self, x: Tensor, v: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """The sample at `sigma_next`, given the velocity `v` of `x` at `sigma`."""
        ...


class Euler:
    """First order: follows the velocity in a straight line."""

    def step(self, x: Tensor, v: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """x' = x + (sigma' - sigma) v."""
        return x + (sigma_next - sigma) * v


class MultistepSolver:
    """DPM-Solver++(2M): solves the linear part exactly and extrapolates x0 from the last two calls.

    With alpha = 1 - sigma, lambda = log(alpha / sigma), h = lambda' - lambda and r = h_before / h:
        D  = x0 + (x0 - x0_before) / (2 r)
        x' = sigma' / sigma x + alpha' (1 - e^-h) D
    The first step has no predecessor, and the last one (sigma' = 0, h infinite) has r = 0: both are first order, D = x0, as in
    the published solver. lambda is -infinity at sigma = 1, so the second step gets r = infinity, again D = x0.
    """

    def __init__(self):
        self._before: tuple[Tensor, float] | None = None  # x0 and lambda of the previous call

    def step(self, x: Tensor, v: Tensor, sigma: float, sigma_next: float) -> Tensor:
        """One step of the equations above."""
        x0 = flow.clean_of(x, v, sigma)
        now, after = _log_snr(sigma), _log_snr(sigma_next)
        target = x0
        if self._before is not None and sigma_next > 0:
            x0_before, before = self._before
            target = x0 + (x0 - x0_before) * ((after - now) / (2 * (now - before)))
        self._before = x0, now
        decay = math.exp(now - after)  # e^-h; 0 for the first step from pure noise and for the last to pure data
        return (sigma_next / sigma) * x + (1 - sigma_next) * (1 - decay) * target


def _log_snr(sigma: float) -> float:
    """lambda = log((1 - sigma) / sigma), infinite at the ends."""
    if sigma <= 0:
        return math.inf
    return math.log((1 - sigma) / sigma) if sigma < 1 else -math.inf


SAMPLERS = {"euler": Euler, "dpm++": MultistepSolver}


def sampler(name: str) -> Sampler:
    """A fresh sampler by name."""
    if name not in SAMPLERS:
        raise unknown("sampler", name, SAMPLERS)
    return SAMPLERS[name]()
