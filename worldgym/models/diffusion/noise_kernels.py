"""The stochastic step from the flow ODE: one object gives the sample and its log-prob.

For any g(sigma) >= 0 the step below has the marginals of the ODE dx = v dsigma (d = sigma' - sigma < 0):

    mean = x + d v - g^2 / 2 score d,   std = g sqrt(-d),   score = -(x + (1 - sigma) v) / sigma

- `NoiseKernel(name, level)`: which g, and how much. `Gaussian`: what a step draws from.
- `LEVELS`: "flow-grpo" (g = a sqrt(sigma / (1 - sigma)), arXiv 2505.05470), "dance-grpo" and "rlir" (constant g,
  arXiv 2505.07818 and 2509.23958), "cps" (coefficients-preserving, arXiv 2509.05952) and "ode" (no noise: Euler).
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from worldgym.errors import InputError, unknown
from worldgym.models.diffusion import flow

LEVELS = {"flow-grpo": 0.7, "dance-grpo": 0.3, "rlir": 0.75, "cps": 0.7, "ode": 0.0}


@dataclasses.dataclass(frozen=True, eq=False)
class Gaussian:
    """Independent normal numbers.

    Attributes:
        mean: (B, …).
        std: broadcasts against the mean; 0 says that nothing is drawn.
    """

    mean: Tensor
    std: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """mean + std noise, for standard normal `noise` of the mean's shape."""
        return self.mean + self.std * noise

    def logprob_sum(self, x: Tensor, lead: int = 1) -> Tensor:
        """Log-density of x summed over all axes but the first `lead`: float64.

        The sum over thousands of numbers is itself in the thousands, where float32 is good to 1e-4: too coarse for a ratio.
        A step without noise has no density. It counts 0 there, so that ratios of such a step are 1 and it teaches nothing.
        """
        return self._density(x).flatten(lead).sum(-1, dtype=torch.float64)

    def _density(self, x: Tensor) -> Tensor:
        mean, std = self.mean.float(), self.std.float()
        safe = torch.where(std > 0, std, 1.0)  # neither value nor gradient may pass through a division by 0
        density = -0.5 * ((x.float() - mean) / safe).square() - safe.log() - 0.5 * math.log(2 * math.pi)
        return torch.where(std > 0, density, 0.0)


@dataclasses.dataclass(frozen=True)
class NoiseKernel:
    """A named way to add noise to the steps of a flow sampler.

    Attributes:
        name: key of `LEVELS`.
        level: a of "flow-grpo", the constant g of "dance-grpo" and "rlir", eta in [0, 1] of "cps"; None takes the named
            paper's value (for "cps" .7; it is ours).

    Example:
        >>> step = NoiseKernel("flow-grpo").step(x, v, sigma, sigma_next)       # doctest: +SKIP
        >>> x_next = step.sample(noise); step.logprob_sum(x_next)               # doctest: +SKIP
    """

    name: str = "flow-grpo"
    level: float | None = None

    def __post_init__(self):
        if self.name not in LEVELS:
            raise unknown("noise kernel", self.name, LEVELS)
        level = LEVELS[self.name] if self.level is None else float(self.level)
        if not 0 <= level < math.inf or (self.name == "cps" and level > 1):
            raise InputError(
                f"level is {level}, but {self.name!r} needs one from 0 to {1 if self.name == 'cps' else 'infinity'}"
            )
        if self.name == "ode" and level:
            raise InputError(f"level is {level}, but 'ode' adds no noise; choose another kernel or level 0")
        object.__setattr__(self, "level", level)

    def g(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """Diffusion coefficient at `sigma`, same shape; not for "cps", which is defined by its step.

        Flow-GRPO's g is infinite at sigma = 1; as in its code, the 1 - sigma below the root uses the next sigma there.
        """
        if self.name == "flow-grpo":
            return self.level * (sigma / (1 - torch.where(sigma < 1, sigma, sigma_next))).sqrt()
        return torch.full_like(sigma, self.level)

    def step(self, x: Tensor, v: Tensor, sigma: Tensor | float, sigma_next: Tensor | float) -> Gaussian:
        """What the next sample is drawn from.

        Args:
            x: (B, …) the sample at `sigma`.
            v: same shape, the model's velocity there.
            sigma: noise level above 0: a number, or a tensor that covers the leading axes of x.
            sigma_next: the lower one to go to.
        """
        x, v = x.float(), v.float()
        sigma, sigma_next = flow.spread(sigma, x), flow.spread(sigma_next, x)
        if self.name == "cps":
            return self._preserving(x, v, sigma, sigma_next)
        d, g = sigma_next - sigma, self.g(sigma, sigma_next)
        mean = x + d * v
        if self.level:  # at level 0 exactly the Euler step, bit for bit
            mean = mean + g.square() / (2 * sigma) * flow.noise_of(x, v, sigma) * d
        return Gaussian(mean, g * (-d).sqrt())

    def _preserving(self, x: Tensor, v: Tensor, sigma: Tensor, sigma_next: Tensor) -> Gaussian:
        """x' = (1 - s') x0 + s' (cos(eta pi / 2) eps + sin(eta pi / 2) new noise): what is added is first taken away.

        The shares of data and noise are kept; the marginals are only for few steps, because the amount of new noise does not
        shrink with the step.
        """
        angle = self.level * math.pi / 2
        if not self.level:
            return Gaussian(x + (sigma_next - sigma) * v, torch.zeros_like(sigma))
        x0, eps = flow.clean_of(x, v, sigma), flow.noise_of(x, v, sigma)
        return Gaussian((1 - sigma_next) * x0 + sigma_next * math.cos(angle) * eps, sigma_next * math.sin(angle))


def kernel(name: str | NoiseKernel, level: float | None = None) -> NoiseKernel:
    """A kernel by name; a kernel object comes back as it is."""
    return name if isinstance(name, NoiseKernel) else NoiseKernel(name, level)
