"""Version 2 of action following: two judges, a re-encoding, and default models outside the suite's file."""

import dataclasses
import hashlib

import numpy as np
import pytest
import torch
from eval_toys import SUITE, Obedient, Toy, clips_of, entrant

from worldgym.actions import DOOM
from worldgym.eval import protocols
from worldgym.eval.protocols import action_following
from worldgym.eval.results import limits
from worldgym.eval.results import suite as suites
from worldgym.eval.results.statistics import Bootstrap


class Other:
    """A second judge that reads every label but those of jump."""

    def labels(self, frames):
        read = frames[:, 1:, 0, : len(DOOM.sizes), 0].long().clone()
        read[..., DOOM.column("jump")] = 0
        return read


@pytest.fixture
def protocol():
    suite = dataclasses.replace(SUITE, metrics=("f1", "f1_second"))
    found = Toy(suite)
    found.load_judges()
    found.second = Other()
    return found


def test_each_judge_has_its_own_f1(protocol):
    """On paper: the first reads all of five groups in use; the second misses every jump: F1 of "null" alone for that group."""
    tasks = clips_of(12)
    rows = protocol.answer(entrant("toy", Obedient()), tasks, list(range(12))).rows
    assert all(row["second"]["jump"] == "0 0 0 0 0" and row["second"]["move"] == row["given"]["move"] for row in rows)
    assert limits.problems(SUITE, rows) == []
    found = protocol.scores(rows, Bootstrap.draw(12, 20, np.random.default_rng(0)))
    given = np.array([list(map(int, row["given"]["jump"].split())) for row in rows])
    null = (given == 0).sum()
    jump = 0.5 * (2 * null / (given.size + null))  # label 1 is never read: 0
    assert found["f1"].score.value == 1.0
    assert found["f1_second"].score.value == pytest.approx((4 + jump) / 5)
    assert found["f1_second"].groups["jump"].value == pytest.approx(jump)


def test_judges_see_the_re_encoded_clip_and_the_question_decides_how(protocol, monkeypatch):
    seen = []
    monkeypatch.setattr(action_following, "reencode", lambda clip, seed: seen.append(seed) or clip)
    tasks = clips_of(4)
    answer = protocol.answer(entrant("toy", Obedient()), tasks, [0] * 4).rows
    assert not seen
    protocol.options = dataclasses.replace(protocol.options, reencode=True)
    again = protocol.answer(entrant("toy", Obedient()), tasks, [0] * 4).rows
    one = protocol.answer(entrant("toy", Obedient()), tasks[2:3], [0]).rows
    assert again == answer and one == again[2:3]
    assert seen[:4] == seen[4:8] and seen[2] == seen[8] and len(set(seen[:4])) == 4  # answer, truth; then one alone


@pytest.mark.parametrize("name", ["action-following-doom-rooms-v2", "interaction-following-doom-rooms-v2"])
def test_models_may_be_replaced_and_the_suite_stays_the_same(name, monkeypatch, tmp_path):
    before = suites.load(name)
    assert before.models and b"models = " not in (suites.FOLDER / f"{name}.toml").read_bytes()
    assert protocols.load(before).options.reencode
    (tmp_path / "models.toml").write_text(f'{name} = ["doom-rooms/better"]\n')
    monkeypatch.setattr(suites, "DEFAULT_MODELS", tmp_path / "models.toml")
    after = suites.load(name)
    assert after.models == ("doom-rooms/better",) and after.sha256 == before.sha256
    assert before.sha256 == hashlib.sha256((suites.FOLDER / f"{name}.toml").read_bytes()).hexdigest()


def test_the_bundled_second_judge_reads_clips_of_the_game():
    """It loads, and says of a still picture that nothing moves."""
    from worldgym import zoo

    judge = zoo.load("doom-rooms/idm-second")
    still = torch.full((1, 16, 56, 96, 3), 90, dtype=torch.uint8)
    read = judge.labels(still)
    assert read.shape == (1, 15, len(DOOM.sizes)) and not read[..., DOOM.column("attack")].any()
