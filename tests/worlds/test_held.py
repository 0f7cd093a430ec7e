"""Held actions in the real game: what is held, and that true poses give the commanded labels back exactly."""

import numpy as np
import pytest
import torch

from worldgym.actions import DOOM
from worldgym.errors import InputError
from worldgym.judges.camera_commands import commanded_labels
from worldgym.judges.camera_labels import Rules, agreement, pose_motion
from worldgym.worlds.held import HeldRecorder
from worldgym.worlds.recorder import replay

SEEDS = (19, 29, 59)  # plays in which no wall comes in the way, in either kind


@pytest.fixture(scope="module", params=["basic", "composite"])
def plays(request):
    recorder = HeldRecorder("doom-rooms", request.param, 4)
    yield request.param, recorder, [recorder.play(seed, 5) for seed in SEEDS]
    recorder.close()


def test_one_thing_is_held(plays):
    kind, _, found = plays
    null = np.asarray(DOOM.null)
    for play in found:
        actions = play.clip.actions
        assert (actions == actions[0]).all() and len(actions) == 4
        moves, turns = (actions[0, :2] != 0).any(), (actions[0, -2:] != null[-2:]).any()
        assert moves and turns if kind == "composite" else moves != turns
        assert (actions[:, 3:6] == 0).all()  # no shot, jump or switch


def test_it_begins_at_rest(plays):
    """The player stood still before the first frame: what is seen afterwards was commanded."""
    _, recorder, found = plays
    for play in found:
        before = replay(recorder.world, play.start, play.lead[:-1], play.lead[-1:])
        assert np.linalg.norm(np.diff(before.poses[:, :2], axis=0)) < 1.0
        np.testing.assert_array_equal(before.frames[-1], play.clip.frames[0])


def test_true_poses_give_the_commanded_labels_back(plays):
    """From rest, over one hold, every one of 81 labels is recovered exactly from the game's own poses."""
    _, _, found = plays
    rules = Rules()
    actions = torch.as_tensor(np.stack([play.clip.actions for play in found]))
    asked = commanded_labels(actions, DOOM, rules.translation[0], rules.rotation)
    read = agreement(pose_motion(np.stack([play.clip.poses for play in found])), asked, rules)
    assert read.exact.tolist() == [1.0] * len(SEEDS)


def test_a_play_is_its_recipe_and_its_seeds_alone(plays):
    kind, recorder, found = plays
    again = replay(recorder.world, found[0].start, found[0].lead, found[0].clip.actions)
    np.testing.assert_array_equal(again.frames, found[0].clip.frames)
    np.testing.assert_array_equal(recorder.play(SEEDS[1], 5).clip.frames, found[1].clip.frames)


def test_a_long_clip_changes_what_is_held():
    recorder = HeldRecorder("doom-rooms", "composite", 5)
    actions = recorder.play(9, 16).clip.actions.reshape(3, 5, -1)
    recorder.close()
    assert (actions == actions[:, :1]).all() and (actions[0, 0] != actions[1, 0]).any()


def test_kinds_are_checked():
    with pytest.raises(InputError, match="unknown kind of held actions 'compound'"):
        HeldRecorder("doom-rooms", "compound", 4)
