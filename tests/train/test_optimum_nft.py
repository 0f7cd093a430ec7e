"""NFT on a Gaussian world, where what it converges to can be worked out.

With v_old the exact velocity of the old density and equal weights, the loss is least at

    v = v_old + 2 / beta Cov(r, eps - x0 | x)

(set the derivative to zero: beta (v - v_old) = E[(2 r - 1)(u - v_old) | x], and E[u | x] = v_old). For r = 1/2 + c x0 this is
the velocity of the old density tilted by e^(2 c x0 / beta): exactly, at every noise level.
"""

import pytest
import torch
from gaussian_world import Normal, generated, line, posterior, velocity

from worldgym.models.diffusion import flow
from worldgym.models.diffusion.flow import time_grid
from worldgym.rewards import advantages
from worldgym.rewards.advantages import optimality
from worldgym.train import ema, kl
from worldgym.train.nft import nft_loss, old_velocity

EQUAL = 1e3  # a floor above every error gives all samples one weight: then the optimum is a mean, and a formula
OLD = Normal(0.2, 0.25)
SIGMAS = time_grid(8)


def fitted(reward, rows, dims, beta, floor, seed=0):
    """Slope and offset of the velocity that minimises the loss at each of the grid's levels, the old policy held."""
    draw = torch.Generator().manual_seed(seed)
    levels = torch.tensor(SIGMAS[:-1])
    x0 = (OLD.mean + OLD.var**0.5 * torch.randn(rows, 1, dims, generator=draw)).expand(-1, len(levels), -1)
    noisy = flow.noised(x0, torch.randn(rows, len(levels), dims, generator=draw), levels.expand(rows, -1))
    r = reward(x0[:, 0])[:, None].expand(-1, len(levels))
    assert r.min() >= 0 and r.max() <= 1
    v_old = velocity(noisy, levels[:, None], OLD.mean, OLD.var)
    slope, offset = (torch.tensor([line(OLD, s)[i] for s in SIGMAS[:-1]], requires_grad=True) for i in (0, 1))
    for _ in range(1 if floor == EQUAL else 4):  # Newton: with equal weights the loss is a parabola, one step is exact
        v = slope[:, None] * noisy + offset[:, None]
        loss = nft_loss(v, v_old, x0, noisy, levels.expand(rows, -1), r, beta, floor, lead=2).mean(0).sum() * max(floor, 1.0)
        gs, go = torch.autograd.grad(loss, (slope, offset), create_graph=True)
        ss, so = torch.autograd.grad(gs.sum(), (slope, offset), retain_graph=True)  # levels do not meet: 2x2 blocks
        (oo,) = torch.autograd.grad(go.sum(), offset)
        with torch.no_grad():
            determinant = ss * oo - so * so
            slope -= (oo * gs - so * go) / determinant
            offset -= (ss * go - so * gs) / determinant
    return list(zip(slope.tolist(), offset.tolist(), strict=True))


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("beta", [0.5, 1.0])
def test_linear_reward_gives_the_tilted_gaussian(sign, beta):
    """r = 1/2 ± .15 (x0 - mean): what Euler generates moves by ± .3 var / beta; mean and std to within .005."""
    found = generated(fitted(lambda x: 0.5 + sign * 0.15 * (x[:, 0] - OLD.mean), 20_000, 1, beta, EQUAL), SIGMAS)
    target = OLD.tilted(linear=sign * 0.3 / beta)
    expected = generated([line(target, s) for s in SIGMAS[:-1]], SIGMAS)  # the same 8 Euler steps with the exact velocity
    assert found.mean == pytest.approx(expected.mean, abs=0.005)
    assert found.var**0.5 == pytest.approx(expected.var**0.5, abs=0.005)
    assert abs(target.mean - OLD.mean) >= 0.07


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_quadratic_reward_gives_the_covariance_formula(sign):
    """r = 1/2 ∓ .04 ((x0 - .7)^2 - .5): slope and offset at every level to within .005 of v_old + 2 Cov(r, u | x).

    Cov((x0 - m)^2, x0 | x) = 2 (E[x0 | x] - m) Var(x0 | x), and u = (x - x0) / sigma. What is generated is the tilted Gaussian
    to first order in the reward: its mean within 10 % of the move.
    """
    c, goal = sign * 0.04, 0.7
    lines = fitted(lambda x: 0.5 - c * ((x[:, 0] - goal).square() - 0.5), 40_000, 1, 1.0, EQUAL)
    at = torch.tensor([0.0, 1.0], dtype=torch.float64)
    for (slope, offset), level in zip(lines, SIGMAS[:-1], strict=True):
        sigma = torch.tensor(level, dtype=torch.float64)
        mean, var = posterior(at, sigma, OLD)
        zero, one = (velocity(at, sigma, OLD.mean, OLD.var) + 2 * 2 * c * (mean - goal) * var / sigma).tolist()
        assert slope == pytest.approx(one - zero, abs=0.005) and offset == pytest.approx(zero, abs=0.005)
    exact = OLD.tilted(linear=4 * c * goal, curvature=4 * c)
    expected = generated([line(exact, s) for s in SIGMAS[:-1]], SIGMAS)
    before = generated([line(OLD, s) for s in SIGMAS[:-1]], SIGMAS)
    found = generated(lines, SIGMAS)
    assert found.mean - before.mean == pytest.approx(expected.mean - before.mean, rel=0.1)
    assert (found.mean - before.mean) * sign > 0.01


