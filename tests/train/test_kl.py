"""KL estimators against exact sums over a small alphabet and against torch's closed forms."""

import pytest
import torch

from worldgym.errors import InputError
from worldgym.train import kl

LOGITS = torch.tensor([0.3, -1.0, 0.7], dtype=torch.float64)
REFERENCE = torch.tensor([-0.2, 0.1, 0.4], dtype=torch.float64).log_softmax(0)


def expectation(name, logits):
    """Exact mean of an estimator over all three letters, weighted without gradient: what a large batch gives."""
    logp = logits.log_softmax(0)
    return (logp.detach().exp() * kl.estimate(name, logp, REFERENCE)).sum()


def true_kl(logits):
    logp = logits.log_softmax(0)
    return (logp.exp() * (logp - REFERENCE)).sum()


def gradient(function, *arguments):
    logits = LOGITS.clone().requires_grad_()
    return torch.autograd.grad(function(*arguments, logits), logits)[0]


@pytest.mark.parametrize("name", ["k1", "k3"])
def test_k1_and_k3_are_unbiased(name):
    torch.testing.assert_close(expectation(name, LOGITS), true_kl(LOGITS))


def test_k2_is_biased_but_of_second_order():
    """k2 - KL shrinks with the cube of the distance: by 8 when the policy comes half as near."""
    biases = []
    for size in (0.02, 0.01):
        logits = REFERENCE + size * torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
        biases.append((expectation("k2", logits) - true_kl(logits)).abs())
    assert 7 < biases[0] / biases[1] < 9
    assert (expectation("k2", LOGITS) - true_kl(LOGITS)).abs() > 1e-3


def test_k2_and_k3_are_never_negative_and_zero_at_home():
    logp = LOGITS.log_softmax(0)
    for name in ("k2", "k3"):
        assert (kl.estimate(name, logp, REFERENCE) > 0).all()
        assert torch.equal(kl.estimate(name, logp, logp), torch.zeros(3, dtype=torch.float64))
    assert (kl.k1(logp, REFERENCE) < 0).any()


def test_which_gradient_an_estimator_has():
    """On-policy: k1 none at all, k2 that of KL(policy || reference), k3 that of KL(reference || policy)."""

    def forward_kl(logits):
        return (REFERENCE.exp() * (REFERENCE - logits.log_softmax(0))).sum()

    torch.testing.assert_close(gradient(expectation, "k1"), torch.zeros(3, dtype=torch.float64), atol=1e-12, rtol=0)
    torch.testing.assert_close(gradient(expectation, "k2"), gradient(true_kl))
    torch.testing.assert_close(gradient(expectation, "k3"), gradient(forward_kl))
    assert (gradient(true_kl) - gradient(forward_kl)).abs().max() > 1e-2


def test_gaussian_sum_is_torch_s_closed_form():
    mean, reference = torch.randn(2, 4, 3, 5, generator=torch.Generator().manual_seed(0))
    expected = torch.distributions.kl_divergence(
        torch.distributions.Normal(mean, 0.3), torch.distributions.Normal(reference, 0.3)
    )
    torch.testing.assert_close(kl.gaussian_sum(mean, reference, 0.3), expected.sum((1, 2)))
    torch.testing.assert_close(kl.gaussian_sum(mean, reference, torch.tensor(0.3), lead=2), expected.sum(2))
    torch.testing.assert_close(kl.gaussian_mean(mean, reference, 0.3) * 15, expected.sum((1, 2)))


def test_velocity_by_hand():
    assert kl.velocity(torch.tensor([[1.0, 3.0]]), torch.tensor([[0.0, 1.0]])).tolist() == [2.5]


def test_unknown_name():
    with pytest.raises(InputError, match="did you mean 'k3'"):
        kl.estimate("k33", LOGITS, REFERENCE)
