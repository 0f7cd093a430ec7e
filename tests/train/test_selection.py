"""What is trained on, and when: best-of-N, timestep subsets, curriculum, moving averages."""

import numpy as np
import pytest
import torch
from torch import nn

from worldgym.errors import InputError
from worldgym.rng import generator
from worldgym.train import ema
from worldgym.train.selection import best_of_n, step_count, step_subset, target_clip


def test_best_of_n_keeps_both_ends_of_every_group():
    scores = torch.tensor([5.0, 1, 4, 2, 3, 0, 10, 20, 30, 40, 50, 60])
    assert best_of_n(scores, 6, 2).tolist() == [0, 5, 6, 11]
    assert best_of_n(scores, 6, 3).tolist() == [0, 2, 5, 6, 10, 11]  # the odd one goes to the best
    assert best_of_n(scores, 6, 1).tolist() == [0, 11]
    assert best_of_n(scores, 6, 6).tolist() == list(range(12))


def test_best_of_n_with_ties_takes_no_row_twice():
    assert best_of_n(torch.zeros(4), 4, 4).tolist() == [0, 1, 2, 3]
    assert best_of_n(torch.tensor([0.0, 1.0, 1.0, 1.0]), 4, 2).tolist() == [0, 1]


def test_count_does_not_fall_for_rounding():
    assert [step_count(0.6, k) for k in (5, 10, 20)] == [3, 6, 12] and step_count(0.01, 10) == 1 and step_count(1.0, 7) == 7


def test_step_subset_stays_inside_its_clip_and_never_repeats():
    found = step_subset(50, levels=10, clips=3, share=0.6, random=generator(0, "subset"))
    assert found.shape == (50, 18) and found.dtype == np.int64
    assert (np.diff(found, axis=1) > 0).all()
    assert (found.reshape(50, 3, 6) // 10 == np.arange(3)[:, None]).all()


def test_step_subset_takes_every_level_equally_often():
    """4,000 draws of 6 from 10: each level .6 of the time, sd .0077; false alarm below 1e-6 at 5 sd for 10 levels."""
    found = step_subset(4000, levels=10, clips=1, share=0.6, random=generator(1, "subset"))
    share = np.bincount(found.ravel(), minlength=10) / 4000
    assert np.abs(share - 0.6).max() < 5 * 0.0077


def test_step_subset_can_leave_out_the_last_step():
    found = step_subset(20, levels=4, clips=2, share=1.0, random=generator(2, "subset"), drop_last=True)
    assert (found == [0, 1, 2, 4, 5, 6]).all()


def test_step_subset_among_the_early_steps():
    """Of 10 steps the first 3: all of them at share 1, one of them at .1; the last step is far away."""
    every = step_subset(2, levels=10, clips=2, share=1.0, random=generator(2, "subset"), drop_last=True, early=0.3)
    assert (every == [0, 1, 2, 10, 11, 12]).all()
    one = step_subset(300, levels=10, clips=1, share=0.1, random=generator(2, "subset"), early=0.3)
    assert one.shape == (300, 1) and set(one.ravel()) == {0, 1, 2}


def test_step_subset_repeats_for_a_seed():
    first, again, other = (step_subset(3, 10, 2, 0.5, generator(seed, "subset")) for seed in (3, 3, 4))
    assert (first == again).all() and (first != other).any()


def test_curriculum_by_hand():
    assert [target_clip("cycle", i, 3) for i in range(7)] == [0, 1, 2, 0, 1, 2, 0]
    assert [target_clip("grow", i, 3, 9) for i in range(9)] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert target_clip("grow", 99, 3, 9) == 2 and target_clip("last", 0, 3) == 2
    released = [1 + ((step - 1) % 16) for step in range(1, 40)]  # WorldCompass, clips counted from 1
    assert [1 + target_clip("cycle", i, 16) for i in range(39)] == released


@pytest.mark.parametrize(
    "schedule, steps",
    [
        (ema.DecaySchedule(start=0.2, slope=0.01, cap=0.9), {0: 0.2, 10: 0.3, 70: 0.9, 500: 0.9}),  # WorldCompass
        (ema.DecaySchedule(slope=0.001, cap=0.5), {0: 0.0, 100: 0.1, 500: 0.5, 9999: 0.5}),  # DiffusionNFT, type 1
        (ema.DecaySchedule(slope=0.0075, cap=0.999, wait=75), {0: 0.0, 75: 0.0, 76: 0.0075, 9999: 0.999}),  # type 2
    ],
)
def test_decay_schedules_as_published(schedule, steps):
    for step, decay in steps.items():
        assert schedule(step) == pytest.approx(decay)


def test_ema_update_by_hand():
    average, model = nn.BatchNorm1d(2), nn.BatchNorm1d(2)
    nn.init.constant_(average.weight, 1.0), nn.init.constant_(model.weight, 3.0)
    model.running_mean.fill_(7.0)
    ema.update(average, model, 0.75)
    assert average.weight.tolist() == [1.5, 1.5] and average.running_mean.tolist() == [7.0, 7.0]
    assert average.weight.requires_grad and average.weight.grad is None
    ema.update(average, model, 1.0)
    assert average.weight.tolist() == [1.5, 1.5]
    ema.update(average, model, 0.0)
    assert torch.equal(average.weight, model.weight) and average.weight.data_ptr() != model.weight.data_ptr()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda: best_of_n(torch.zeros(4), 3, 1), "must divide"),
        (lambda: best_of_n(torch.zeros(4), 4, 5), "one can keep 1 to 4"),
        (lambda: step_count(0.0, 10), "above 0 and at most 1"),
        (lambda: step_subset(1, 1, 1, 1.0, generator(0), drop_last=True), "at least 1"),
        (lambda: target_clip("cycel", 0, 1), "did you mean 'cycle'"),
        (lambda: target_clip("grow", -1, 1), "counts start at 1"),
        (lambda: ema.DecaySchedule(start=2.0), "start and cap"),
        (lambda: ema.update(nn.Linear(1, 2), nn.Linear(2, 1), 0.5), "same parameters"),
    ],
)
def test_bad_input_gets_a_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call()
