"""Soft agreement: values by hand, limits, symmetry, and that it points where the hard labels point."""

import math

import pytest
import torch

from worldgym.errors import InputError
from worldgym.judges import camera_labels
from worldgym.judges.camera_labels import Rules, agreement, mirrored
from worldgym.judges.soft_labels import SIGNS, soft_agreement

RULES = Rules(translation=(4.0, 8.0, 12.0), rotation=1.5)
EDGE = 8 / math.sqrt(2)  # the threshold of forward and right
REST = 1 - 2 / (1 + math.exp(2))  # an axis that shall not move and does not: .7616


def one(motion, label, rules=RULES):
    return soft_agreement(torch.tensor([[motion]]), torch.tensor([[label]]), rules).item()


def test_values_by_hand():
    """Label 9 asks for forward alone: at the threshold that axis agrees by 1/2; the three axes at rest by REST each."""
    assert one((EDGE, 0.0, 0.0, 0.0, 0.0), 9) == pytest.approx((REST / 2 + REST**2) / 2, abs=1e-6)
    assert one((0.0, 0.0, 0.0, 0.0, 0.0), 0) == pytest.approx(REST**2, abs=1e-6)
    # label 1 turns right; at 3 degrees, twice the threshold, that axis agrees by sigmoid(2)
    assert one((0.0, 0.0, 0.0, 3.0, 0.0), 1) == pytest.approx((REST**2 + REST / (1 + math.exp(-2))) / 2, abs=1e-6)


def test_up_and_down_of_walking_does_not_count():
    assert one((20.0, 0.0, 0.0, 0.0, 0.0), 9) == one((20.0, 0.0, 50.0, 0.0, 0.0), 9)


@pytest.mark.parametrize("label", range(camera_labels.LABELS))
def test_no_other_large_motion_scores_higher_than_the_commanded_one(label):
    """Of all 81 large motions the one whose label is asked for is the best, as with hard labels."""
    large = [
        [20.0 * ahead, 20.0 * side, 0.0, 5.0 * yaw, -5.0 * up] for ahead, side in SIGNS for yaw, up in SIGNS
    ]  # in the labels' order
    motion, target = torch.tensor(large)[:, None], torch.full((81, 1), label)
    soft, hard = soft_agreement(motion, target, RULES)[:, 0], agreement(motion, target, RULES).exact
    assert soft.argmax() == hard.argmax() == label
    assert soft.sort().values[-2] < soft.max() - 0.1
    assert 0 < soft.min() and soft.max() < 1


def test_more_of_what_is_asked_for_scores_more():
    """Where both hard halves are blind: forward steps of 1, 3, 5, 7 units, all below the threshold, rise."""
    motion = torch.zeros(4, 1, 5)
    motion[:, 0, 0] = torch.tensor([1.0, 3.0, 5.0, 7.0])
    target = torch.full((4, 1), 9)
    assert agreement(motion, target, Rules(translation=(8.0,))).fine.unique().numel() == 1
    assert (soft_agreement(motion, target, RULES)[:, 0].diff() > 0.02).all()


def test_mirrored_video_and_mirrored_labels():
    generator = torch.Generator().manual_seed(0)
    motion = 10 * torch.randn(64, 3, 5, generator=generator)
    swap = torch.tensor([0, 1, 2, 4, 3, 6, 5, 8, 7])  # right <-> left among the translations
    turn = torch.tensor([0, 2, 1, 3, 4, 7, 8, 5, 6])  # yaw right <-> yaw left among the rotations
    labels = torch.randint(0, 81, (64, 3), generator=generator)
    other = camera_labels.join(*(table[code] for table, code in zip((swap, turn), camera_labels.split(labels), strict=True)))
    torch.testing.assert_close(soft_agreement(motion, labels, RULES), soft_agreement(mirrored(motion), other, RULES))


def test_scene_scale_makes_the_unit_irrelevant():
    motion = torch.randn(8, 4, 5, generator=torch.Generator().manual_seed(1)).double()
    target = torch.randint(0, 81, (8, 4), generator=torch.Generator().manual_seed(2))
    larger = motion * motion.new_tensor([7, 7, 7, 1, 1])
    rules = Rules(translation=(0.3, 0.5), rotation=1.0, scale="scene")
    torch.testing.assert_close(soft_agreement(motion, target, rules), soft_agreement(larger, target, rules))


def test_bad_use():
    with pytest.raises(InputError, match="does not fit labels"):
        soft_agreement(torch.zeros(1, 2, 5), torch.zeros(1, 3), RULES)
    with pytest.raises(InputError, match="thresholds above 0"):
        one((0.0,) * 5, 0, Rules(translation=(0.0,)))
