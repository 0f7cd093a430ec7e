"""The bootstrap: two roads to one interval, and coverage on simulated data."""

import json
from pathlib import Path

import numpy as np
import pytest
from eval_toys import random_actions
from sklearn.metrics import f1_score

from worldgym.actions import DOOM
from worldgym.eval.metrics import action_following as following
from worldgym.eval.metrics.frechet import frechet
from worldgym.eval.results import rows
from worldgym.eval.results.statistics import Bootstrap, iqm


def f1_of(confusion):
    return following.over_groups(following.precision_recall_f1(confusion))[..., 2]


def test_confusion_bootstrap_equals_naive_resampling_with_scikit_learn():
    rng = np.random.default_rng(1)
    given = random_actions(8, 5, rng)
    predicted = np.where(rng.random(given.shape) < 0.5, random_actions(8, 5, rng), given)
    boot = Bootstrap.draw(8, 20, rng)
    score = boot.summed(following.confusions(given, predicted, DOOM), f1_of)

    def naive(rows):
        pairs = [(given[rows][..., g].ravel(), predicted[rows][..., g].ravel()) for g in range(len(DOOM.groups))]
        return np.mean([f1_score(t, p, average="macro", zero_division=0) for t, p in pairs])

    samples = [naive(rows) for rows in boot.indices]
    assert score.value == pytest.approx(naive(np.arange(8)), abs=1e-12)
    assert (score.low, score.high) == pytest.approx(tuple(np.quantile(samples, [0.025, 0.975])), abs=1e-12)


def test_mean_equals_naive_resampling():
    rng = np.random.default_rng(2)
    values = rng.normal(size=11)
    boot = Bootstrap.draw(11, 300, rng, level=0.8)
    score = boot.mean(values)
    low, high = np.quantile(values[boot.indices].mean(1), [0.1, 0.9])
    assert (score.value, score.low, score.high) == pytest.approx((values.mean(), low, high), abs=1e-12)
    assert score.low < score.value < score.high


def test_a_mean_over_a_hole_is_a_hole():
    score = Bootstrap.draw(3, 20, np.random.default_rng(0)).mean(np.array([1.0, np.nan, 2.0]))
    assert np.isnan([score.value, score.low, score.high]).all()


def test_coverage_on_bernoulli_clips():
    """1,000 simulated suites of 100 clips with p = .7: about 95 % of the intervals hold .7.

    The percentile bootstrap of a binomial share with n = 100 covers .94 or so; with a binomial standard error of .0075
    over 1,000 suites the limits are five of them wide, so a false alarm is rarer than 1 in 100,000.
    """
    rng = np.random.default_rng(3)
    boot = Bootstrap.draw(100, 400, rng)
    suites = (rng.random((1000, 100)) < 0.7).astype(float)
    scores = [boot.mean(suite) for suite in suites]
    covered = np.mean([score.low <= 0.7 <= score.high for score in scores])
    assert 0.9 < covered < 0.98


def test_coverage_falls_with_the_level():
    rng = np.random.default_rng(4)
    boot = Bootstrap.draw(100, 400, rng, level=0.5)
    scores = [boot.mean(rng.normal(size=100)) for _ in range(500)]
    assert 0.4 < np.mean([score.low <= 0 <= score.high for score in scores]) < 0.6  # 4.5 standard errors around .5


def test_refitted_interval_holds_its_estimate_and_the_raw_one_does_not():
    """Clips drawn twice make a fitted distance grow; the interval is moved back onto the estimate."""
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(40, 30)), rng.normal(size=(40, 30))
    boot = Bootstrap.draw(40, 100, rng, refits=60)
    distance = lambda rows: frechet(a[rows], b[rows])  # noqa: E731
    score = boot.refitted(distance, frechet(a, b))
    raw = [distance(rows) for rows in boot.indices[:60]]
    assert score.low < score.value < score.high
    assert np.quantile(raw, 0.025) > score.value
    assert score.high - score.low == pytest.approx(np.subtract(*np.quantile(raw, [0.975, 0.025])))
    assert len(boot.indices) == 100


def test_iqm_on_paper_and_by_scipy():
    """8 values: the two lowest and the two highest go. 9 values: the same two and two (rliable's, that is scipy's, rule)."""
    from scipy.stats import trim_mean

    assert iqm(np.array([100, 1, 2, 3, 4, 5, -50, 6])) == 3.5
    values = np.random.default_rng(0).normal(size=37)
    assert iqm(values) == pytest.approx(trim_mean(values, 0.25), abs=1e-12)
    assert np.isnan(iqm(np.array([1.0, np.nan]))) and np.isnan(iqm(np.array([])))


def test_strata_are_drawn_from_themselves():
    """Three seeds with 4, 1 and 6 clips: every resample holds 4, 1 and 6 of them."""
    boot = Bootstrap.draw([4, 1, 6], 50, np.random.default_rng(0))
    strata = np.repeat([0, 1, 2], [4, 1, 6])
    assert boot.indices.shape == (50, 11)
    assert (strata[boot.indices] == strata).all() and (boot.indices[:, 4] == 4).all()
    assert len(np.unique(boot.indices[:, :4])) == 4


