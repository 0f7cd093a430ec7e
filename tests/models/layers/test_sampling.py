"""Drawing codes: cases worked out on paper, and frequencies against the distribution."""

import math

import pytest
import torch

from worldgym.errors import InputError
from worldgym.models.layers import sampling
from worldgym.models.layers.sampling import check_sampling, draw, expected, logprob_sum, nucleus, sample

PAPER = torch.tensor([0.1, 0.4, 0.15, 0.05, 0.3])  # falling: 1 (.4), 4 (.3), 2 (.15), 0 (.1), 3 (.05)


def uniform(n, seed=0):
    return torch.rand(n, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("top_p", "kept"),
    [
        (0.0, [1]),
        (0.39, [1]),  # before code 4 stand .40 > .39
        (0.41, [1, 4]),  # before code 4 stand .40 <= .41: kept, although the sum then is .70
        (0.69, [1, 4]),
        (0.71, [1, 2, 4]),
        (0.86, [0, 1, 2, 4]),
        (0.96, [0, 1, 2, 3, 4]),
    ],
)
def test_nucleus_on_paper(top_p, kept):
    """Guards the rule 'drop when cumulative minus own > top_p' against 'drop when cumulative > top_p'."""
    assert nucleus(PAPER, top_p).nonzero().flatten().tolist() == kept


def test_nucleus_ties_and_rows():
    """Tied codes share their fate; rows do not see each other."""
    tied = torch.tensor([0.2, 0.4, 0.2, 0.2])
    sure = torch.tensor([0.0, 0.0, 1.0, 0.0])
    assert nucleus(torch.stack([tied, sure]), 0.5).tolist() == [[True] * 4, [False, False, True, False]]
    assert nucleus(tied, 0.39).tolist() == [False, True, False, False]


def test_inverse_cdf_on_paper():
    """Codes are laid end to end on [0, 1) in code order: 0 to .1, 1 to .5, 2 to .65, 3 to .7, 4 to 1."""
    u = torch.tensor([0.0, 0.099, 0.101, 0.499, 0.501, 0.649, 0.651, 0.699, 0.701, 0.9999])
    assert sample(PAPER.log().expand(10, 5), u).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_inverse_cdf_under_top_p():
    """Kept 1, 2, 4 hold .85: 1 up to .4/.85 = .4706, 2 up to .55/.85 = .6471, then 4."""
    u = torch.tensor([0.0, 0.47, 0.471, 0.647, 0.6475, 0.99])
    assert sample(PAPER.log().expand(6, 5), u, top_p=0.75).tolist() == [1, 1, 2, 2, 4, 4]


def test_last_uniform_below_one_stays_inside():
    """u = 1 - 2^-24 must not run off the end, nor into codes of probability 0."""
    u = torch.tensor([1 - 2**-24, 0.0])
    logits = torch.tensor([-torch.inf, 0.0, -1.0, -torch.inf]).expand(2, 4)
    assert sample(logits, u).tolist() == [2, 1]
    assert sample(torch.zeros(2, 8192), u).tolist() == [8191, 0]


@pytest.mark.parametrize(("top_p", "temperature"), [(1.0, 1.0), (0.8, 1.0), (0.8, 0.5), (1.0, 2.0)])
def test_frequencies(top_p, temperature):
    """40,000 draws against the probabilities, within 5 standard deviations (false alarm < 1e-5)."""
    n = 40_000
    drawn = sample(PAPER.log().expand(n, 5), uniform(n), top_p, temperature).bincount(minlength=5) / n
    p = PAPER ** (1 / temperature) / (PAPER ** (1 / temperature)).sum()
    p = p * nucleus(p, top_p) / p[nucleus(p, top_p)].sum()
    assert ((drawn - p).abs() <= 5 * (p * (1 - p) / n).sqrt()).all()
    stated = logprob_sum(PAPER.log().expand(5, 5), torch.arange(5), top_p, temperature).exp()
    torch.testing.assert_close(stated[p > 0], p[p > 0])


def test_greedy_takes_the_largest_and_no_noise():
    logits = torch.tensor([[0.0, 3.0, 2.0], [5.0, 3.0, 2.0]])
    assert sample(logits, uniform(2), temperature=0).tolist() == [1, 0]
    assert sample(logits, uniform(2), top_p=0.0, temperature=1).tolist() == [1, 0]  # the other road to the same


def test_logprob_on_paper():
    logits = PAPER.log() + 7.0  # logits are free up to a constant
    codes = torch.tensor([1, 4, 0])
    whole = logprob_sum(logits.expand(3, 5), codes)
    torch.testing.assert_close(whole, torch.tensor([0.4, 0.3, 0.1]).log())
    kept = logprob_sum(logits.expand(3, 5), codes, top_p=0.5)  # keeps 1 and 4: .7 in all
    torch.testing.assert_close(kept[:2], torch.tensor([0.4 / 0.7, 0.3 / 0.7]).log())
    torch.testing.assert_close(kept[2], torch.tensor(0.1 / 0.8).log())  # code 0 was drawn, so it counts as kept


