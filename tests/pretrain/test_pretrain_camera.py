"""Learning camera motion: the task's data and its scores."""

import numpy as np
import pretrain_toys as toys
import pytest
import torch

from worldgym import zoo
from worldgym.judges.camera_labels import Rules
from worldgym.pretrain import camera_task, loop
from worldgym.pretrain.camera_task import CameraTask, scores
from worldgym.pretrain.config import CameraRunConfig

CPU = torch.device("cpu")
TINY = ("widths=[4,4,4]", "hidden=32", "layers=1")


@pytest.fixture
def store(tmp_path):
    return toys.write_store(tmp_path / "store")


def test_scores_known_answer():
    """Two steps: ahead 20, and a turn of 5. Read: ahead 10, and a turn of -5: one of two exact, three of four halves."""
    truth, guess = torch.zeros(2, 1, 2, 5, dtype=torch.float64)
    truth[0, 0, 0], truth[0, 1, 3] = 20, 5
    guess[0, 0, 0], guess[0, 1, 3] = 10, -5
    found = scores(truth, guess, Rules((4.0, 8.0, 12.0)))
    assert (found["exact"], found["fine"], found["translation"], found["rotation"]) == (0.5, 0.75, 1.0, 0.5)
    assert (found["forward_off"], found["yaw_off"], found["pitch_off"]) == (5.0, 5.0, 0.0)


def test_the_motion_belongs_to_its_frames(store):
    """A window's motion is that of the poses at its own moments."""
    learner = CameraTask(CameraRunConfig(data=store, out=store / "out", steps=2), CPU)
    clips, moments = np.array([3, 1]), np.array([[2, 3, 4], [0, 1, 2]])
    poses = learner.clips.store.poses
    found = camera_task._motion(learner.clips, clips, moments)
    assert found.shape == (2, 2, 5)
    for row, clip in enumerate(clips):
        turned = (poses[clip, moments[row, 1:], 3] - poses[clip, moments[row, :-1], 3] + 180) % 360 - 180
        np.testing.assert_allclose(found[row, :, 3], turned, atol=1e-9)


@pytest.mark.parametrize("preset", ["nano", "nano-heldout"])
def test_a_run_makes_a_judge_that_loads(store, preset):
    wide = TINY if preset == "nano" else ("widths=[0,4,4]", "hidden=32")
    config = CameraRunConfig(
        data=store, out=store / "out", steps=2, batch_frames=32, preset=preset, override=wide, split_half="0"
    )
    path = loop.train(CameraTask(config, CPU), config, "test")
    judge = zoo.load(path)
    assert (judge.config.height, judge.config.width, judge.config.stem) == (16, 24, "pixels" if preset == "nano" else "volume")
    assert judge.motion(torch.zeros(1, 3, 16, 24, 3, dtype=torch.uint8)).shape == (1, 2, 5)
    card = zoo.card(path)
    assert card["kind"] == "camera-motion" and card["split_half"] == "0" and 0 <= card["scores"]["fine"] <= 1
