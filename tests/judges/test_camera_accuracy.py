"""The bundled camera judges read the game: the published figures hold what is promised, and a run of today gives the like."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from worldgym import zoo

ROOT = Path(__file__).parent.parent.parent
PUBLISHED = json.loads((ROOT / "benchmarks" / "results" / "camera.json").read_text())
JUDGES = ("doom-rooms/camera-heldout", "doom-rooms/camera-reward")


@pytest.fixture(scope="module")
def benchmark(program):
    """The program that measures."""
    return program("benchmarks/camera.py")


def test_the_heldout_judge_reads_basic_actions():
    """Issue: basic label accuracy >= .8 on truth."""
    value, low, high = PUBLISHED["judges"]["doom-rooms/camera-heldout"]["truth"]["exact"]["basic"]
    assert value >= 0.8 and low <= value <= high


def test_reward_and_evaluation_are_apart():
    """Other architecture, other half of the training seeds."""
    cards = [zoo.card(zoo.locate(name)) for name in JUDGES]
    assert [card["split_half"] for card in cards] == ["1", "0"]
    assert cards[0]["config"]["stem"] != cards[1]["config"]["stem"]
    assert cards[0]["config"]["trunk"] != cards[1]["config"]["trunk"]
    assert all(zoo.locate(name).stat().st_size < 3e6 for name in JUDGES)


def test_follow_by_hand(benchmark):
    """A judge that reads 20 ahead everywhere: 2 of the 3 clear steps; the unclear one does not count."""

    class Ahead:
        def motion(self, frames):
            return torch.tensor([20.0, 0, 0, 0, 0]).expand(1, frames.shape[1] - 1, 5)

    class Known:
        extra = {"labels": np.array([9, 9, 10, 0]), "clear": np.array([True, True, True, False])}

    found = benchmark.follow(Ahead(), [Known()], [torch.zeros(5, 56, 96, 3, dtype=torch.uint8)])
    assert found["exact"].tolist() == [pytest.approx(2 / 3)] and found["fine"].tolist() == [pytest.approx(5 / 6)]


@pytest.mark.long
def test_a_run_of_today_agrees(benchmark):
    """48 new clips of the game: basic accuracy above .8 again."""
    tasks = [
        task
        for task in benchmark.load(benchmark.suites.load(benchmark.SUITE)).tasks(7, 96)
        if task.condition["actions"] == "basic"
    ]
    found = benchmark.follow(zoo.load(JUDGES[0]), tasks, [torch.from_numpy(task.truth) for task in tasks])
    assert len(tasks) == 48 and found["exact"].mean() > 0.8
