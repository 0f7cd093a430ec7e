"""Two entries in pairs: numbers known on paper, and what pairing is for."""

import copy
import json
import sys

import numpy as np
import pytest

from worldgym.errors import InputError
from worldgym.eval import __main__, protocols
from worldgym.eval.results import rows, schema, scores
from worldgym.eval.results import suite as suites
from worldgym.eval.running import compare as compare_files
from worldgym.eval.running.compare import compare, plot, table


def read(folder, entry):
    return schema.read(folder / "out" / entry / "0.json")


def by_name(found):
    return {one.metric: one for one in found}


@pytest.fixture
def suite(finished):
    return str(finished / "toy-v1.toml")


def test_an_entry_against_itself(finished, suite):
    good = read(finished, "toy--good")
    for one in compare(good, good, suite):
        assert one.difference.value == 0 and (one.difference.low, one.difference.high) == (0, 0)
        assert one.verdict == "no difference shown"
        assert one.improvement.value == 0.5 or np.isnan(one.improvement.value)


def test_good_against_sloppy(finished, suite):
    """The sloppy model turns one bin too far at every step (10 -> 0 is ten too far), which only the camera error sees."""
    found = by_name(compare(read(finished, "toy--sloppy"), read(finished, "toy--good"), suite))
    camera, f1 = found["camera_error"], found["f1"]
    assert camera.b == 0 and camera.a > 0.5 and camera.difference.value == -camera.a
    assert camera.verdict == "better" and camera.difference.high < 0 and camera.improvement.value == 1
    assert (f1.a, f1.b, f1.verdict) == (1, 1, "no difference shown") and f1.improvement.value == 0.5
    back = by_name(compare(read(finished, "toy--good"), read(finished, "toy--sloppy"), suite))
    assert back["camera_error"].verdict == "worse" and back["camera_error"].improvement.value == 0
    assert (back["camera_error"].difference.low, back["camera_error"].difference.high) == pytest.approx(
        (-camera.difference.high, -camera.difference.low)
    )


def test_the_difference_is_a_paired_bootstrap(finished, suite):
    """By hand for PSNR: the same draws for both, the mean of each clip's difference."""
    a, b = read(finished, "last-frame"), read(finished, "toy--good")
    found = by_name(compare(a, b, suite))["psnr"]
    one, two = (rows.values(x["rows"], "psnr") for x in (a, b))
    draws = scores.bootstrap_of(protocols.load(suites.load(suite)), [0], [6]).indices
    wanted = np.quantile((two - one)[draws].mean(1), [0.025, 0.975])
    assert (found.difference.low, found.difference.high) == pytest.approx(tuple(wanted))
    assert found.improvement.value == np.mean(two > one)


def test_pairing_sees_what_single_intervals_do_not(finished, suite):
    """Clips differ by tens of dB, B is .5 dB better on each: the intervals of A and B overlap, the paired one is a point."""
    a = read(finished, "toy--good")
    for index, row in enumerate(a["rows"]):
        row["scores"]["psnr"] = 10.0 + 7 * index
    b = copy.deepcopy(a)
    for row in b["rows"]:
        row["scores"]["psnr"] += 0.5
    found = by_name(compare(a, b, suite))["psnr"]
    assert (found.difference.low, found.difference.high) == pytest.approx((0.5, 0.5)) and found.verdict == "better"


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda r: r.update(seed=1), "another seed"),
        (lambda r: r["suite"].update(sha256="0" * 64), "another suite"),
        (lambda r: r["clips"].update(sha256="0" * 64), "another test clips"),
        (lambda r: r["rows"].__setitem__(0, {"id": "toy/0/0", "failure": "x"}), "failed on 1 clips"),
    ],
)
def test_what_cannot_be_compared_says_why(finished, suite, change, sentence):
    a = read(finished, "toy--good")
    b = copy.deepcopy(a)
    change(b)
    with pytest.raises(InputError, match=sentence):
        compare(a, b, suite)


def test_seeds_are_put_together(finished, suite, tmp_path):
    """Two seeds: the difference is the mean over all clips, whatever the order of the files."""
    a, b = (read(finished, name) for name in ("toy--sloppy", "toy--good"))
    others = []
    for one, shift in ((a, 0.0), (b, 1.0)):
        other = copy.deepcopy(one)
        other["seed"] = 1
        for row in other["rows"]:
            row["scores"]["psnr"] += shift
        others.append(other)
    single = by_name(compare(a, b, suite))["psnr"]
    both = by_name(compare([a, others[0]], [others[1], b], suite))["psnr"]
    assert both.difference.value == pytest.approx(single.difference.value + 0.5)
    with pytest.raises(InputError, match=r"another seed: \[0\] and \[0, 1\]"):
        compare(a, [b, others[1]], suite)
    with pytest.raises(InputError, match="holds no result"):
        compare_files._read(tmp_path)


def test_files_and_table(finished, suite, monkeypatch, capsys, tmp_path):
    from PIL import Image

    paths = [str(finished / "out" / name / "0.json") for name in ("toy--sloppy", "toy--good")]
    monkeypatch.setattr(sys, "argv", ["eval", "--suite", suite, "--compare", *paths, "--out", str(tmp_path / "out")])
    __main__.main()
    out = capsys.readouterr().out
    assert "A = toy/sloppy, B = toy/good" in out and "camera_error (lower)" in out
    found = json.loads((tmp_path / "out" / "compare.json").read_text())
    assert [one["metric"] for one in found["metrics"]][:2] == ["f1", "precision"]
    assert found["metrics"][3]["verdict"] == "better" and found["metrics"][8]["improvement"]["value"] is None
    colours = {colour for _, colour in Image.open(tmp_path / "out" / "compare.png").getcolors(1 << 20)}
    assert (0, 125, 45) in colours and (200, 25, 25) not in colours  # something is better, nothing is worse
    plot([], "nothing", tmp_path / "empty.png")
    assert "metric" in table([])
