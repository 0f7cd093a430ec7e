"""The game: spaces, determinism, replay, counterfactuals, and that each action does what its name says."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from worldgym.actions import DOOM
from worldgym.errors import InputError
from worldgym.worlds.recorder import Recorder, make_world, replay


@pytest.fixture(scope="module")
def world():
    world = make_world("doom-rooms")
    yield world
    world.close()


@pytest.fixture(scope="module")
def recorder():
    recorder = Recorder("doom-rooms")
    yield recorder
    recorder.close()


def roll(world, seed, actions):
    frame, info = world.reset(seed=seed)
    frames, infos = [frame], [info]
    for action in actions:
        frame, _, _, _, info = world.step(action)
        frames.append(frame)
        infos.append(info)
    return np.stack(frames), infos


def random_actions(seed, count):
    return np.random.default_rng(seed).integers(0, DOOM.sizes, (count, len(DOOM.sizes)))


@pytest.mark.parametrize("name", ["worldgym/DoomRooms-Game-v0"])
def test_gymnasiums_checker_finds_nothing(name):
    env = gym.make(name, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(env.unwrapped)
    env.close()


def test_frames_look_like_a_game(world):
    frames, _ = roll(world, 3, random_actions(0, 4))
    assert frames.shape == (5, 56, 96, 3) and frames.dtype == np.uint8
    assert frames.std(axis=(1, 2, 3)).min() > 5


def test_same_seed_and_actions_same_frames_whatever_was_played_before(world):
    actions = random_actions(1, 12)
    first, _ = roll(world, 5, actions)
    roll(world, 6, random_actions(2, 7))
    again, _ = roll(world, 5, actions)
    np.testing.assert_array_equal(first, again)
    other, _ = roll(world, 7, actions)
    assert (first != other).any()


def test_going_back_to_a_snapshot_and_on(world):
    actions = random_actions(3, 10)
    frames, _ = roll(world, 11, actions[:6])
    snapshot = world.snapshot()
    expected = [world.step(a)[0] for a in actions[6:]]
    roll(world, 12, actions)
    frame, _ = world.restore(snapshot)
    np.testing.assert_array_equal(frame, frames[-1])
    np.testing.assert_array_equal([world.step(a)[0] for a in actions[6:]], expected)


def test_counterfactual_shares_the_past_and_differs_after(recorder):
    play = recorder.play(21, 12)
    same = replay(recorder.world, play.start, play.lead, play.clip.actions)
    np.testing.assert_array_equal(same.frames, play.clip.frames)
    np.testing.assert_array_equal(same.poses, play.clip.poses)
    other = play.clip.actions.copy()
    other[6:, DOOM.column("yaw")] = 10
    changed = replay(recorder.world, play.start, play.lead, other)
    np.testing.assert_array_equal(changed.frames[:7], play.clip.frames[:7])
    assert (changed.frames[7] != play.clip.frames[7]).mean() > 0.2


@pytest.mark.parametrize(("axis", "index"), [("yaw", 3), ("pitch", 4)])
def test_a_rotation_turns_by_its_bin(world, axis, index):
    for degrees in (DOOM.camera[index == 3].centers[3], DOOM.camera[index == 3].centers[8]):
        _, infos = roll(world, 4, [DOOM.action(**{axis: degrees})])
        turned = infos[1]["pose"][index] - infos[0]["pose"][index]
        assert abs((turned + 180) % 360 - 180 - degrees) < 0.2


def ahead_and_right(before, after):
    yaw = np.radians(before["pose"][3])
    step = after["pose"][:2] - before["pose"][:2]
    return step @ [np.cos(yaw), -np.sin(yaw)], step @ [-np.sin(yaw), -np.cos(yaw)]


@pytest.mark.parametrize(
    ("words", "ahead", "right"),
    [
        ({"move": "forward"}, 14.0, 0.0),  # sum over 6 tics of .78125 (1 - .90625^k) / (1 - .90625)
        ({"move": "back"}, -14.0, 0.0),
        ({"move": "forward", "pace": "sprint"}, 28.0, 0.0),
        ({"strafe": "left"}, 0.0, -13.5),
        ({"strafe": "right"}, 0.0, 13.5),
    ],
)
def test_a_step_from_rest_goes_where_its_name_says(world, words, ahead, right):
    _, infos = roll(world, 2, [DOOM.action(**words)])
    np.testing.assert_allclose(ahead_and_right(*infos), [ahead, right], atol=0.6)


def test_jump_rises_and_crouch_sinks(world):
    _, jump = roll(world, 2, [DOOM.action(jump="jump")])
    assert jump[1]["pose"][2] > jump[0]["pose"][2] + 10 and not jump[1]["on_ground"]
    _, crouch = roll(world, 2, [DOOM.action(pace="crouch")] * 2)
    assert crouch[2]["pose"][2] < crouch[0]["pose"][2] - 15


def test_weapons_toggle_and_fire(world):
    switch = [DOOM.action(weapon="weapon"), *[DOOM.null] * 6]
    _, infos = roll(world, 2, switch * 2)
    assert [infos[i]["weapon"] for i in (0, 7, 14)] == [2, 3, 2]
    null, _ = roll(world, 2, [DOOM.null])
    fire, _ = roll(world, 2, [DOOM.action(attack="attack")])
    assert np.abs(fire[1].astype(int) - null[1]).max() > 60  # the flash


def test_stepping_wrongly_is_one_sentence():
    world = make_world("doom-rooms")
    with pytest.raises(InputError, match=r"call reset\(\)"):
        world.step(DOOM.null)
    with pytest.raises(InputError, match=r"call reset\(\)"):
        world.snapshot()
    world.reset(seed=0)
    with pytest.raises(InputError, match="holds 7 in column 'move'"):
        world.step(np.full(8, 7))
    with pytest.raises(InputError, match=r"one step takes \(8,\)"):
        world.step(np.zeros((2, 8), int))
    world.close()
    with pytest.raises(InputError, match="did you mean 'doom-rooms'"):
        make_world("doom-room")