def test_strata_take_the_difference_between_seeds_out_of_the_interval():
    """Two seeds whose clips are all alike but differ between seeds: stratified, the mean is known exactly."""
    values = np.repeat([0.0, 1.0], 20)
    score = Bootstrap.draw([20, 20], 200, np.random.default_rng(0)).mean(values)
    assert (score.low, score.value, score.high) == (0.5, 0.5, 0.5)
    loose = Bootstrap.draw(40, 200, np.random.default_rng(0)).mean(values)
    assert loose.low < 0.4 and loose.high > 0.6


def test_a_mean_over_chosen_clips_is_that_of_each_resample():
    rng = np.random.default_rng(7)
    values, chosen = rng.normal(size=15), rng.random(15) < 0.5
    values[~chosen] = np.nan  # what is not chosen may be a hole
    boot = Bootstrap.draw(15, 300, rng)
    score = boot.mean_where(values, chosen)
    means = [values[rows][chosen[rows]].mean() for rows in boot.indices]
    assert score.value == pytest.approx(values[chosen].mean())
    assert (score.low, score.high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])))
    assert np.isnan(boot.mean_where(values, np.zeros(15, bool)).value)


def normal_coverage(clips, resamples=400, suites=2000, seed=8):
    rng = np.random.default_rng(seed)
    boot = Bootstrap.draw(clips, resamples, rng)
    data = rng.normal(size=(suites, clips))
    means = data @ boot.counts.T / clips
    low, high = np.quantile(means, [0.025, 0.975], axis=1)
    assert boot.mean(data[0]).low == pytest.approx(low[0])  # the class's own road
    return np.mean((low <= 0) & (0 <= high))


@pytest.mark.parametrize("clips", [64, 200])
def test_coverage_is_95_percent(clips):
    """2,000 simulated suites: 95 % +- 2 of the intervals hold the truth. Standard error .005, so limits of four of them."""
    assert 0.93 <= normal_coverage(clips) <= 0.97


def made_up_confusions(clips, rng):
    """(clips, 1, 2, 2) of 15 steps that hang together: good clips and bad ones, each with its own error rate."""
    wrong = rng.choice([0.1, 0.7], size=(clips, 1))
    given = rng.random((clips, 15)) < 0.4
    read = np.where(rng.random((clips, 15)) < wrong, rng.random((clips, 15)) < 0.5, given)
    cells = np.stack([(given == a) & (read == b) for a in (0, 1) for b in (0, 1)], -1)
    return cells.sum(1).reshape(clips, 1, 2, 2)


def macro_f1_coverage(draw, truth, suites, rng, clips=64, resamples=1000, block=50):
    """Share of simulated suites whose interval of macro F1 holds the truth; 64 clips and 1,000 resamples as in the suite.

    Many suites share one set of draws and are resampled by one matrix product; the first goes the class's own road, too.
    """
    covered = []
    for _ in range(suites // block):
        boot, parts = Bootstrap.draw(clips, resamples, rng), np.stack([draw(clips, rng) for _ in range(block)])
        sums = np.matmul(boot.counts, parts.reshape(block, clips, -1).astype(float)).reshape(-1, *parts.shape[2:])
        low, high = np.quantile(f1_of(sums).reshape(block, resamples), [0.025, 0.975], axis=1)
        score = boot.summed(parts[0], f1_of)
        assert (score.low, score.high) == pytest.approx((low[0], high[0]), abs=1e-12)
        covered += list((low <= truth) & (truth <= high))
    return np.mean(covered)


def made_up_coverage(seed, suites):
    rng = np.random.default_rng(seed)
    truth = f1_of(made_up_confusions(400_000, rng).sum(0)[None])[0]
    return macro_f1_coverage(made_up_confusions, truth, suites, rng)


def test_coverage_of_macro_f1_is_95_percent():
    """The statistic that suites rank by: macro F1 of confusions summed over clips, whose steps hang together.

    2,000 simulated suites; wrong for a step-wise bootstrap, whose intervals are too narrow. The coverage of percentile
    intervals of 64 clips is .940 (the long test below), the standard error here .005: of seeds 0 to 4 all lie within.
    """
    assert 0.93 <= made_up_coverage(0, 2000) <= 0.97


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_coverage_of_macro_f1_with_any_seed(seed):
    """10,000 simulated suites each: standard error .0024, so the limits are four of them away from what is measured."""
    found = made_up_coverage(seed, 10_000)
    print(f"seed {seed}: {found:.4f}")
    assert 0.93 <= found <= 0.97


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_coverage_of_macro_f1_on_clips_of_a_real_entry(seed):
    """Real clips in place of made-up ones: five groups of labels, some of them rare, errors as they fall.

    The population are the 64 clips of the bundled token model's entry; a simulated suite draws 64 of them, and the truth is
    the population's own macro F1.
    """
    entry = Path(__file__).parents[3] / "leaderboards/action-following-doom-rooms-v1/doom-rooms--token-nano/0.json"
    found = json.loads(entry.read_text())["rows"]
    given, read = (np.stack([rows.labels(DOOM.names, row[key]) for row in found]) for key in ("given", "predicted"))
    population = following.confusions(given, read, DOOM)
    truth = f1_of(population.sum(0)[None])[0]
    share = macro_f1_coverage(
        lambda n, rng: population[rng.integers(64, size=n)], truth, 2000, np.random.default_rng(seed), block=20
    )
    print(f"seed {seed}: {share:.4f}")
    assert 0.93 <= share <= 0.97
