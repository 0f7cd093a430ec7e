"""Samplers on the Gaussian world, where the exact flow is known: x(sigma) = (1 - sigma) m + sqrt(var(sigma)) z."""

import math

import pytest
import torch

from worldgym.errors import InputError
from worldgym.models.diffusion import flow
from worldgym.models.diffusion.samplers import SAMPLERS, sampler

MEAN, STD = 1.5, 0.5


def gaussian_velocity(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """E[eps - x0 | x] for x0 ~ N(m, s^2): -m + (sigma - (1 - sigma) s^2) / var (x - (1 - sigma) m)."""
    var = (1 - sigma) ** 2 * STD**2 + sigma**2
    return -MEAN + (sigma - (1 - sigma) * STD**2) / var * (x - (1 - sigma) * MEAN)


def walk(name: str, x: torch.Tensor, grid: tuple[float, ...]) -> torch.Tensor:
    solver = sampler(name)
    for sigma, sigma_next in zip(grid[:-1], grid[1:], strict=True):
        x = solver.step(x, gaussian_velocity(x, sigma), sigma, sigma_next)
    return x


def error(name: str, steps: int, shift: float = 1.0) -> float:
    eps = torch.tensor([-2.0, -0.3, 1.0], dtype=torch.float64)
    exact = MEAN + STD * eps
    return (walk(name, eps, flow.time_grid(steps, shift)) - exact).abs().max().item()


def spread_at(sigma: float) -> float:
    return math.sqrt((1 - sigma) ** 2 * STD**2 + sigma**2)


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("dpm++", 2)])
def test_order_of_convergence(name: str, order: int):
    """Doubling the steps between sigma .9 and .1 divides the error by 2^order; a solver that forgets its past falls to 1."""
    z, errors = torch.tensor([-2.0, -0.3, 1.0], dtype=torch.float64), []
    for steps in (40, 80, 160):
        grid = tuple(0.9 - 0.8 * k / steps for k in range(steps + 1))
        start, end = (MEAN * (1 - sigma) + spread_at(sigma) * z for sigma in (0.9, 0.1))
        errors.append((walk(name, start, grid) - end).abs().max().item())
    orders = [math.log2(coarse / fine) for coarse, fine in zip(errors[:-1], errors[1:], strict=True)]
    assert all(abs(found - order) < 0.1 for found in orders), orders


@pytest.mark.parametrize(("name", "bound"), [("euler", 2e-2), ("dpm++", 1e-3)])
def test_noise_to_data_converges(name: str, bound: float):
    """The whole way, ends of infinite log-SNR included."""
    errors = [error(name, steps) for steps in (50, 100, 200)]
    assert errors[0] > 1.5 * errors[1] > 2.25 * errors[2]
    assert errors[-1] < bound


def test_second_order_pays_at_the_default_number_of_steps():
    assert error("dpm++", 18) < error("euler", 18) / 3


@pytest.mark.parametrize("name", SAMPLERS)
def test_shifted_grid_ends_at_the_same_place(name: str):
    assert error(name, 400, shift=3.0) < 1e-2


@pytest.mark.parametrize("name", SAMPLERS)
def test_one_step_gives_the_predicted_x0(name: str):
    x = torch.tensor([0.7], dtype=torch.float64)
    torch.testing.assert_close(walk(name, x, (1.0, 0.0)), torch.full_like(x, MEAN))


@pytest.mark.parametrize("name", SAMPLERS)
def test_exact_when_the_data_is_one_point(name: str):
    """x0 constant: the flow is a straight line and every step count is exact."""
    x, solver, grid = torch.tensor([3.0], dtype=torch.float64), sampler(name), flow.time_grid(5)
    for sigma, sigma_next in zip(grid[:-1], grid[1:], strict=True):
        x = solver.step(x, (x + 2) / sigma, sigma, sigma_next)
    torch.testing.assert_close(x, torch.tensor([-2.0], dtype=torch.float64))


def test_multistep_formula_by_hand():
    """Two steps .8 -> .5 -> .2 written out from the paper, equation by equation (algorithm 2, data prediction)."""
    sigmas = (0.8, 0.5, 0.2)
    lam = [math.log((1 - s) / s) for s in sigmas]
    x, v1, v2 = (torch.tensor([value], dtype=torch.float64) for value in (0.4, -1.0, 0.3))
    solver = sampler("dpm++")
    first = solver.step(x, v1, sigmas[0], sigmas[1])
    second = solver.step(first, v2, sigmas[1], sigmas[2])
    h1, h2 = lam[1] - lam[0], lam[2] - lam[1]
    d1 = 0.4 + 0.8 * 1.0
    by_hand = 0.5 / 0.8 * 0.4 - 0.5 * math.expm1(-h1) * d1
    assert math.isclose(first.item(), by_hand)
    d2 = by_hand - 0.5 * 0.3
    extrapolated = (1 + h2 / (2 * h1)) * d2 - h2 / (2 * h1) * d1
    assert math.isclose(second.item(), 0.2 / 0.5 * by_hand - 0.8 * math.expm1(-h2) * extrapolated)


def test_samplers_do_not_share_their_past():
    x = torch.tensor([1.0])
    sampler("dpm++").step(x, x, 0.8, 0.5)
    fresh = sampler("dpm++").step(x, 2 * x, 0.5, 0.2)
    expected = 0.2 / 0.5 * x + 0.8 * (1 - math.exp(-math.log(4))) * (x - 0.5 * 2 * x)
    torch.testing.assert_close(fresh, expected)


def test_unknown_sampler_says_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'euler'"):
        sampler("euller")
