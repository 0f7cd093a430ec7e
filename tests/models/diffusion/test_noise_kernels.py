"""Stochastic steps: no noise is Euler, two published forms are one, marginals of the analytic Gaussian world."""

import math

import pytest
import torch

from worldgym.errors import InputError
from worldgym.models.diffusion import flow
from worldgym.models.diffusion.noise_kernels import LEVELS, Gaussian, NoiseKernel, kernel
from worldgym.models.diffusion.samplers import Euler

M, S = 0.7, 0.5  # the data of the Gaussian world: x0 ~ N(M, S^2)
NOISY = [name for name in LEVELS if name != "ode"]


def draw(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def true_velocity(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """E[eps - x0 | x] on paper: x0 and eps are independent normal numbers and x = (1 - sigma) x0 + sigma eps."""
    variance = ((1 - sigma) * S) ** 2 + sigma**2
    return -M + (sigma - (1 - sigma) * S**2) / variance * (x - (1 - sigma) * M)


@pytest.mark.parametrize("name", NOISY)
def test_without_noise_every_kernel_is_the_euler_step(name: str):
    x, v = draw(3, 4), draw(3, 4, seed=1)
    step = NoiseKernel(name, 0.0).step(x, v, 0.6, 0.4)
    torch.testing.assert_close(step.mean, Euler().step(x, v, 0.6, 0.4), atol=1e-6, rtol=0)
    assert not step.std.any()
    assert torch.equal(step.mean, kernel("ode").step(x, v, 0.6, 0.4).sample(draw(3, 4, seed=2)))


@pytest.mark.parametrize(("sigma", "sigma_next"), [(0.9, 0.8), (0.5, 0.1), (0.2, 0.0)])
def test_flow_grpo_and_dance_grpo_coincide_for_equal_g(sigma: float, sigma_next: float):
    """Both as their papers write them; facts, not the formula of this file."""
    x, v, a, d = draw(2, 5), draw(2, 5, seed=1), 0.7, sigma_next - sigma
    g = a * math.sqrt(sigma / (1 - sigma))
    flow_grpo = x * (1 + g**2 / (2 * sigma) * d) + v * (1 + g**2 * (1 - sigma) / (2 * sigma)) * d
    x0 = x - sigma * v
    dance_grpo = x + d * v - g**2 / 2 * (-(x - (1 - sigma) * x0) / sigma**2) * d
    for name, level in (("flow-grpo", a), ("dance-grpo", g), ("rlir", g)):
        step = NoiseKernel(name, level).step(x, v, sigma, sigma_next)
        torch.testing.assert_close(step.mean, flow_grpo, atol=2e-6, rtol=0)
        torch.testing.assert_close(step.mean, dance_grpo, atol=2e-6, rtol=0)
        assert step.std.item() == pytest.approx(g * math.sqrt(-d), rel=1e-5)


def test_flow_grpo_uses_the_next_sigma_at_pure_noise():
    step = NoiseKernel("flow-grpo", 0.7).step(draw(1, 2), draw(1, 2), 1.0, 0.9)
    assert step.std.item() == pytest.approx(0.7 * math.sqrt(1 / 0.1) * math.sqrt(0.1), rel=1e-5)


@pytest.mark.parametrize("name", [name for name in LEVELS if name != "cps"])
def test_marginals_of_the_gaussian_world(name: str):
    """10,000 samples end as the data do, and are right half-way too, within four standard errors and what 200 steps leave."""
    count, grid = 10_000, flow.time_grid(200)
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(count, 1, generator=generator)
    for sigma, sigma_next in zip(grid[:-1], grid[1:], strict=True):
        step = kernel(name).step(x, true_velocity(x, sigma), sigma, sigma_next)
        x = step.sample(torch.randn(count, 1, generator=generator))
        if sigma_next in (0.5, 0.0):
            mean, std = (1 - sigma_next) * M, math.sqrt(((1 - sigma_next) * S) ** 2 + sigma_next**2)
            assert x.mean().item() == pytest.approx(mean, abs=4 * std / math.sqrt(count) + 0.005)
            assert x.std().item() == pytest.approx(std, rel=4 / math.sqrt(2 * count) + 0.01)


def test_cps_keeps_the_coefficients():
    """From a true pair (x0, eps): x' = (1 - s') x0 + numbers of variance s'^2, whatever the level."""
    eps, x0 = draw(20_000, 1), torch.full((20_000, 1), M)
    for level in (0.3, 0.7, 1.0):
        step = NoiseKernel("cps", level).step(flow.noised(x0, eps, 0.8), eps - x0, 0.8, 0.5)
        rest = step.sample(draw(20_000, 1, seed=1)) - 0.5 * x0
        assert rest.mean().item() == pytest.approx(0, abs=0.015) and rest.std().item() == pytest.approx(0.5, rel=0.02)


@pytest.mark.parametrize("name", NOISY)
def test_logprob_is_that_of_the_sample(name: str):
    x, v = draw(3, 2, 4), draw(3, 2, 4, seed=1)
    step = kernel(name).step(x, v, torch.tensor([0.9, 0.6, 0.3]), torch.tensor([0.6, 0.3, 0.1]))
    sample = step.sample(draw(3, 2, 4, seed=2))
    truth = torch.distributions.Normal(step.mean, step.std.expand_as(step.mean)).log_prob(sample)
    torch.testing.assert_close(step.logprob_sum(sample), truth.sum((1, 2), dtype=torch.float64))
    torch.testing.assert_close(step.logprob_sum(sample, lead=2), truth.sum(2, dtype=torch.float64))


def test_rows_may_stand_at_different_noise_levels():
    x, v = draw(2, 3), draw(2, 3, seed=1)
    both = kernel("flow-grpo").step(x, v, torch.tensor([1.0, 0.4]), torch.tensor([0.8, 0.2]))
    for row, (sigma, sigma_next) in enumerate(((1.0, 0.8), (0.4, 0.2))):
        alone = kernel("flow-grpo").step(x[row : row + 1], v[row : row + 1], sigma, sigma_next)
        torch.testing.assert_close(both.mean[row : row + 1], alone.mean)
        torch.testing.assert_close(both.std[row : row + 1], alone.std)


def test_a_step_without_noise_counts_nothing_and_has_finite_gradients():
    mean = draw(2, 3).requires_grad_()
    logprob = Gaussian(mean, torch.zeros(2, 1)).logprob_sum(draw(2, 3, seed=1))
    logprob.sum().backward()
    assert not logprob.any() and not mean.grad.any()


def test_bad_kernels_are_refused():
    with pytest.raises(InputError, match="did you mean 'flow-grpo'"):
        NoiseKernel("flow-gpro")
    with pytest.raises(InputError, match="from 0 to 1"):
        NoiseKernel("cps", 1.5)
    with pytest.raises(InputError, match="adds no noise"):
        NoiseKernel("ode", 0.5)
    own = NoiseKernel("cps")
    assert kernel("rlir").level == 0.75 and kernel(own) is own
