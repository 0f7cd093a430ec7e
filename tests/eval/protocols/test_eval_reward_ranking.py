"""The reward benchmark: versions of known faults, ranking on paper, own rewards by one command."""

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from worldgym.actions import DOOM
from worldgym.errors import InputError
from worldgym.eval import protocols
from worldgym.eval.metrics import ranking
from worldgym.eval.protocols import variants
from worldgym.eval.protocols.reward_ranking import BASELINES, bundled
from worldgym.eval.results import suite as suites
from worldgym.eval.results.scores import of_rows
from worldgym.eval.running import job
from worldgym.eval.running.arguments import Job

DOCS = (Path(__file__).parents[3] / "docs" / "rewards.md").read_text()
SUITE = suites.load("reward-doom-rooms-v1")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> str:
    """The published suite with two clips of five frames and no world model."""
    text = (suites.FOLDER / f"{SUITE.name}.toml").read_text()
    for name, value in {"frames": 5, "clips": 2, "model": '""', "resamples": 20}.items():
        text, count = re.subn(rf"^{name} = (\S+)", f"{name} = {value}", text, flags=re.M)
        assert count == 1, name
    path = tmp_path_factory.mktemp("suite") / "small-v1.toml"
    path.write_text(text)
    return str(path)


@pytest.fixture(scope="module")
def tasks(small: str) -> list:
    suite = suites.load(small)
    return protocols.load(suite).tasks(0, 2)


def test_ranking_by_hand():
    rewards = {"truth": np.array([1.0, 1.0]), "a": np.array([0.5, 2.0]), "b": np.array([0.5, 0.0])}
    right = {"truth": np.array([1.0, 1.0]), "a": np.array([0.5, 0.5]), "b": np.array([0.0, 0.0])}
    found = ranking.by_share(rewards, right)
    assert found["a"].tolist() == [1.0, 0.0]  # the truth is above a, then below
    assert found["b"].tolist() == [0.75, 1.0]  # above b: the truth, and a by half for the tie
    assert "truth" not in found  # nothing has more right actions
    assert ranking.against_truth(rewards, ["a"])["a"].tolist() == [1.0, 0.0]
    assert ranking.ignoring({**rewards, "look": np.array([0.9, 1.0])}, ["look"], "b")["look"].tolist() == [1.0, 1.0]
    assert ranking.ignoring({**rewards, "look": np.array([0.1, 3.0])}, ["look"], "b")["look"].tolist() == [0.0, 0.0]


def test_correlation_is_scipys():
    random = np.random.default_rng(0)
    names = "abcdefg"
    rewards = {name: random.integers(0, 4, 5).astype(float) for name in names}
    right = {name: random.integers(0, 3, 5).astype(float) for name in names}
    for row, value in enumerate(ranking.correlation(rewards, right)):
        expected = spearmanr([rewards[n][row] for n in names], [right[n][row] for n in names]).statistic
        assert value == pytest.approx(expected)
    assert ranking.correlation({name: np.ones(5) for name in names}, right).tolist() == [0.0] * 5


def test_versions_are_what_they_are_called(tasks: list):
    for task in tasks:
        versions, right = task.extra["versions"], task.extra["right"]
        assert all(
            np.array_equal(frames[0], task.truth[0]) and frames.shape == task.truth.shape for frames in versions.values()
        )
        assert np.array_equal(versions["delayed"][2:], task.truth[1:-1])
        assert np.array_equal(versions["mirrored"][1:], task.truth[1:, :, ::-1])
        assert (versions["frozen"] == task.truth[0]).all()
        assert sorted(map(bytes, versions["shuffled"])) == sorted(map(bytes, task.truth))
        assert versions["darkened"][1:].mean() < 0.75 * task.truth[1:].mean()
        assert np.array_equal(versions["half-wrong"][:3], task.truth[:3])  # two of four actions are as asked
        assert right["truth"] == right["darkened"] == right["reconstructed"] == 1
        assert 1 > right["one-wrong"] >= 1 - 1 / 4 - 1e-9 and right["one-wrong"] >= right["all-wrong"]
        assert "blurred" not in right and "shuffled" not in right
    wrong = [(task.extra["versions"]["all-wrong"] != task.truth).mean() for task in tasks]
    assert max(wrong) > 0.1


