"""Camera labels: poses to motion to the 81 labels by hand, two roads to one motion, best threshold, agreement."""

import math

import numpy as np
import pytest
import torch

from worldgym.errors import InputError
from worldgym.judges import camera_labels
from worldgym.judges.camera_labels import (
    ROTATIONS,
    TRANSLATIONS,
    TRUE,
    Rules,
    agreement,
    join,
    label,
    matrix_motion,
    mirrored,
    pose_motion,
    scene_scale,
    split,
)


def poses(*rows):
    """x, y, yaw, pitch per frame."""
    return np.array([[x, y, 41.0, yaw, pitch, 0.0] for x, y, yaw, pitch in rows])


def motion(forward=0.0, right=0.0, yaw=0.0, pitch=0.0):
    return torch.tensor([[[forward, right, 0.0, yaw, pitch]]], dtype=torch.float64)


def test_motion_is_seen_from_the_frame_before():
    """Facing along y (yaw -90 as yaw is clockwise): a step along y is forward, one along x is to the right."""
    found = pose_motion(poses((0, 0, -90, 0), (0, 3, -90, 0), (2, 3, -80, 5)))
    torch.testing.assert_close(found, torch.tensor([[3.0, 0, 0, 0, 0], [0, 2, 0, 10, 5]], dtype=torch.float64))


def test_a_turn_over_north_is_small():
    found = pose_motion(poses((0, 0, 355, 358), (0, 0, 5, 2), (0, 0, 350, 355)))
    assert found[:, 3].tolist() == [10, -15] and found[:, 4].tolist() == [4, -7]


HAND = [
    ((20, 0, 0, 0), "forward", "none"),
    ((-20, 0, 0, 0), "back", "none"),
    ((0, 20, 0, 0), "right", "none"),
    ((0, -20, 0, 0), "left", "none"),
    ((20, 20, 5, -3), "forward right", "right up"),
    ((20, -20, 5, 3), "forward left", "right down"),
    ((-20, 20, -5, -3), "back right", "left up"),
    ((-20, -20, -5, 3), "back left", "left down"),
    ((0, 0, 5, 0), "none", "yaw right"),
    ((0, 0, -5, 0), "none", "yaw left"),
    ((0, 0, 0, -3), "none", "pitch up"),
    ((0, 0, 0, 3), "none", "pitch down"),
    ((7.9, 0, 0.59, 0.59), "none", "none"),
]


@pytest.mark.parametrize(("moved", "translation", "rotation"), HAND)
def test_labels_by_hand(moved, translation, rotation):
    found = label(motion(*moved), 8.0, 0.6).item()
    assert found == 9 * TRANSLATIONS.index(translation) + ROTATIONS.index(rotation)


def test_all_81_labels_are_reached_and_split_again():
    everything = torch.arange(81)
    assert (join(*split(everything)) == everything).all()
    steps = [(f, r, y, p) for f in (-9, 0, 9) for r in (-9, 0, 9) for y in (-2, 0, 2) for p in (-2, 0, 2)]
    assert sorted(label(motion(*step), 8.0, 0.6).item() for step in steps) == list(range(81))


