"""Action following against scikit-learn, and against numbers known on paper."""

import numpy as np
import pytest
from eval_toys import random_actions
from sklearn.metrics import f1_score, precision_recall_fscore_support

from worldgym.actions import DOOM, ActionSpec, CameraAxis, Group
from worldgym.eval.metrics import action_following as following

TINY = ActionSpec("tiny", (Group("move", ("null", "go")), Group("jump", ("null", "jump"))), (CameraAxis("yaw", 5, 10, 4),))


def noisy(given, rng, share=0.4):
    other = random_actions(*given.shape[:2], rng)
    return np.where(rng.random(given.shape) < share, other, given)


def by_sklearn(given, predicted, groups):
    """MineWorld's protocol, written with scikit-learn: labels of all clips put together, macro, mean over groups."""
    rows = [
        precision_recall_fscore_support(given[..., g].ravel(), predicted[..., g].ravel(), average="macro", zero_division=0)[:3]
        for g in groups
    ]
    return np.array(rows, float)


@pytest.mark.parametrize("seed", range(5))
def test_equals_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    given = random_actions(9, 7, rng)
    predicted = noisy(given, rng)
    predicted[..., 3] = 0  # a label that is never read: its precision is 0, not undefined
    macro = following.precision_recall_f1(following.confusions(given, predicted, DOOM).sum(0))
    wanted = by_sklearn(given, predicted, range(len(DOOM.groups)))
    np.testing.assert_allclose(macro, wanted, rtol=0, atol=1e-12)
    np.testing.assert_allclose(following.over_groups(macro), wanted.mean(0), rtol=0, atol=1e-12)


def test_micro_f1_equals_scikit_learn_and_is_the_groups_accuracy():
    """Mean over groups in use of the share of right labels: what `group_accuracy` counts clip by clip."""
    rng = np.random.default_rng(0)
    given = random_actions(9, 7, rng, unused=("weapon",))
    predicted = noisy(given, rng)
    micro = following.micro_f1(following.confusions(given, predicted, DOOM).sum(0))
    used = [g for g, group in enumerate(DOOM.groups) if group.name != "weapon"]
    wanted = [f1_score(given[..., g].ravel(), predicted[..., g].ravel(), average="micro") for g in used]
    np.testing.assert_allclose(micro[used, 0], wanted, rtol=0, atol=1e-12)
    assert micro.shape == (len(DOOM.groups), 1) and np.isnan(micro[DOOM.column("weapon")]).all()
    both = following.over_groups(micro)[0], following.group_accuracy(given, predicted, DOOM).mean()
    assert both[0] == pytest.approx(both[1], abs=1e-12)


def test_known_on_paper():
    """move: given 0 0 1 1, read 0 1 1 1 -> label 0: P 1, R 1/2, F 2/3; label 1: P 2/3, R 1, F 4/5. jump is never given."""
    given = np.array([[[0, 0, 2], [0, 0, 2], [1, 0, 4], [1, 0, 0]]])
    predicted = np.array([[[0, 0, 2], [1, 1, 3], [1, 0, 2], [1, 0, 0]]])
    macro = following.precision_recall_f1(following.confusions(given, predicted, TINY).sum(0))
    np.testing.assert_allclose(macro[0], [(1 + 2 / 3) / 2, (1 / 2 + 1) / 2, (2 / 3 + 4 / 5) / 2])
    assert np.isnan(macro[1]).all()
    np.testing.assert_allclose(following.over_groups(macro), macro[0])  # not (macro[0] + 1) / 2
    np.testing.assert_array_equal(following.micro_f1(following.confusions(given, predicted, TINY).sum(0)), [[3 / 4], [np.nan]])
    assert following.camera_error(given, predicted, TINY).tolist() == [(0 + 1 + 2 + 0) / 4]
    assert following.exact_match(given, predicted, TINY).tolist() == [3 / 4]  # jump is unused, so its error is not counted


def test_exact_match_needs_all_groups_and_group_accuracy_does_not():
    given = np.array([[[1, 1, 0], [0, 1, 0]]])
    predicted = np.array([[[1, 0, 4], [0, 1, 0]]])
    assert following.exact_match(given, predicted, TINY).tolist() == [1 / 2]
    assert following.group_accuracy(given, predicted, TINY).tolist() == [3 / 4]


def test_nothing_used_says_nothing():
    nothing = np.zeros((2, 3, 3), int)
    macro = following.precision_recall_f1(following.confusions(nothing, nothing, TINY).sum(0))
    assert np.isnan(following.over_groups(macro)).all()
    assert np.isnan(following.group_accuracy(nothing, nothing, TINY)).all()


def test_confusions_count_every_step_once():
    rng = np.random.default_rng(0)
    given, predicted = random_actions(4, 6, rng), random_actions(4, 6, rng)
    counts = following.confusions(given, predicted, DOOM)
    assert counts.shape == (4, len(DOOM.groups), 3, 3)
    assert (counts.sum((2, 3)) == 6).all()
    clip, group = 2, 1
    assert counts[clip, group, 1, 2] == ((given[clip, :, group] == 1) & (predicted[clip, :, group] == 2)).sum()


def test_camera_error_is_a_mean_over_both_axes():
    """Pitch off by 1 at one of two steps, yaw off by 4 at the other: (1 + 4) / 4."""
    given = np.stack([[DOOM.null, DOOM.null]])
    predicted = given.copy()
    predicted[0, 0, DOOM.column("pitch")] -= 1
    predicted[0, 1, DOOM.column("yaw")] += 4
    assert following.camera_error(given, predicted, DOOM).tolist() == [5 / 4]
