"""The clipped surrogate against numbers worked out by hand."""

import math

import pytest
import torch

from worldgym.errors import InputError
from worldgym.train.surrogate import average, clip_mean, clip_sum


def log(*values):
    return torch.tensor([list(values)]).log()


def test_the_four_corners_by_hand():
    """Ratio 1.5 or .5, advantage 2 or -2, clip .2: PPO's table."""
    new = log(1.5, 0.5, 1.5, 0.5).requires_grad_()
    found = clip_sum(new, torch.zeros(1, 4), torch.tensor([[2.0, 2.0, -2.0, -2.0]]))
    torch.testing.assert_close(found.objective.detach(), torch.tensor([[2.4, 1.0, -3.0, -1.6]]))
    assert found.clipped.tolist() == [[True, False, False, True]]
    found.objective.sum().backward()
    torch.testing.assert_close(new.grad, torch.tensor([[0.0, 1.0, -3.0, 0.0]]))  # ratio * A where not clipped


def test_first_update_is_the_policy_gradient():
    """At ratio 1 the gradient is A times that of the log-prob, nothing is clipped, whatever the range."""
    new = torch.tensor([[-1.0, -2.0], [-3.0, -0.5]], requires_grad=True)
    found = clip_sum(new, new.detach(), torch.tensor([0.5, -1.5]), low=0.0, high=0.0)
    assert torch.equal(found.ratio, torch.ones(2, 2)) and found.clip_share == 0
    average(found.objective).backward()
    torch.testing.assert_close(new.grad, torch.tensor([[0.5, 0.5], [-1.5, -1.5]]) / 4)


def test_asymmetric_range():
    found = clip_sum(log(1.25, 0.75), torch.zeros(1, 2), torch.tensor([[1.0, -1.0]]), low=0.3, high=0.2)
    torch.testing.assert_close(found.objective, torch.tensor([[1.2, -0.75]]))
    assert found.clip_share == 0.5


def test_mean_is_the_root_of_sum():
    """A true ratio of e over 100 dimensions is exp(.01) per dimension: within 2e-2, outside 1e-4 in the mean's unit."""
    new, old = torch.tensor([[1.0]]), torch.zeros(1, 1)
    torch.testing.assert_close(clip_mean(new, old, torch.ones(1), dims=100, high=0.02).ratio, torch.tensor([[math.exp(0.01)]]))
    assert clip_mean(new, old, torch.ones(1), dims=100).clip_share == 1
    assert clip_mean(new, old, torch.ones(1), dims=100, high=0.02).clip_share == 0
    assert torch.equal(
        clip_mean(new, old, torch.ones(1), dims=1, low=0.2, high=0.2).objective, clip_sum(new, old, torch.ones(1)).objective
    )


def test_average_is_over_steps_then_rows():
    values = torch.tensor([[2.0, 4.0], [6.0, 100.0]])
    assert average(values) == 28
    assert average(values, torch.tensor([[1, 1], [1, 0]])) == 4.5  # rows 3 and 6
    assert average(values, torch.tensor([[1, 1], [0, 0]])) == 1.5  # an empty row counts as 0


def test_accumulated_pieces_are_the_whole_batch():
    generator = torch.Generator().manual_seed(0)
    new = torch.randn(8, 5, generator=generator, dtype=torch.float64).requires_grad_()
    old, weight = new.detach() + 0.3 * torch.randn(8, 5, generator=generator), torch.randn(8, generator=generator)
    whole = average(clip_sum(new, old, weight).objective)
    whole.backward()
    gradient, new.grad = new.grad, None
    for row in range(8):
        (average(clip_sum(new[row : row + 1], old[row : row + 1], weight[row : row + 1]).objective) / 8).backward()
    torch.testing.assert_close(new.grad, gradient, atol=1e-7, rtol=1e-6)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: clip_sum(log(1.0), log(1.0), torch.ones(1), low=1.5), "clip range"),
        (lambda: clip_sum(log(1.0), log(1.0, 1.0), torch.ones(1)), "must be equal"),
        (lambda: clip_mean(log(1.0), log(1.0), torch.ones(1), dims=0), "at least 1 number"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call()
