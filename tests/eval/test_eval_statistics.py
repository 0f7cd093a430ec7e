"""The bootstrap: two roads to one interval, and coverage on simulated data."""

import numpy as np
import pytest
from eval_toys import random_actions
from sklearn.metrics import f1_score

from worldgym.actions import DOOM
from worldgym.eval.metrics import action_following as following
from worldgym.eval.metrics.frechet import frechet
from worldgym.eval.statistics import Bootstrap


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


def test_thousand_resamples_are_fast():
    import time

    rng = np.random.default_rng(6)
    given, predicted = random_actions(128, 15, rng), random_actions(128, 15, rng)
    start = time.process_time()  # of this process: others may keep the machine busy
    Bootstrap.draw(128, 1000, rng).summed(following.confusions(given, predicted, DOOM), f1_of)
    assert time.process_time() - start < 1
