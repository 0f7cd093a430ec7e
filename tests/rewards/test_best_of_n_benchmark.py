"""The measurement of what best of N by one score does to another: worlds known on paper, and the whole program."""

import json
import sys

import pytest
import torch

from worldgym.data.record import record


@pytest.fixture(scope="module")
def benchmark(program):
    return program("benchmarks/best_of_n.py")


def test_the_same_score_picks_the_maximum(benchmark):
    score = torch.tensor([[0.0, 1.0, 2.0, 3.0], [8.0, 0.0, 0.0, 0.0]])
    found = benchmark.picked(score, score)
    assert found["correlation"] == pytest.approx(1.0)
    assert found["best"]["gain"] == pytest.approx((3 - 1.5 + 8 - 2) / 2)
    assert benchmark.picked(-score, score)["best"]["gain"] == pytest.approx((0 - 1.5 + 0 - 2) / 2)


def test_a_score_of_known_correlation(benchmark):
    """Normal scores of correlation c: the best of 16 gains c times the expected maximum of 16, 1.766."""
    random = torch.Generator().manual_seed(0)
    judged, other = torch.randn(2, 2000, 16, generator=random, dtype=torch.float64)
    for c in (0.0, 0.3, 0.8):
        found = benchmark.picked(c * judged + (1 - c * c) ** 0.5 * other, judged)
        assert found["correlation"] == pytest.approx(c, abs=0.02)
        low, high = found["best"]["interval"]
        assert low - 0.02 < c * 1.766 < high + 0.02 and high - low < 0.1


def test_prompts_differences_do_not_count(benchmark):
    """A score that only tells prompts apart is worth nothing."""
    random = torch.Generator().manual_seed(1)
    level, noise = torch.randn(500, 1, generator=random), torch.randn(500, 8, generator=random)
    assert abs(benchmark.picked(5 * level + torch.randn(500, 8, generator=random), 5 * level + noise)["correlation"]) < 0.05
    assert benchmark.picked(level.expand(-1, 8), noise)["correlation"] == pytest.approx(0, abs=1e-6)


def test_the_program(benchmark, monkeypatch, capsys, tmp_path):
    out, clips = tmp_path / "found.json", tmp_path / "clips"
    record("doom-rooms", 24, 1, str(clips), workers=1, frames=3)
    words = ["best_of_n.py", "--prompts", str(clips), "--count", "2", "--candidates", "3", "--prefix", "2", "--out", str(out)]
    rewards = ["--rewards", "if mode=soft", "pixel", "--threads", "1"]
    monkeypatch.setattr(sys, "argv", words + rewards)
    benchmark.main()
    assert set(json.loads(out.read_text())["rewards"]) == {"if mode=soft", "pixel"}
    monkeypatch.setattr(sys, "argv", words + ["--rewards", "nothing"])
    with pytest.raises(SystemExit):
        benchmark.main()
    assert "unknown reward 'nothing'" in capsys.readouterr().err
