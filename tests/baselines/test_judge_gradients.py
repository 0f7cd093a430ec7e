"""The program that compares judges' gradients: a gradient by hand, and too few judges."""

import math
from types import SimpleNamespace

import pytest
import torch

from worldgym.errors import InputError


@pytest.fixture(scope="module")
def benchmark(program):
    return program("baselines/judge_gradients.py")


def test_the_gradient_by_hand(benchmark):
    """Log-odds 2 w x of the first of two actions, pictures x = 2 z: d mean log p / dz = 2 w 2 (1 - p) / steps."""
    torch.manual_seed(0)
    w = torch.rand(8, 8, 3) / 100
    judge = SimpleNamespace(logits_of=lambda pictures: [_odds((pictures[:, 1:] * w).sum((2, 3, 4)))])
    codec = SimpleNamespace(pictures=lambda z: 2 * z)
    z = torch.rand(2, 3, 8, 8, 3) / 4 + 0.1
    actions = torch.tensor([[0, 0, 1], [1, 0, 0]])[..., None]
    found = benchmark.gradient(judge, codec, torch.zeros(2, 1, 8, 8, 3, dtype=torch.uint8), z, actions)
    for row in range(2):
        for step in range(3):
            x = float((((2 * z[row, step]) * 255).round() / 255 * w).sum())  # as shown: whole numbers
            p = 1 / (1 + math.exp(-2 * x))
            slope = (1 - p) if actions[row, step, 0] == 0 else -p
            torch.testing.assert_close(found[row].view(3, 8, 8, 3)[step], 2 * 2 * slope / 3 * w, rtol=1e-4, atol=1e-7)


def test_one_judge_is_refused(benchmark, monkeypatch):
    monkeypatch.setattr("sys.argv", ["judge_gradients.py", "--judges", "doom-rooms/idm-reward"])
    with pytest.raises(InputError, match="1 judges were named, but at least two are compared"):
        benchmark.main.__wrapped__()


def _odds(x: torch.Tensor) -> torch.Tensor:
    return torch.stack([x, -x], -1)
