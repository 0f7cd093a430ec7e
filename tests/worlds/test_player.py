"""The scripted player: what it presses can be seen."""

import numpy as np
import pytest

from worldgym.actions import DOOM
from worldgym.worlds.player import Walls
from worldgym.worlds.recorder import Recorder


@pytest.fixture(scope="module")
def plays():
    recorder = Recorder("doom-rooms")
    plays = [recorder.play(seed, 32) for seed in range(40, 60)]
    recorder.close()
    return plays


@pytest.fixture(scope="module")
def actions(plays):
    return np.concatenate([play.clip.actions for play in plays])


def test_walls_on_paper():
    room = Walls(np.array([[0, 0, 100, 0], [100, 0, 100, 100], [100, 100, 0, 100], [0, 100, 0, 0.0]]))
    np.testing.assert_allclose(room.clearance(np.array([[52, 52], [8, 40], [92, 96]])), [48, 8, 4], atol=1e-9)
    assert room.clearance(np.array([-50.0, 50])) == 0


def test_every_label_is_used(actions):
    for index, group in enumerate(DOOM.groups):
        share = np.bincount(actions[:, index], minlength=group.size) / len(actions)
        assert share.min() > 0.015, (group.name, share)


def test_holding_a_key_moves(plays):
    moves = []
    for play in plays:
        pressed = (play.clip.actions[:, :2] > 0).any(1)
        distance = np.linalg.norm(np.diff(play.clip.poses[:, :2], axis=0), axis=1)
        moves.append(distance[1:][pressed[1:] & pressed[:-1]])
    assert (np.concatenate(moves) > 4).mean() > 0.93


def test_sprint_only_while_moving(actions):
    sprint = actions[:, 2] == DOOM.groups[2].labels.index("sprint")
    assert (actions[sprint, :2] > 0).any(1).all()


def test_weapon_events_do_not_overlap(plays):
    for play in plays:
        events = np.flatnonzero(play.clip.actions[:, 3] | play.clip.actions[:, 5])
        assert (np.diff(events) >= 4).all()
        assert not (play.clip.actions[:, 3] & play.clip.actions[:, 5]).any()


def test_a_longer_clip_begins_with_the_shorter(plays):
    recorder = Recorder("doom-rooms")
    short = recorder.play(40, 9)
    recorder.close()
    np.testing.assert_array_equal(short.clip.frames, plays[0].clip.frames[:9])
    np.testing.assert_array_equal(short.clip.actions, plays[0].clip.actions[:8])
