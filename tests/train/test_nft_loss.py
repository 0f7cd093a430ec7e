"""The NFT loss: its formula by hand, and its property at theta = theta_old."""

import pytest
import torch

from worldgym.errors import InputError
from worldgym.rewards.advantages import optimality
from worldgym.train.nft import nft_loss, old_velocity


def case(rows=3, seed=0):
    draw = torch.Generator().manual_seed(seed)
    x0, eps, v = torch.randn(3, rows, 2, 5, generator=draw, dtype=torch.float64)
    sigma = torch.tensor([0.3, 0.6, 0.9], dtype=torch.float64)[:rows]
    noisy = (1 - sigma[:, None, None]) * x0 + sigma[:, None, None] * eps
    return x0.float(), noisy.float(), v.float(), sigma.float()


def test_by_hand():
    """One number: x0 = 1, x = 2, sigma = .5, v = 1, v_old = 3, beta = .5, r = .25.

    v+ = 2, x0+ = 1, error 0, so floor 1e-5 weighs it: 0. v- = 1.5*3 - .5 = 4, x0- = 0, error -1, weight 1: loss .75.
    """
    one = torch.ones(1, 1)
    found = nft_loss(one, 3 * one, one, 2 * one, 0.5, torch.tensor([0.25]), beta=0.5)
    torch.testing.assert_close(found, torch.tensor([0.75]))


def test_weights_carry_no_gradient():
    """With one dimension loss = e^2 / |e|; a gradient through the weight would halve d loss / d v from 2 sigma to sigma."""
    v = torch.tensor([[1.0]], requires_grad=True)
    nft_loss(v, torch.zeros(1, 1), torch.tensor([[5.0]]), torch.zeros(1, 1), 0.5, torch.ones(1)).sum().backward()
    torch.testing.assert_close(v.grad, torch.tensor([[2 * 0.5]]))


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_at_the_old_policy_the_loss_ignores_r_and_the_gradient_is_proportional_to_2r_minus_1(beta):
    x0, noisy, v, sigma = case()
    losses, gradients = [], []
    shares = (0.0, 0.25, 0.5, 0.8, 1.0)
    for r in shares:
        present = v.clone().requires_grad_()
        loss = nft_loss(present, v, x0, noisy, sigma, torch.full((3,), r), beta)
        losses.append(loss.detach())
        gradients.append(torch.autograd.grad(loss.sum(), present)[0])
    for loss in losses[1:]:
        torch.testing.assert_close(loss, losses[0], atol=0, rtol=1e-6)
    for r, found in zip(shares, gradients, strict=True):
        torch.testing.assert_close(found, (2 * r - 1) * gradients[-1], atol=1e-7, rtol=1e-5)
    assert gradients[-1].abs().min() > 0


def test_r_of_one_half_pulls_back_to_the_old_policy():
    """Off the old policy the two branches balance: the gradient of r = 1/2 points from v to v_old."""
    x0, noisy, v, sigma = case()
    present = (v + 0.1).requires_grad_()
    loss = nft_loss(present, v, x0, noisy, sigma, torch.full((3,), 0.5), floor=1e3)  # equal weights
    assert (torch.autograd.grad(loss.sum(), present)[0] > 0).all()


def test_detached_is_the_present_velocity_and_calls_no_other_model():
    v = torch.randn(2, 3, requires_grad=True)
    found = old_velocity("detached", v, lambda: pytest.fail("the old model was called"))
    assert torch.equal(found, v) and not found.requires_grad
    other = torch.randn(2, 3, requires_grad=True)
    found = old_velocity("ema", v, lambda: other * 2)
    assert torch.equal(found, other * 2) and not found.requires_grad


def test_two_leading_axes_are_rows_and_steps():
    x0, noisy, v, sigma = case()
    found = nft_loss(
        v[:, None].expand(3, 2, 2, 5), v[:, None] * torch.ones(3, 2, 1, 1), x0[:, None].expand(3, 2, 2, 5),
        noisy[:, None].expand(3, 2, 2, 5), sigma[:, None].expand(3, 2), torch.tensor([[0.1, 0.9]] * 3), lead=2,
    )  # fmt: skip
    for step, r in enumerate((0.1, 0.9)):
        torch.testing.assert_close(found[:, step], nft_loss(v, v, x0, noisy, sigma, torch.full((3,), r)))


def test_optimality_by_hand():
    found = optimality(torch.tensor([-9.0, -5.0, 0.0, 2.5, 5.0, 9.0]))
    assert found.tolist() == [0.0, 0.0, 0.5, 0.75, 1.0, 1.0]
    assert optimality(torch.tensor([1.0]), clip=2.0).item() == 0.75


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: old_velocity("emma", torch.ones(1), lambda: torch.ones(1)), "did you mean 'ema'"),
        (lambda: optimality(torch.ones(1), 0.0), "must be above 0"),
        (lambda: nft_loss(*[torch.ones(1, 1)] * 4, 0.5, torch.ones(1), beta=0.0), "must be above 0"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call()
