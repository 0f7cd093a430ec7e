"""The linear path: round trips, the published formulas, the time grid."""

import math

import pytest
import torch

from worldgym.errors import InputError
from worldgym.models.diffusion import flow


def _pair(seed: int = 0):
    generator = torch.Generator().manual_seed(seed)
    x0, eps = torch.randn(2, 3, 4, 5, generator=generator, dtype=torch.float64).split([1, 1])
    return x0, eps


def test_ends_of_the_path_are_data_and_noise():
    x0, eps = _pair()
    assert torch.equal(flow.noised(x0, eps, 0.0), x0)
    assert torch.equal(flow.noised(x0, eps, 1.0), eps)


def test_a_number_on_paper():
    x0, eps = torch.tensor([2.0]), torch.tensor([-4.0])
    x = flow.noised(x0, eps, 0.25)  # 0.75 * 2 - 0.25 * 4
    assert x.item() == 0.5
    assert flow.velocity(x0, eps).item() == -6.0
    assert flow.clean_of(x, flow.velocity(x0, eps), 0.25).item() == 2.0
    assert flow.noise_of(x, flow.velocity(x0, eps), 0.25).item() == -4.0


@pytest.mark.parametrize("sigma", [0.1, 0.5, 0.9])
def test_round_trips(sigma: float):
    x0, eps = _pair()
    x, v = flow.noised(x0, eps, sigma), flow.velocity(x0, eps)
    torch.testing.assert_close(flow.clean_of(x, v, sigma), x0)
    torch.testing.assert_close(flow.noise_of(x, v, sigma), eps)


def test_velocity_is_the_derivative_along_the_path():
    x0, eps = _pair()
    slope = (flow.noised(x0, eps, 0.6) - flow.noised(x0, eps, 0.4)) / 0.2
    torch.testing.assert_close(slope, flow.velocity(x0, eps))


def test_score_of_a_gaussian():
    """x0 ~ N(1, 4): x ~ N(1 - s, 4 (1-s)^2 + s^2), whose score is known; v is the posterior mean of eps - x0."""
    sigma, x = 0.3, torch.linspace(-3, 3, 7, dtype=torch.float64)
    variance = 4 * (1 - sigma) ** 2 + sigma**2
    known = -(x - (1 - sigma)) / variance
    v = -1 + (sigma - 4 * (1 - sigma)) / variance * (x - (1 - sigma))
    torch.testing.assert_close(flow.score(x, v, sigma), known)


def test_sigma_of_rows_and_frames_broadcasts_from_the_left():
    """Guards against a sigma (B, T) that meets the last axes instead of the first."""
    x0, eps = torch.zeros(2, 2, 1, 2, 2), torch.ones(2, 2, 1, 2, 2)
    sigma = torch.tensor([[0.1, 0.2], [0.3, 0.4]])
    x = flow.noised(x0, eps, sigma)
    torch.testing.assert_close(x[:, :, 0, 0, 1], sigma)
    torch.testing.assert_close(flow.noised(x0, eps, sigma[:, 0])[:, 1, 0, 1, 0], sigma[:, 0])


def test_time_grid_even():
    assert flow.time_grid(4) == (1.0, 0.75, 0.5, 0.25, 0.0)


def test_time_grid_shifted():
    """shift 3 at sigma .5: 1.5 / 2 = .75; the ends stay."""
    grid = flow.time_grid(2, shift=3.0)
    assert grid == (1.0, 0.75, 0.0)


@pytest.mark.parametrize("bad", [{"steps": 0}, {"steps": 4, "shift": 0.0}])
def test_time_grid_refuses_nonsense(bad: dict):
    with pytest.raises(InputError):
        flow.time_grid(**bad)


def test_logit_normal_has_the_asked_median_and_spread():
    """20,000 draws: the standard error of the mean is .009, of the deviation .006; a false alarm is beyond 5 of them."""
    sigma = flow.logit_normal((20_000,), 0.5, 1.2, torch.Generator().manual_seed(0))
    logit = torch.logit(sigma.double())
    assert 0 < sigma.min() and sigma.max() < 1
    assert math.isclose(logit.mean().item(), 0.5, abs_tol=0.045)
    assert math.isclose(logit.std().item(), 1.2, abs_tol=0.03)
