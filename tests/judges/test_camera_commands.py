"""What actions ask of the camera: by hand without momentum, against the game's own rule tic by tic with it."""

import numpy as np
import pytest
import torch

from worldgym.actions import DOOM, ActionSpec, Group
from worldgym.errors import InputError
from worldgym.judges.camera_commands import DOOM_MOMENTUM, NONE, commanded_labels, commanded_motion

FRICTION, THRUST, TICS = 0.90625, 25 / 32, 6  # the engine's, see worldgym.worlds.player


def actions(*rows):
    """One clip; rows of {column: index}."""
    found = torch.as_tensor(DOOM.null).repeat(len(rows), 1)
    for step, row in enumerate(rows):
        for name, index in row.items():
            found[step, DOOM.column(name)] = index
    return found[None]


def test_motion_by_hand_without_momentum():
    found = commanded_motion(actions({"move": 1}, {"strafe": 1, "pace": 2}, {"yaw": 10}, {"pitch": 0, "move": 2}), DOOM)[0]
    expected = [[50, 0, 0, 0, 0], [0, -25, 0, 0, 0], [0, 0, 0, 24, 0], [-50, 0, 0, 0, -12]]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_labels_by_hand():
    """forward; right while turning right; pitch up; nothing: 9, 27 + 1, 3, 0."""
    clip = actions({"move": 1}, {"strafe": 2, "yaw": 6}, {"pitch": 4}, {})
    assert commanded_labels(clip, DOOM, 8.0, 0.6).tolist() == [[9, 28, 3, 0]]


def game(forward, side, yaw):
    """Tic by tic, in the frame of the start: v += thrust, x += v, v *= friction; each step's way in its own frame."""
    speed, heading, ways = 0j, 0.0, []
    for f, s, turn in zip(forward, side, yaw, strict=True):
        before, way = heading, 0j
        for _ in range(TICS):
            heading += np.radians(turn) / TICS
            speed += THRUST * (f - 1j * s) * np.exp(-1j * heading)
            way += speed
            speed *= FRICTION
        ways.append(way / np.exp(-1j * before))
    return np.array(ways)


def test_momentum_is_the_games():
    """Starting, turning, reversing, stopping: within 2 map units of the engine's rule, of up to 45 per step."""
    rows = [{"move": 1}] * 4 + [{"move": 1, "yaw": 8}] * 3 + [{"move": 2}] * 3 + [{"strafe": 2, "yaw": 3}] * 3 + [{}] * 3
    clip = actions(*rows)
    found = commanded_motion(clip, DOOM, DOOM_MOMENTUM)[0].numpy()
    signs = [np.array([0, 1, -1])[clip[0, :, 0]], np.array([0, -1, 1])[clip[0, :, 1]]]
    ways = game(*signs, DOOM.camera[1].degrees(clip[0, :, DOOM.column("yaw")].numpy()))
    np.testing.assert_allclose(found[:, 0], ways.real, atol=2.0)
    np.testing.assert_allclose(found[:, 1], -ways.imag, atol=2.0)
    assert np.abs(ways).max() > 40 and np.abs(found[-1, :2]).max() > 1  # it coasts on


def test_without_momentum_nothing_coasts():
    clip = actions({"move": 1}, {})
    assert commanded_labels(clip, DOOM, 8.0, 0.6, NONE).tolist() == [[9, 0]]
    assert commanded_labels(clip, DOOM, 8.0, 0.6, DOOM_MOMENTUM).tolist() == [[9, 9]]


def test_a_spec_without_a_camera_is_refused():
    bare = ActionSpec("bare", (Group("move", ("null", "forward", "back")),), ())
    with pytest.raises(InputError, match="'bare' has no strafe, pitch, yaw"):
        commanded_motion(torch.zeros(1, 1, 1, dtype=torch.int64), bare)
