"""PPO's clipped surrogate as GRPO uses it (arXiv 2402.03300, equation 3; arXiv 1707.06347, equation 7).

A clip range means nothing without the unit of the log-prob behind the ratio, so the unit is in the name:

- `clip_sum`: ratio = exp(new - old) of log-probs **summed** over a step's dimensions, the true ratio of the two policies.
  One code per step (token models) has one dimension, and .2 is the usual range.
- `clip_mean`: ratio = exp((new - old) / D), the D-th root of the true one: what Flow-GRPO and DanceGRPO compute, with ranges
  of 1e-4. A range c here is about a range D c of `clip_sum`.
- `Surrogate`: what both give. `average`: the loss from it.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from worldgym.errors import InputError


@dataclasses.dataclass(frozen=True, eq=False)
class Surrogate:
    """The objective of a batch of steps; all (B, S).

    Attributes:
        objective: min(ratio A, clip(ratio) A), to be made large; carries the gradient.
        ratio: without gradient; 1 everywhere before the first update.
        clipped: bool, where the clip took the gradient away.
    """

    objective: Tensor
    ratio: Tensor
    clipped: Tensor

    @property
    def clip_share(self) -> Tensor:
        """Share of the steps that the clip silenced, a number in [0, 1]."""
        return self.clipped.float().mean()


def clip_sum(
    logprob_sum: Tensor, old_logprob_sum: Tensor, advantage: Tensor, low: float = 0.2, high: float = 0.2
) -> Surrogate:
    """The clipped surrogate on summed log-probs.

    Args:
        logprob_sum: (B, S) under the present policy, with gradient.
        old_logprob_sum: (B, S) under the policy that acted.
        advantage: (B,) or (B, S).
        low, high: the ratio is clipped to [1 - low, 1 + high]; different ones are DAPO's clip-higher (arXiv 2503.14476).
    """
    return _clipped(logprob_sum, old_logprob_sum, advantage, low, high)


def clip_mean(
    logprob_sum: Tensor, old_logprob_sum: Tensor, advantage: Tensor, dims: int, low: float = 1e-4, high: float = 1e-4
) -> Surrogate:
    """The clipped surrogate on log-probs averaged over a step's dimensions.

    Args:
        logprob_sum, old_logprob_sum, advantage: as in `clip_sum`; the division is done here.
        dims: D, how many numbers a step draws: c C h w of a denoising step.
        low, high: range of the D-th root of the true ratio.
    """
    if dims < 1:
        raise InputError(f"dims is {dims}, but a step draws at least 1 number")
    return _clipped(logprob_sum / dims, old_logprob_sum / dims, advantage, low, high)


def average(values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over steps, then over rows: (B, S) -> scalar. GRPO's 1/G sum 1/|o| sum, equation 3.

    Args:
        values: (B, S).
        mask: (B, S), 1 where a step counts; a row with nothing counts as 0.
    """
    if mask is None:
        return values.mean()
    mask = mask.to(values.dtype)
    return ((values * mask).sum(1) / mask.sum(1).clamp(min=1)).mean()


def _clipped(new: Tensor, old: Tensor, advantage: Tensor, low: float, high: float) -> Surrogate:
    if not (0 <= low < 1 and high >= 0):
        raise InputError(f"the clip range is [1 - {low}, 1 + {high}], but low must lie in [0, 1) and high be at least 0")
    if new.shape != old.shape:
        raise InputError(f"log-probs have shape {tuple(new.shape)}, the old ones {tuple(old.shape)}; they must be equal")
    ratio = (new - old.detach()).float().exp()
    weight = advantage[:, None] if advantage.ndim == new.ndim - 1 else advantage
    free, bound = ratio * weight, ratio.clamp(1 - low, 1 + high) * weight
    outside = (ratio < 1 - low) | (ratio > 1 + high)
    return Surrogate(torch.minimum(free, bound), ratio.detach(), (outside & (bound < free)).detach())
