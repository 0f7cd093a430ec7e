"""The examples of docs/evaluation.md, as they stand there, by their own commands: an own model and an own reward."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from eval_finished import load, toy_suite
from eval_toys import record

from worldgym.actions import DOOM
from worldgym.eval import __main__
from worldgym.eval.protocols import action_following, entries
from worldgym.eval.results import schema
from worldgym.eval.results import suite as suites

DOCS = (Path(__file__).parents[3] / "docs" / "evaluation.md").read_text()
CODE = re.findall(r"```python\n(.*?)```", DOCS, re.DOTALL)
COMMANDS = [
    line.partition("#")[0].strip() for part in re.findall(r"```bash\n(.*?)```", DOCS, re.DOTALL) for line in part.splitlines()
]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder with the documented modules, the toy suite and its judge."""
    from worldgym import zoo

    for name, code in zip(("mymodel", "myreward"), CODE, strict=True):
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(zoo, "load", load)
    monkeypatch.setattr(entries, "weights", lambda name: "0" * 64)
    monkeypatch.setattr(action_following, "record", record)
    toy_suite(tmp_path)
    return tmp_path


def command(start):
    """The documented command that begins so, as a list of arguments."""
    found = [line for line in COMMANDS if line.startswith(start)]
    assert len(found) == 1, found
    return shlex.split(found[0])[3:]


def run(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["worldgym.eval", "--suite", "toy-v1.toml", *arguments])
    try:
        __main__.main()
    except SystemExit as stop:
        assert not stop.code, stop.code


def test_an_own_model(place, monkeypatch):
    run(monkeypatch, *command("python -m worldgym.eval --models fade="), "--out", "out")
    found = schema.read("out/fade/0.json")
    entry = found["entry"]
    assert (entry["name"], entry["origin"], entry["source"]) == ("fade", "mymodel:Fade", "module")
    assert len(entry["weights_sha256"]) == 64 and found["clips"]["failed"] == 0
    assert 0 < found["scores"]["psnr"]["value"] < 30
    run(monkeypatch, "--verify", "out/fade/0.json", "out/last-frame/0.json")
    (place / "mymodel.py").write_text(CODE[0].replace("0.97", "0.5"))
    monkeypatch.delitem(sys.modules, "mymodel")
    with pytest.raises(AssertionError, match="1"):  # another class than the one that was scored
        run(monkeypatch, "--verify", "out/fade/0.json")


def test_a_model_that_answers_in_writing(place, monkeypatch):
    """Questions go out, finished videos come in; they equal what the class would have answered."""
    run(monkeypatch, *command("python -m worldgym.eval --export questions"))
    about = json.loads(Path("questions/questions.json").read_text())
    assert [column["name"] for column in about["columns"]] == list(DOOM.names) and len(about["clips"]) == 6
    for column, known in zip(about["columns"], DOOM.columns, strict=True):  # as the array has them, bins in degrees
        if "degrees" in column:
            np.testing.assert_allclose(column["degrees"], known.centers, atol=1e-6)
        else:
            assert column["labels"] == list(known.labels)
    assert about["columns"][DOOM.column("yaw")]["degrees"][-1] > 0 and "positive yaw turns right" in about["camera"]
    Path("videos").mkdir()
    sys.path.append(str(place))
    from mymodel import Fade

    for clip in about["clips"]:
        with np.load(f"questions/{clip['file']}.npz", allow_pickle=False) as asked:
            frames = Fade().generate(asked["prefix"][None], asked["actions"][None], [0])[0]
        assert list(frames.shape) == [clip["frames"], *clip["size"], 3]
        np.save(f"videos/{clip['file']}.npy", frames)
    run(monkeypatch, *command("python -m worldgym.eval --models videos"), "--out", "written")
    run(monkeypatch, "--models", "mymodel:Fade", "--out", "here")
    one, two = (schema.read(path) for path in ("written/videos/0.json", next(Path("here").glob("mymodel*/0.json"))))
    assert one["scores"] == two["scores"] and one["frames_sha256"] == two["frames_sha256"]
    assert one["entry"]["source"] == "folder"
    run(monkeypatch, "--verify", "written/videos/0.json")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder with the documented modules; suites, game and judges are the real ones."""
    for name, code in zip(("mymodel", "myreward"), CODE, strict=True):
        (tmp_path / f"{name}.py").write_text(code)
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return tmp_path


def really(monkeypatch, *arguments):
    """The program with nothing in place of anything."""
    monkeypatch.setattr(sys, "argv", ["worldgym.eval", *arguments])
    try:
        __main__.main()
    except SystemExit as stop:
        assert not stop.code, stop.code


def test_an_own_model_in_the_real_suite(folder, monkeypatch):
    """The documented command as it stands, with two clips of the suite's 64."""
    really(monkeypatch, *command("python -m worldgym.eval --models fade="), "--clips", "2", "--device", "cpu")
    fade, still = (schema.read(f"results/action-following-doom-rooms-v1/{name}/0.json") for name in ("fade", "last-frame"))
    assert fade["entry"]["origin"] == "mymodel:Fade" and fade["clips"] == still["clips"]
    assert (fade["clips"]["count"], fade["clips"]["failed"]) == (2, 0)
    assert set(fade["scores"]) == set(suites.load("action-following-doom-rooms-v1").metrics)
    assert all(0 <= fade["scores"][name]["value"] <= 1 for name in ("f1", "ssim", "exact_match"))
    assert fade["scores"]["psnr"]["value"] != still["scores"]["psnr"]["value"]


def test_an_own_reward_in_the_real_suite(folder, monkeypatch):
    """The documented command as it stands, with two clips of the suite's 48; brightness sees what was darkened."""
    really(monkeypatch, *command("python -m worldgym.eval --suite reward-doom-rooms-v1 --reward"), "--clips", "2")
    (path,) = Path("results/reward-doom-rooms-v1").glob("myreward*/0.json")
    found = schema.read(path)
    assert found["entry"]["origin"] == "myreward:Brightness" and found["clips"]["failed"] == 0
    for row in found["rows"]:
        versions = row["versions"]
        assert {"truth", "all-wrong", "model"} < set(versions) and versions["darkened"] < 0.75 * versions["truth"]
        assert versions["shuffled"] == pytest.approx(versions["truth"])  # the same frames in another order
        assert all(0 <= value <= 1 for value in versions.values())
    assert found["scores"]["ignores"]["groups"]["darkened"]["value"] < 0.5


def test_every_documented_command_is_a_command():
    """Programs that exist, with arguments that they know."""
    import dataclasses

    from worldgym.arena.__main__ import Arguments
    from worldgym.eval.running.arguments import Job

    known = {f"--{field.name.replace('_', '-')}" for field in dataclasses.fields(Job)} | {"--model", "--reward"}
    for line in filter(None, COMMANDS):
        words = shlex.split(line)
        if "worldgym.eval" in words:
            options = {word for word in words[words.index("worldgym.eval") :] if word.startswith("--")}
            assert options <= known, line
        elif words[2] == "worldgym.arena":
            assert len(words) == 5 and {"a", "b", "report"} <= {field.name for field in dataclasses.fields(Arguments)}, line
        else:
            assert words[2] == "worldgym.leaderboard" and words[3] in ("add", "check", "tables", "build"), line