def test_logprob_gradient_is_finite_and_sums_to_zero():
    """Shifting all kept logits changes nothing, so the gradient over codes sums to 0; dropped codes get none."""
    logits = PAPER.log().clone().requires_grad_()
    logprob_sum(logits, torch.tensor(4), top_p=0.5).backward()
    torch.testing.assert_close(logits.grad, torch.tensor([0.0, -4 / 7, 0.0, 0.0, 4 / 7]))


def test_half_precision_logits_are_computed_in_float32():
    logits = torch.randn(4, 8192, generator=torch.Generator().manual_seed(0)).bfloat16()
    u = uniform(4)
    assert torch.equal(sample(logits, u, 0.8), sample(logits.float(), u, 0.8))
    assert logprob_sum(logits, torch.zeros(4, dtype=torch.int64)).dtype == torch.float32


@pytest.mark.parametrize(("top_p", "temperature"), [(1.1, 1), (-0.1, 1), (math.nan, 1), (0.8, -1), (0.8, math.inf)])
def test_bad_settings(top_p, temperature):
    with pytest.raises(InputError, match="is (1.1|-0.1|nan|-1|inf), but"):
        check_sampling(top_p, temperature)


def test_greedy_has_no_logprob():
    with pytest.raises(InputError, match="greedy"):
        logprob_sum(PAPER.log(), torch.tensor(1), temperature=0)


@pytest.mark.parametrize(("top_p", "temperature"), [(0.8, 1.0), (0.3, 0.7), (1.0, 2.0)])
def test_draw_is_sample_and_its_logprob(top_p, temperature):
    """One call for both gives the same codes and, but for rounding, the same log-probabilities."""
    logits = 3 * torch.randn(200, 50, generator=torch.Generator().manual_seed(1))
    codes, logprob = draw(logits, uniform(200), top_p, temperature)
    assert codes.equal(sample(logits, uniform(200), top_p, temperature))
    torch.testing.assert_close(logprob, logprob_sum(logits, codes, top_p, temperature), rtol=0, atol=2e-6)


@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprob_and_gradient_as_autograd_has_them(monkeypatch, temperature):
    """The gradient written by hand equals autograd's, also for codes outside the nucleus, in pieces and behind an axis."""
    monkeypatch.setattr(sampling, "CHUNK", 3 * 40)  # 7 pieces of 3 rows
    logits = (3 * torch.randn(4, 5, 40, generator=torch.Generator().manual_seed(2))).requires_grad_(True)
    codes = torch.randint(40, (4, 5), generator=torch.Generator().manual_seed(3))
    weights = torch.linspace(-1, 1, 20).view(4, 5)
    z = logits / temperature
    kept = nucleus(z.softmax(-1).detach(), 0.6).scatter(-1, codes.unsqueeze(-1), True)
    plain = z.log_softmax(-1).masked_fill(~kept, -torch.inf).log_softmax(-1).gather(-1, codes.unsqueeze(-1)).squeeze(-1)
    found = logprob_sum(logits, codes, 0.6, temperature)
    torch.testing.assert_close(found, plain, rtol=0, atol=1e-5)
    ours, theirs = (torch.autograd.grad((x * weights).sum(), logits, retain_graph=True)[0] for x in (found, plain))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_logprob_of_a_code_that_the_policy_left():
    """A code 200 nats below the best has probability 0 in float32, and still a finite log-probability: about -200."""
    logits = torch.tensor([[0.0, -200.0, -1.0]])
    assert abs(float(logprob_sum(logits, torch.tensor([1]), 0.5)) + 200) < 1e-3


def test_expected_on_paper():
    """Three codes that stand for 1, 2 and 10; top-p .7 leaves the first two."""
    logits, table = torch.tensor([0.5, 0.3, 0.2]).log().requires_grad_(), torch.tensor([[1.0], [2.0], [10.0]])
    assert expected(logits, table).item() == pytest.approx(0.5 + 0.6 + 2.0)
    assert expected(logits, table, top_p=0.7).item() == pytest.approx((0.5 + 0.6) / 0.8)
    (slope,) = torch.autograd.grad(expected(logits, table, top_p=0.7).sum(), logits)
    first = 0.625 * (1 - 1.375)  # p_i (e_i - E)
    torch.testing.assert_close(slope, torch.tensor([first, -first, 0.0]))
    warm = expected(logits, table, temperature=2.0).item()
    root = torch.tensor([0.5, 0.3, 0.2]).sqrt()
    assert warm == pytest.approx(float((root / root.sum()) @ table[:, 0]))
