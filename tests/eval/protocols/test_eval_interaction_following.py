"""Interaction following: known scores by hand, rows alone decide, cells, donors, and the road from tasks to scores."""

import dataclasses
import json

import numpy as np
import pytest
import torch

from worldgym.actions import DOOM
from worldgym.errors import InputError
from worldgym.eval.metrics.interaction_following import interaction_following, true_labels
from worldgym.eval.protocols import load
from worldgym.eval.results import suite as suites
from worldgym.eval.results.answers import Entrant
from worldgym.eval.results.statistics import Bootstrap
from worldgym.judges.camera_labels import Rules, pose_motion
from worldgym.types import Clip
from worldgym.worlds import held
from worldgym.worlds.recorder import Play

RULES = Rules()
SUITE = suites.load("interaction-following-doom-rooms-v1")
SMALL = dataclasses.replace(SUITE, protocol_options={**SUITE.protocol_options, "quality": ""})


def poses_of(forward, yaw):
    """Level poses of a walk: steps ahead and turns, one clip."""
    turned = np.concatenate([[0], np.cumsum(yaw)])
    places = np.concatenate([[0], np.cumsum(np.array(forward) * np.exp(-1j * np.radians(turned[:-1])))])
    zero = np.zeros(len(turned))
    return np.stack([places.real, places.imag, zero, turned, zero, zero], -1)


def test_true_labels_by_hand():
    """Ahead 20, ahead 20 with a turn, ahead 6 (between the thresholds 4 and 8: not clear), back 20."""
    labels, clear = true_labels(poses_of([20, 20, 6, -20], [0, 5, 0, 0]), RULES)
    assert labels.tolist() == [9, 10, 0, 18] and clear.tolist() == [True, True, False, True]


def test_true_poses_score_one():
    poses = np.stack([poses_of([20, 20, 6, -20], [0, 5, 0, 0]), poses_of([9, 13, 5, 30], [1, -5, 0.2, 0])])
    labels, clear = true_labels(poses, RULES)
    found = interaction_following(pose_motion(poses), labels, clear, RULES)
    assert all(value.tolist() == [1.0, 1.0] for value in found.values())


def test_scores_by_hand():
    """Four steps asked: 9, 10, 0, 18; the third is not clear. Read: 9, 9, 9, 0 -> 1 of 3 exact; halves 2/3, 2/3."""
    motion = np.zeros((1, 4, 5))
    motion[0, :3, 0] = 20
    labels, clear = np.array([[9, 10, 0, 18]]), np.array([[True, True, False, True]])
    found = interaction_following(motion, labels, clear, RULES)
    expected = {"exact": 1 / 3, "fine": 2 / 3, "translation": 2 / 3, "rotation": 2 / 3}
    assert {name: value[0] for name, value in found.items()} == pytest.approx(expected)
    nothing = interaction_following(motion, labels, ~clear & clear, RULES)
    assert all(np.isnan(value).all() for value in nothing.values())


class FakeRecorder:
    """Clips in which the camera walks ahead ("basic"), or walks and turns; frames show step and turn as pixel values."""

    def __init__(self, world, kind, hold):
        self.kind, self.hold = kind, hold

    def play(self, seed, frames):
        rng = np.random.default_rng(seed)
        forward = rng.choice([-20, 20], frames - 1)
        yaw = rng.choice([-5, 5], frames - 1) if self.kind == "composite" else np.zeros(frames - 1, int)
        images = np.zeros((frames, 56, 96, 3), np.uint8)
        images[1:, 0, 0, 0], images[1:, 0, 1, 0] = 100 + forward, 100 + yaw
        actions = np.tile(np.asarray(DOOM.null, np.int64), (frames - 1, 1))
        return Play(Clip(images, actions, poses_of(forward, yaw), seed), actions[:1], seed)

    def close(self):
        pass


class Reader:
    """Reads what `FakeRecorder` wrote."""

    def motion(self, frames):
        found = torch.zeros(*frames.shape[:1], frames.shape[1] - 1, 5)
        found[..., 0], found[..., 3] = frames[:, 1:, 0, 0, 0].float() - 100, frames[:, 1:, 0, 1, 0].float() - 100
        return found


@pytest.fixture
def protocol(monkeypatch):
    monkeypatch.setattr(held, "HeldRecorder", FakeRecorder)
    found = load(SMALL)
    found.camera, found.frames_judge = Reader(), None
    return found


def answer(protocol, name, tasks):
    """Rows of a reference, through JSON and back."""
    found = []
    for task in tasks:
        found += protocol.answer(Entrant(name, name, None, source="reference"), [task], [0]).rows
    return json.loads(json.dumps(found))


def test_tasks_fill_the_cells(protocol):
    tasks = protocol.tasks(0, 13)
    cells = [(task.condition["actions"], task.condition["horizon"]) for task in tasks]
    assert {cell: cells.count(cell) for cell in cells} == {
        ("basic", "short"): 3,
        **{(kind, horizon): 2 for kind in ("basic", "composite") for horizon in ("short", "mid", "long")}
        | {("basic", "short"): 3},
    }
    assert {len(task.actions) for task in tasks} == {4, 8, 15}
    for task in tasks:
        donor = task.extra["donor"]
        assert donor.id != task.id and len(donor.actions) == len(task.actions) and task.prefix.shape == (1, 56, 96, 3)
    assert len({task.id for task in tasks}) == 13
    assert [task.id for task in protocol.tasks(0, 13)] == [task.id for task in tasks] != [t.id for t in protocol.tasks(1, 13)]
    with pytest.raises(InputError, match="needs at least 12 clips, 2 per cell"):
        protocol.tasks(0, 11)


def test_truth_is_perfect_and_shuffled_is_not(protocol):
    tasks = protocol.tasks(0, 24)
    truth, shuffled = (answer(protocol, name, tasks) for name in ("truth", "shuffled"))
    bootstrap = Bootstrap.draw(24, 100, np.random.default_rng(0))
    found = protocol.scores(truth, bootstrap)
    assert list(found) == list(SMALL.metrics)
    for name in SMALL.metrics[:4]:
        assert found[name].score.value == 1.0 and found[name].score.low == 1.0
        assert set(found[name].groups) >= {"basic", "composite", "basic short", "composite long"}
    floor = protocol.scores(shuffled, bootstrap)
    assert floor["if_exact"].score.value < 0.7 and all("labels_from" in row for row in shuffled)
    # by hand from the labels: how often a donor's label is the clip's own
    own, asked = ([row["labels"].split() for row in rows] for rows in (truth, shuffled))
    by_hand = np.mean([np.mean([a == b for a, b in zip(x, y, strict=True)]) for x, y in zip(own, asked, strict=True)])
    assert floor["if_exact"].score.value == pytest.approx(by_hand)


def test_scores_come_from_the_rows_alone(protocol):
    tasks = protocol.tasks(0, 12)
    found = answer(protocol, "truth", tasks)
    bare = load(SMALL)  # no judge
    bootstrap = Bootstrap.draw(12, 100, np.random.default_rng(0))
    assert bare.scores(found, bootstrap)["if_fine"].score.value == 1.0
    found[0]["labels"] = " ".join("80" for _ in found[0]["labels"].split())
    assert bare.scores(found, bootstrap)["if_exact"].score.value == pytest.approx(11 / 12)


def test_options_must_fit():
    wrong = dataclasses.replace(SUITE, protocol_options={**SUITE.protocol_options, "hold": [4]})
    with pytest.raises(InputError, match="same number of entries"):
        load(wrong)
    assert load(SUITE).judges() == ("doom-rooms/camera-heldout", "doom-rooms/quality-heldout")
