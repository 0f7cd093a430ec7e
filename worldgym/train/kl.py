"""How far the policy has gone from a reference: KL(policy || reference).

From log-probs of what the policy drew, with d = log reference - log policy (Schulman, "Approximating KL divergence", 2020):

- `k1` = -d: unbiased, can be negative. `k2` = d^2 / 2: small variance, biased. `k3` = e^d - 1 - d: unbiased and never
  negative, GRPO's (arXiv 2402.03300, equation 4). `ESTIMATORS`, `estimate(name, …)`: by name.
- `gaussian_sum`, `gaussian_mean`: the exact KL of two Gaussians with one std, for denoising steps. Flow-GRPO's code (arXiv
  2505.05470) takes the mean over dimensions and leaves the step size out of the variance.
- `velocity`: mean squared distance of two velocities, DiffusionNFT's regulariser (arXiv 2509.16117).
"""

from __future__ import annotations

from torch import Tensor

from worldgym.errors import unknown


def k1(logprob: Tensor, reference: Tensor) -> Tensor:
    """log policy - log reference: any shape."""
    return logprob - reference


def k2(logprob: Tensor, reference: Tensor) -> Tensor:
    """(log policy - log reference)^2 / 2: any shape, at least 0."""
    return 0.5 * (logprob - reference).square()


def k3(logprob: Tensor, reference: Tensor) -> Tensor:
    """e^d - 1 - d with d = log reference - log policy: any shape, at least 0."""
    d = reference - logprob
    return d.expm1() - d


ESTIMATORS = {"k1": k1, "k2": k2, "k3": k3}


def estimate(name: str, logprob: Tensor, reference: Tensor) -> Tensor:
    """By name, see `ESTIMATORS`; elementwise.

    As a loss they pull in different ways. On samples of the policy itself the gradient of "k1" is the score, whose mean is 0
    whatever the reference is; that of "k2" is the gradient of KL(policy || reference), whose optimum with a reward is the
    reference tilted by e^(reward / beta); that of "k3" is the gradient of KL(reference || policy), with another optimum.

    Args:
        name: "k1", "k2" or "k3".
        logprob: under the policy that drew the samples.
        reference: of the same samples under the reference, without gradient.
    """
    if name not in ESTIMATORS:
        raise unknown("KL estimator", name, ESTIMATORS)
    return ESTIMATORS[name](logprob, reference)


def gaussian_sum(mean: Tensor, reference: Tensor, std: Tensor | float, lead: int = 1) -> Tensor:
    """KL = sum (mean - reference mean)^2 / (2 std^2) over all axes but the first `lead`.

    Args:
        mean, reference: (B, …) of a step's Gaussians; or (B, S, …) with lead=2.
        std: of both, above 0, broadcasts.
        lead: axes that are kept.
    """
    return _scaled(mean, reference, std).flatten(lead).sum(-1)


def gaussian_mean(mean: Tensor, reference: Tensor, std: Tensor | float, lead: int = 1) -> Tensor:
    """As `gaussian_sum`, the mean over dimensions; with std = g instead of g sqrt(-d) it is Flow-GRPO's term."""
    return _scaled(mean, reference, std).flatten(lead).mean(-1)


def velocity(v: Tensor, reference: Tensor, lead: int = 1) -> Tensor:
    """Mean (v - v_ref)^2 over all axes but the first `lead`."""
    return (v.float() - reference.float()).square().flatten(lead).mean(-1)


def _scaled(mean: Tensor, reference: Tensor, std: Tensor | float) -> Tensor:
    return (mean.float() - reference.float()).square() / (2 * std**2)