@pytest.mark.parametrize(("degrees", "name"), [(29, "forward"), (31, "forward right"), (59, "forward right"), (61, "right")])
def test_the_cone_is_60_degrees_wide(degrees, name):
    angle = math.radians(degrees)
    found = label(motion(20 * math.cos(angle), 20 * math.sin(angle)), 8.0, 0.6).item()
    assert TRANSLATIONS[found // 9] == name


def matrices(rows):
    """Camera-to-world in OpenCV's convention, written down independently: the camera's axes as columns."""
    found = []
    for x, y, z, yaw, pitch, _ in rows:
        a, p = math.radians(yaw), math.radians(pitch)
        ahead = np.array([math.cos(a) * math.cos(p), -math.sin(a) * math.cos(p), -math.sin(p)])
        right = np.array([-math.sin(a), -math.cos(a), 0.0])
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([right, np.cross(ahead, right), ahead], 1)
        matrix[:3, 3] = x, y, z
        found.append(matrix)
    return np.stack(found)


def test_matrices_and_poses_give_one_motion():
    """With a level camera the two roads agree exactly; the world's own axes do not matter."""
    random = np.random.default_rng(0)
    rows = np.stack([*random.normal(0, 50, (3, 20)), random.uniform(0, 360, 20), np.zeros(20), np.zeros(20)], 1)
    rows[:, 3] = np.cumsum(random.uniform(-60, 60, 20)) % 360  # a turn is read up to 90 degrees
    torch.testing.assert_close(matrix_motion(matrices(rows)), pose_motion(rows), atol=1e-9, rtol=0)
    turned = np.linalg.qr(random.normal(size=(4, 4)))[0]
    turned[3], turned[:, 3] = [0, 0, 0, 1], [1, 2, 3, 1]
    turned[:3, :3] = np.linalg.qr(turned[:3, :3])[0]
    torch.testing.assert_close(matrix_motion(turned @ matrices(rows)), pose_motion(rows), atol=1e-9, rtol=0)


def test_matrices_read_a_pitch():
    rows = poses((0, 0, 30, 0), (0, 0, 30, 4), (0, 0, 30, 1))
    torch.testing.assert_close(matrix_motion(matrices(rows))[:, 3:], pose_motion(rows)[:, 3:], atol=1e-9, rtol=0)


def test_a_mirrored_video_has_mirrored_labels():
    step = motion(20, 20, 5, 3)
    assert label(mirrored(step), 8.0, 0.6) == label(motion(20, -20, -5, 3), 8.0, 0.6)


def test_the_best_threshold_is_the_first_of_equals():
    """Four steps forward of 3, 5, 9 and 20 units, of which the last three were asked for: tau 4 reads all right."""
    moved = torch.cat([motion(length) for length in (3, 5, 9, 20)], 1)
    target = torch.tensor([[0, 9, 9, 9]])
    found = agreement(moved, target, Rules((2.0, 4.0, 4.5, 8.0)))
    assert found.exact.tolist() == [1.0] and found.chosen.tolist() == [[1, 1, 1, 1]]
    assert agreement(moved, target, Rules((2.0,))).exact.tolist() == [0.75]
    assert agreement(moved, target, Rules((8.0,))).exact.tolist() == [0.75]


def test_a_window_chooses_for_itself():
    """Small steps that count, then small ones that do not: no single threshold is right, one for each half is."""
    moved = torch.cat([motion(5), motion(5), motion(5), motion(5)], 1)
    target = torch.tensor([[9, 9, 0, 0]])
    assert agreement(moved, target, Rules((4.0, 8.0))).exact.tolist() == [0.5]
    found = agreement(moved, target, Rules((4.0, 8.0), window=2))
    assert found.exact.tolist() == [1.0] and found.chosen.tolist() == [[0, 0, 1, 1]]


def test_fine_is_the_mean_of_both_halves():
    """Step 1: translation right, rotation wrong. Step 2: both right. Exact 1/2, fine 3/4."""
    moved = torch.cat([motion(20, 0, 5), motion(20)], 1)
    found = agreement(moved, torch.tensor([[9, 9]]), Rules())
    assert found.exact.tolist() == [0.5] and found.fine.tolist() == [0.75]
    assert found.exact_steps.tolist() == [[0, 1]] and found.fine_steps.tolist() == [[0.5, 1]]
    assert found.labels.tolist() == [[10, 9]]


def test_unclear_steps_can_be_left_out():
    moved = torch.cat([motion(20, 0, 5), motion(20)], 1)
    scored = torch.tensor([[False, True]])
    found = agreement(moved, torch.tensor([[9, 9]]), Rules(), scored)
    assert found.exact.tolist() == [1.0] and found.fine.tolist() == [1.0]
    assert agreement(moved, torch.tensor([[9, 9]]), Rules(), ~scored & False).exact.isnan().all()


def test_a_videos_own_scale_makes_the_unit_drop_out():
    """Lengths times 1000: other labels in units, the same with the scene's scale."""
    moved = torch.cat([motion(length) for length in (0.02, 0.4, 1.0)], 1)
    rules = Rules((0.1,), scale="scene")
    target = torch.tensor([[0, 9, 9]])
    for factor in (1.0, 1000.0, 0.001):
        scaled = moved * torch.tensor([factor, factor, factor, 1, 1], dtype=torch.float64)
        assert agreement(scaled, target, rules).exact.tolist() == [1.0]
    assert agreement(moved * 0.001, target, Rules((0.1,))).exact.tolist() == [pytest.approx(1 / 3)]
    assert scene_scale(moved, 1e-6).tolist() == [[1.0]] and scene_scale(moved, 2.0).tolist() == [[2.0]]


def test_true_poses_give_their_own_labels_back():
    """Random walks in all 81 directions: labels of exact poses agree with themselves at every threshold in use."""
    random = np.random.default_rng(1)
    codes = random.integers(0, 81, (4, 15))
    yaw = np.cumsum(np.concatenate([np.zeros((4, 1)), np.array([0, 1, -1, 0, 0, 1, 1, -1, -1])[codes % 9] * 7.0], 1), 1)
    pitch = np.cumsum(np.concatenate([np.zeros((4, 1)), np.array([0, 0, 0, -1, 1, -1, 1, -1, 1])[codes % 9] * 3.0], 1), 1)
    ahead, side = (
        np.array(table)[codes // 9] * 20.0 for table in ([0, 1, -1, 0, 0, 1, 1, -1, -1], [0, 0, 0, 1, -1, 1, -1, 1, -1])
    )
    facing = np.exp(-1j * np.radians(yaw[:, :-1]))
    places = np.cumsum(np.concatenate([np.zeros((4, 1)), (ahead - 1j * side) * facing], 1), 1)
    track = np.stack([places.real, places.imag, 0 * yaw, yaw % 360, pitch, 0 * yaw], -1)
    for rules in (TRUE, Rules()):
        found = agreement(pose_motion(track), torch.as_tensor(codes), rules)
        assert (found.exact == 1).all() and (found.labels == torch.as_tensor(codes)).all()


def test_wrong_rules_and_shapes_are_one_sentence():
    with pytest.raises(InputError, match="at least one length and one angle"):
        Rules(())
    with pytest.raises(InputError, match="scale is 'room'"):
        Rules(scale="room")
    with pytest.raises(InputError, match="window at least 1"):
        Rules(window=0)
    with pytest.raises(InputError, match="does not fit labels"):
        agreement(motion(1), torch.zeros(1, 2), Rules())
    with pytest.raises(InputError, match="T, 4, 4"):
        matrix_motion(np.zeros((2, 3, 4)))
    assert camera_labels.LABELS == len(TRANSLATIONS) * len(ROTATIONS) == 81
