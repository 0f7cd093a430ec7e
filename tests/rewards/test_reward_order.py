"""Rewards know the truth from what is bad: the published figures hold what rewards claim, and a run of today gives the same.

Issue: truth clips score highest on average; frozen, noise and shuffled-action clips low, for every reward that claims it;
darkening hardly moves the IDM reward and moves the pixel reward much (RLIR, section 6.1).
"""

import json
import re
from pathlib import Path

import gymnasium as gym
import pytest
import torch

import worldgym  # noqa: F401  (registers the ids)
from worldgym import rewards

ROOT = Path(__file__).parent.parent.parent
PUBLISHED = ROOT / "benchmarks" / "results" / "reward-order.json"


@pytest.fixture(scope="module")
def benchmark(program):
    """The program that measures."""
    return program("benchmarks/reward_order.py")


def hold(name, claims, kinds):
    """What a table of a reward must show: it is below the truth on everything that it claims, beyond chance."""
    for kind in claims:
        low, _ = kinds[kind]["below_interval"]
        assert low > 0, f"{name} does not score {kind} below the truth: {kinds[kind]}"


def ignore_darkness(found):
    """RLIR's section 6.1."""
    idm, pixel = (found[name]["kinds"]["darkened"]["below_truth"] for name in ("IDMReward", "PixelReward"))
    assert abs(idm) < 0.05 and pixel > 3 * abs(idm)


def test_the_published_figures_hold_every_claim(benchmark):
    published = json.loads(PUBLISHED.read_text())["rewards"]
    assert set(published) == {cls.__name__ for cls in benchmark.claiming()}
    for name, found in published.items():
        assert found["claims"] == list(getattr(rewards, name).claims)
        hold(name, found["claims"], found["kinds"])
    ignore_darkness(published)


def test_summary_by_hand(benchmark):
    """Truth 3, 5; bad 1, 5: below by 2 and 0, so above in one and a tie: .75; mean 1, std sqrt 2, half width 1.96."""
    table = benchmark.summary({"truth": torch.tensor([3.0, 5.0]), "bad": torch.tensor([1.0, 5.0])})
    assert table["bad"]["mean"] == 3 and table["bad"]["truth_above"] == 0.75 and table["bad"]["below_truth"] == 1
    assert table["bad"]["below_interval"] == pytest.approx([1 - 1.96, 1 + 1.96], rel=1e-6)


@pytest.mark.long
def test_rewards_order_clips_of_the_game(benchmark):
    clips = benchmark.record(16)
    env = gym.make_vec("worldgym/DoomRooms-Denoise-v0", num_envs=1, prompt_seeds=[0])
    found = {}
    for cls in benchmark.claiming():
        reward = cls(env)
        found[cls.__name__] = {"kinds": benchmark.summary(benchmark.scores(reward, clips))}
        hold(cls.__name__, cls.claims, found[cls.__name__]["kinds"])
    ignore_darkness(found)


def test_the_code_of_the_docs_runs(capsys):
    block = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "rewards.md").read_text(), re.DOTALL)[1]
    exec(block, {})
    expected = re.search(r"# (\[.*\])$", block.strip().splitlines()[-1])[1]
    assert capsys.readouterr().out.strip() == expected
