"""The measurement of signal in gradients: vectors of known signal, and a learner that must not move."""

import pytest
import torch
import trainer_toys as toys


@pytest.fixture(scope="module")
def benchmark(program):
    return program("benchmarks/gradient_signal.py")


def test_cosine_finds_a_known_share(benchmark):
    """Signal of length 1 in noise of length 3 over 4,000 dimensions: the cosine is 1 / (1 + 9) = .1, up to .01."""
    random = torch.Generator().manual_seed(0)
    signal = torch.nn.functional.normalize(torch.randn(4000, generator=random), dim=0)
    noise = torch.randn(10, 4000, generator=random) * 3 / 4000**0.5
    mean, error = benchmark.cosine(signal + noise)
    assert abs(mean - 0.1) < 0.01 and 0.001 < error < 0.02
    mean, error = benchmark.cosine(noise)
    assert abs(mean) < 3 * error


def test_gradients_are_kept_and_weights_stay(benchmark):
    """Two iterations differ, a second look finds them again: nothing moved."""
    learner = toys.learner("token", group=4, minibatches=2)
    before = [p.detach().clone() for p in learner.update.trained().values()]
    first, again = (benchmark.kept_gradients(learner, 3) for _ in range(2))
    assert all(p.equal(q) for p, q in zip(learner.update.trained().values(), before, strict=True))
    assert first.equal(again) and first.shape == (3, sum(p.numel() for p in before))
    assert first[0].norm() > 0 and not first[0].equal(first[1])