def test_a_mirror_changes_strafe_and_yaw_and_nothing_else():
    action = DOOM.action(move="forward", strafe="left", yaw=-5.0, pitch=3.0)
    mirror = DOOM.action(move="forward", strafe="right", yaw=5.0, pitch=3.0)
    assert np.array_equal(variants.mirrored(action[None], DOOM), mirror[None])
    assert variants.right_share(mirror[None], action[None]) == 6 / 8


def test_constant_and_random_stand_at_chance_and_the_told_one_at_the_top():
    """500 made-up clips with the versions of the suite."""
    protocol, random = protocols.load(SUITE), np.random.default_rng(0)
    known = {"truth": 1, "darkened": 1, "tinted": 1, "reconstructed": 1, "delayed": 0.6, "one-wrong": 0.9, "all-wrong": 0.4}
    extra = {"versions": [*known, "blurred"], "right": known}
    task = type("Question", (), {"extra": extra})
    scored = {}
    for name, told in BASELINES.items():
        seeds = random.integers(2**31, size=500).tolist()
        rows = [{"id": str(s), "right": known, "versions": {v: told(task, v, s) for v in extra["versions"]}} for s in seeds]
        scored[name] = of_rows(protocol, {0: rows})
    for metric, chance in (("wrong_actions", 0.5), ("ranking", 0.5), ("ignores", 0.5), ("correlation", 0.0)):
        assert scored["constant"][metric]["value"] == pytest.approx(chance)
        assert scored["random"][metric]["value"] == pytest.approx(chance, abs=0.06)
    assert [scored["truth-aware"][m]["value"] for m in ("wrong_actions", "ranking", "ignores")] == [1, 1, 1]
    assert scored["truth-aware"]["correlation"]["value"] == pytest.approx(1)


def test_own_reward_by_one_command(small: str, tmp_path, monkeypatch):
    """The module that the docs show, under the name that they show."""
    module = re.search(r"```python\n(# my_package/my_module.py\n.*?)```", DOCS, re.S)[1]
    (tmp_path / "my_package").mkdir()
    (tmp_path / "my_package" / "my_module.py").write_text(module)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    asked = Job(suite=small, models=("my_package.my_module:MyReward", "constant"), out=str(tmp_path / "out"))
    job.run(asked)
    result = json.loads((tmp_path / "out" / "constant" / "0.json").read_text())
    assert result["scores"]["ranking"]["value"] == 0.5
    mine = json.loads(next(p for p in (tmp_path / "out").glob("*my_module*/0.json")).read_text())
    assert len(mine["rows"]) == 2 and set(mine["rows"][0]["versions"]) > {"truth", "frozen", "reconstructed"}
    assert mine["rows"][0]["versions"]["frozen"] < mine["rows"][0]["versions"]["truth"]  # it pays for movement
    assert mine["entry"]["source"] == "module" and "python -m worldgym.eval --suite reward-doom-rooms-v1" in DOCS


def test_bad_rewards_are_refused_or_on_record(tasks: list):
    protocol = protocols.load(SUITE)
    with pytest.raises(InputError, match="unknown reward 'idn'; did you mean 'idm'"):
        protocol.enter("idn")
    with pytest.raises(InputError, match="is no reward"):
        protocol.enter("worldgym.rng:RowNoise")
    assert {"idm", "pixel", "quality"} <= set(bundled()) and "frozen" not in bundled()
    entrant = protocol.enter("pixel")
    entrant.player.score = lambda *a: type("S", (), {"total": torch.tensor([torch.nan])})
    assert "not a finite number" in protocol.answer(entrant, tasks[:1], [0]).rows[0]["failure"]
    entrant.player.score = lambda *a: type("S", (), {"total": torch.zeros(3)})
    assert "gave shape (3,)" in protocol.answer(entrant, tasks[:1], [0]).rows[0]["failure"]


def test_a_donor_whose_actions_cannot_be_played_in_part_is_passed_over(monkeypatch):
    """The game ends on the way with the first two donors; with the third all versions can be played."""
    tried = []

    def make(recorder, play, donor, *rest):
        tried.append(donor)
        if donor < 3:
            raise InputError("the episode is over")
        return f"task with {donor}"

    monkeypatch.setattr(variants, "make", make)
    known = None, SimpleNamespace(clip=SimpleNamespace(seed=7)), "a clip", 1, DOOM, 0
    assert variants._first_playable(*known, iter((1, 2, 3, 4))) == "task with 3" and tried == [1, 2, 3]
    with pytest.raises(InputError, match="no other actions can be played from the start of clip 7"):
        variants._first_playable(*known, iter((1, 2)))
