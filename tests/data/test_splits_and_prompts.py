"""Splits by seed, what counts as visible, prompts with their truth."""

import numpy as np
import pytest

from worldgym.data.clips import ClipStore, visible
from worldgym.data.prompts import counterfactual, record_prompts, store_prompts
from worldgym.data.record import record
from worldgym.data.splits import SPLITS, seeds, split_of_seed
from worldgym.errors import InputError
from worldgym.types import Clip
from worldgym.worlds.recorder import Recorder


def test_splits_are_disjoint_and_complete():
    digits = [d for split in SPLITS.values() for d in split]
    assert sorted(digits) == list(range(10))
    assert [split_of_seed(s) for s in (0, 7, 8, 9, 10, 999)] == ["train", "train", "validation", "test", "train", "test"]
    assert seeds("test", 100, 3) == [109, 119, 129]
    with pytest.raises(InputError, match="did you mean 'train'"):
        seeds("trian", 0, 1)


def clip(frames, actions=None, poses=None):
    steps = len(frames) - 1
    actions = np.zeros((steps, 8), np.int64) if actions is None else actions
    poses = np.zeros((steps + 1, 6)) if poses is None else poses
    return Clip(frames, actions, poses, 0)


def test_visible_on_paper():
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (9, 8, 8, 3), dtype=np.uint8)
    assert visible(clip(noise))
    assert not visible(clip(np.repeat(noise[:1], 9, axis=0)))  # frozen
    assert visible(clip(np.concatenate([noise[:7], noise[6:7], noise[6:7]])))  # 2 of 8 steps still
    assert not visible(clip(np.concatenate([noise[:6], *[noise[5:6]] * 3])))  # 3 of 8
    forward = np.zeros((8, 8), np.int64)
    forward[:, 0] = 1
    assert not visible(clip(noise, forward))  # pressing on without moving
    moving = np.zeros((9, 6))
    moving[:, 0] = np.arange(9) * 5.0
    assert visible(clip(noise, forward, moving))


def test_prompts_are_the_clips_of_their_seeds():
    prompts = record_prompts("doom-rooms", [900000009, 900000019], frames=6, prefix=2)
    assert prompts.prefix.shape == (2, 2, 56, 96, 3) and prompts.actions.shape == (2, 5, 8)
    np.testing.assert_array_equal(prompts.prefix, prompts.truth[:, :2])
    assert prompts.ids == ("doom-rooms/900000009/0", "doom-rooms/900000019/0")
    alone = record_prompts("doom-rooms", [900000019], frames=6)
    np.testing.assert_array_equal(alone.truth[0], prompts.truth[1])
    assert len(prompts[1:]) == 1 and "uint8[2, 6, 56, 96, 3]" in repr(prompts)
    with pytest.raises(InputError, match="prefix is 6"):
        record_prompts("doom-rooms", [1], frames=6, prefix=6)


def test_windows_of_a_store(tmp_path):
    record("doom-rooms", 12, 0, str(tmp_path / "s"), workers=1, frames=8)
    store = ClipStore(tmp_path / "s")
    assert set(store.split("train", visible_only=False)) == set(range(8)) | {10, 11}
    assert list(store.split("test", visible_only=False)) == [9]
    prompts = store_prompts(store, np.array([3, 10]), np.array([0, 4]), frames=4)
    np.testing.assert_array_equal(prompts.truth[1], store.frames[10, 4:8])
    np.testing.assert_array_equal(prompts.actions[1], store.actions[10, 4:7])
    with pytest.raises(InputError, match="runs out of the clips"):
        store_prompts(store, np.array([0]), np.array([5]), frames=4)


def test_counterfactual_from_a_step_on():
    recorder = Recorder("doom-rooms")
    play = recorder.play(5, 8)
    new = np.repeat(recorder.world.spec_actions.action(yaw=24.0)[None], 3, axis=0)
    frames = counterfactual(recorder, play, 4, new)
    assert frames.shape == (8, 56, 96, 3)
    np.testing.assert_array_equal(frames[:5], play.clip.frames[:5])
    np.testing.assert_array_equal(counterfactual(recorder, play, 4, play.clip.actions[4:]), play.clip.frames)
    with pytest.raises(InputError, match="step is 9"):
        counterfactual(recorder, play, 9, new)
    recorder.close()
