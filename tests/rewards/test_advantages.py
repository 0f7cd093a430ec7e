"""Advantages against numbers worked out by hand, and against the rewards' own composition."""

import pytest
import torch

from worldgym.errors import InputError
from worldgym.rewards.advantages import (
    ADVANTAGES,
    advantage,
    frame_credit,
    global_std,
    group_normalised,
    leave_one_out,
    per_step,
)

REWARDS = torch.tensor([1.0, 3.0, 10.0, 30.0])  # two groups of two: stds 1 and 10


def test_group_normalised_by_hand():
    torch.testing.assert_close(group_normalised(REWARDS, 2), torch.tensor([-1.0, 1.0, -1.0, 1.0]))


@pytest.mark.parametrize("size", [2, 7, 24])
def test_group_without_differences_gets_zero_and_not_rounding_noise(size):
    """In float32 the mean of 24 times .1 is off by 7e-9, which over 1e-8 is an advantage of .4."""
    for value in torch.rand(50, generator=torch.Generator().manual_seed(3)):
        for function in ADVANTAGES.values():
            assert torch.equal(function(value.expand(size), size), torch.zeros(size))


def test_global_std_by_hand():
    spread = REWARDS.std(correction=0)
    torch.testing.assert_close(global_std(REWARDS, 2), torch.tensor([-1.0, 1.0, -10.0, 10.0]) / spread)


def test_leave_one_out_by_hand_and_by_its_definition():
    torch.testing.assert_close(leave_one_out(REWARDS, 2), torch.tensor([-2.0, 2.0, -20.0, 20.0]))
    rewards = torch.tensor([1.0, 2.0, 6.0])
    expected = torch.tensor([1 - 4.0, 2 - 3.5, 6 - 1.5])  # each minus the mean of the other two
    torch.testing.assert_close(leave_one_out(rewards, 3), expected)


@pytest.mark.parametrize("name", sorted(ADVANTAGES))
def test_groups_do_not_mix_and_sum_to_zero(name):
    rewards = torch.rand(12, generator=torch.Generator().manual_seed(0))
    found = advantage(name, rewards, 4).view(3, 4)
    torch.testing.assert_close(found.sum(1), torch.zeros(3), atol=1e-5, rtol=0)
    assert torch.equal(found.argsort(1), rewards.view(3, 4).argsort(1))


def test_a_group_split_over_ranks_is_the_group_in_one_piece():
    rewards = torch.rand(8, generator=torch.Generator().manual_seed(2))
    ranks = rewards[:4], rewards[4:]  # a group of 8 over two ranks: gathered, computed, sliced
    for rank in (0, 1):
        rows = slice(4 * rank, 4 * rank + 4)
        assert torch.equal(group_normalised(torch.cat(ranks), 8)[rows], group_normalised(rewards, 8)[rows])


def test_frame_credit_is_causal():
    rewards = torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 4.0]])
    own = frame_credit(rewards, 2, "leave-one-out", discount=0.0)
    torch.testing.assert_close(own, torch.tensor([[0.0, 1.0, -4.0], [0.0, -1.0, 4.0]]))
    half = frame_credit(rewards, 2, "leave-one-out", discount=0.5)
    # returns by hand: row 0 (.5, 1, 0), row 1 (1, 2, 4)
    torch.testing.assert_close(half, torch.tensor([[-0.5, -1.0, -4.0], [0.5, 1.0, 4.0]]))
    assert torch.equal(rewards, torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 4.0]])), "the rewards were written to"


def test_per_step_spreads_rows_and_frames():
    assert torch.equal(per_step(torch.tensor([1.0, 2.0]), 3), torch.tensor([[1.0] * 3, [2.0] * 3]))
    assert torch.equal(per_step(torch.tensor([[1.0, 2.0]]), 4), torch.tensor([[1.0, 1.0, 2.0, 2.0]]))


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: advantage("grup", REWARDS, 2), "did you mean 'group'"),
        (lambda: group_normalised(REWARDS, 3), "must divide the 4 rewards"),
        (lambda: leave_one_out(REWARDS, 1), "at least 2 rollouts"),
        (lambda: frame_credit(REWARDS, 2), r"needs \(B, F\) rewards"),
        (lambda: per_step(REWARDS[None], 6), "cannot be shared evenly"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call()
