"""Negative-aware fine-tuning: DiffusionNFT (arXiv 2509.16117), for world models WorldCompass (arXiv 2602.09022).

A clip x0 that the old policy made is noised again to x = (1 - sigma) x0 + sigma eps. With the present velocity v and the old
one v_old:

    v+ = beta v + (1 - beta) v_old        x0+ = x - sigma v+
    v- = (1 + beta) v_old - beta v        x0- = x - sigma v-
    loss = r |x0+ - x0|^2 / w+  +  (1 - r) |x0- - x0|^2 / w-,      w = mean |x0± - x0|, no gradient, at least `floor`

r in [0, 1] says how likely the clip counts as good. Good clips pull v to themselves, bad ones push it away along the mirror
image, and nothing needs the sampler's log-probs: any solver may generate. At v = v_old both branches are the same number, so
the loss does not depend on r while its gradient is proportional to 2 r - 1.

- `nft_loss`; `old_velocity`: "ema" as in the papers, "detached" as WorldCompass was released; `optimality`: r from advantages.

The regulariser to a reference is `kl.velocity`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from worldgym.errors import InputError, unknown
from worldgym.models.diffusion import flow

OLD = ("ema", "detached")


def optimality(advantage: Tensor, clip: float = 5.0) -> Tensor:
    """r = clamp(clip(A, -c, c) / c / 2 + 1/2, 0, 1): any shape, 0 for the worst, 1 for the best, 1/2 for the average.

    Args:
        advantage: A, normalised.
        clip: c; DiffusionNFT 5, WorldCompass 2.
    """
    if not clip > 0:
        raise InputError(f"clip is {clip}, but it must be above 0")
    return (advantage / clip / 2 + 0.5).clamp(0, 1)


def old_velocity(old: str, v: Tensor, ema: Callable[[], Tensor]) -> Tensor:
    """v_old: (B, …) without gradient.

    Args:
        old: "ema": what the policy that generated says, the papers' rule; "detached": the present velocity itself, which is
            what WorldCompass' released code comes down to (a signed, reward-weighted regression) and saves one model call.
        v: (B, …) the present velocity.
        ema: computes the old policy's velocity; called for "ema" only.
    """
    if old not in OLD:
        raise unknown("old policy", old, OLD)
    if old == "detached":
        return v.detach()
    with torch.no_grad():
        return ema().detach()


def nft_loss(
    v: Tensor,
    v_old: Tensor,
    x0: Tensor,
    noisy: Tensor,
    sigma: Tensor | float,
    optimality: Tensor,
    beta: float = 1.0,
    floor: float = 1e-5,
    lead: int = 1,
) -> Tensor:
    """The loss of every clip: (B,), or (B, S) with lead=2. Take the mean; DiffusionNFT then multiplies by c / beta.

    Args:
        v: (B, …) the present policy's velocity at `noisy`, with gradient.
        v_old: same shape, see `old_velocity`.
        x0: same shape, the clip that was generated.
        noisy: same shape, x0 noised to `sigma`.
        sigma: a number, or a tensor that covers the leading axes.
        optimality: r, (B,) or (B, S), in [0, 1].
        beta: strength of the step from old to new, above 0.
        floor: least w.
        lead: axes that are kept.
    """
    if not beta > 0:
        raise InputError(f"beta is {beta}, but it must be above 0")
    v, v_old, x0, noisy = v.float(), v_old.float(), x0.float(), noisy.float()
    positive = _distance(flow.clean_of(noisy, beta * v + (1 - beta) * v_old, sigma), x0, floor, lead)
    negative = _distance(flow.clean_of(noisy, (1 + beta) * v_old - beta * v, sigma), x0, floor, lead)
    r = flow.spread(optimality, positive)
    return r * positive + (1 - r) * negative


def _distance(x0_hat: Tensor, x0: Tensor, floor: float, lead: int) -> Tensor:
    """mean (x0_hat - x0)^2 / w over all axes but the first `lead`."""
    error = (x0_hat - x0).flatten(lead)
    # a mean of absolute values over many dimensions is summed in float64, as in both reference programs
    weight = error.detach().abs().double().mean(-1).clamp(min=floor)
    return error.square().mean(-1) / weight.to(error.dtype)
