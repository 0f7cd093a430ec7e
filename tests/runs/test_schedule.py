"""Learning rate, window length and budget: values known on paper."""

import math

import pytest

from worldgym.errors import InputError
from worldgym.runs.schedule import Budget, learning_rate, window


@pytest.mark.parametrize(
    ("share", "factor"),
    [(0, 0), (0.05, 0.5), (0.1, 1), (0.55, 0.1 + 0.9 / 2), (0.4, 0.1 + 0.9 * (1 + math.cos(math.pi / 3)) / 2), (1, 0.1)],
)
def test_learning_rate(share, factor):
    assert learning_rate(share, warmup=0.1, final=0.1) == pytest.approx(factor)


def test_no_warmup_starts_at_the_peak():
    assert learning_rate(0, warmup=0, final=0.0) == 1


@pytest.mark.parametrize(("share", "frames"), [(0, 4), (0.84, 4), (0.85, 16), (1, 16)])
def test_window(share, frames):
    assert window(share, 4, 16, 0.15) == frames


@pytest.mark.parametrize(("full_share", "frames"), [(0, 4), (1, 16)])
def test_window_of_one_kind_only(full_share, frames):
    assert window(0.5, 4, 16, full_share) == frames


def test_budget_in_steps_looks_at_no_clock():
    budget = Budget(steps=200)
    assert budget.share(50, 1e9) == 0.25
    assert budget.share(300, 0) == 1
    assert budget.total(50, 1e9) == 200


def test_budget_in_minutes_looks_at_no_step():
    budget = Budget(minutes=2)
    assert budget.share(10**9, 30) == 0.25
    assert budget.total(100, 30) == 400
    assert budget.total(0, 0) == 1


@pytest.mark.parametrize("values", [{}, {"steps": 5, "minutes": 1}, {"steps": 0}, {"minutes": -1.0}, {"minutes": math.inf}])
def test_a_budget_is_one_positive_number(values):
    with pytest.raises(InputError, match="steps|budget"):
        Budget(**values)