def test_the_loss_own_weights_change_little_in_many_dimensions():
    """With w = mean |error| over 32 dimensions the optimum is within 10 % of that of equal weights."""
    reward = lambda x: (0.5 + 0.1 * (x - OLD.mean).sum(1) / 32**0.5).clamp(0, 1)  # noqa: E731
    before = generated([line(OLD, s) for s in SIGMAS[:-1]], SIGMAS).mean
    weighted, equal = (generated(fitted(reward, 2_000, 32, 1.0, floor), SIGMAS).mean - before for floor in (1e-5, EQUAL))
    assert equal == pytest.approx(2 * 0.1 / 32**0.5 * OLD.var, rel=0.1)
    assert weighted == pytest.approx(equal, rel=0.1)


# --- iterated: the policy generates, is scored, learns -----------------------------------------------------------------------


class GaussianFlow(torch.nn.Module):
    """A flow model that can only say N(mean, std^2), and says it exactly."""

    def __init__(self, world: Normal):
        super().__init__()
        self.mean = torch.nn.Parameter(torch.tensor(world.mean))
        self.log_std = torch.nn.Parameter(torch.tensor(world.var).log() / 2)

    def forward(self, x, sigma):
        """(B, 1) at sigma (B,) -> velocity (B, 1)."""
        return velocity(x, sigma[:, None], self.mean, (2 * self.log_std).exp())

    def sample(self, rows, draw):
        """(B, 1) finished samples."""
        return (self.mean + self.log_std.exp() * torch.randn(rows, 1, generator=draw)).detach()


def iterate(reward, old, decay, steps, rate, kappa=0.0, rows=256):
    """NFT as its loop does it: the old policy generates, the loss moves the present one, the old one follows."""
    draw = torch.Generator().manual_seed(2)
    model, behaviour, reference = GaussianFlow(OLD), GaussianFlow(OLD), GaussianFlow(OLD)
    optimizer, kept = torch.optim.Adam(model.parameters(), rate), []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        x0 = behaviour.sample(rows, draw)
        sigma = 0.1 + 0.8 * torch.rand(rows, generator=draw)
        noisy = flow.noised(x0, torch.randn(rows, 1, generator=draw), sigma)
        v = model(noisy, sigma)
        v_old = old_velocity(old, v, lambda noisy=noisy, sigma=sigma: behaviour(noisy, sigma))
        loss = EQUAL * nft_loss(v, v_old, x0, noisy, sigma, reward(x0[:, 0]), floor=EQUAL).mean()
        # the regulariser in the loss' own unit, |x0 - x0'|^2 = sigma^2 |v - v'|^2
        loss = loss + kappa * (sigma.square() * kl.velocity(v, reference(noisy, sigma).detach())).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(behaviour, model, decay)
        if step >= 0.8 * steps:
            kept.append((float(model.mean.detach()), float(model.log_std.detach().exp())))
    return torch.tensor(kept).mean(0).tolist()


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("old, decay", [("ema", 0.0), ("ema", 0.5), ("detached", 0.0)])
def test_with_a_regulariser_it_settles_at_the_tilted_gaussian(old, decay, sign):
    """r = 1/2 ± .2 x0 and kappa |v - v_ref|^2: gradients balance at the tilt 2 * .2 / kappa; mean and std to within .03."""
    mean, std = iterate(lambda x: 0.5 + sign * 0.2 * (x - OLD.mean), old, decay, 250, 0.04, kappa=0.5)
    expected = OLD.tilted(linear=sign * 2 * 0.2 / 0.5)
    assert mean == pytest.approx(expected.mean, abs=0.03) and std == pytest.approx(expected.var**0.5, abs=0.03)
    assert (mean - OLD.mean) * sign > 0.15


@pytest.mark.parametrize("old", ["ema", "detached"])
def test_without_one_it_goes_to_the_best_sample_and_flipped_away_from_it(old):
    """r from group advantages of -(x0 - 1)^2: the mean ends within .05 of 1, the spread below a third; flipped it flees."""

    def reward(sign):
        return lambda x: optimality(advantages.group_normalised(-sign * (x - 1.0).square(), 64), clip=2.0)

    mean, std = iterate(reward(1.0), old, 0.2, 200, 0.06)
    assert mean == pytest.approx(1.0, abs=0.05) and std < OLD.var**0.5 / 3
    mean, _ = iterate(reward(-1.0), old, 0.2, 60, 0.05)
    assert mean < OLD.mean - 0.2
