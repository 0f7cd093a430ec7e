"""The main job from the command line to its files, with the toy world in place of game and zoo."""

import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from eval_toys import SUITE, Obedient, PixelJudge, clips_of, entrant, record, suite_text

from worldgym.actions import MINECRAFT
from worldgym.errors import InputError, unknown
from worldgym.eval import __main__
from worldgym.eval.protocols import action_following, clips, entries
from worldgym.eval.results import suite as suites
from worldgym.eval.running import job


class Foreign(Obedient):
    spec = MINECRAFT


MODELS = {SUITE.judge: PixelJudge, "toy/good": Obedient, "toy/foreign": Foreign}


def load(name, device="cpu"):
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]()


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A toy suite's path; commands run in an empty folder."""
    from worldgym import zoo

    (tmp_path / "toy-v1.toml").write_text(suite_text(4, models=("toy/good", "last-frame")))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo, "load", load)
    monkeypatch.setattr(entries, "weights", lambda name: "0" * 64)
    monkeypatch.setattr(action_following, "record", record)
    return tmp_path


def command(monkeypatch, *arguments):
    """Run the program; its exit status."""
    monkeypatch.setattr(sys, "argv", ["worldgym.eval", *arguments])
    try:
        __main__.main()
    except SystemExit as stop:
        return stop.code or 0
    return 0


ENTRIES = ["truth", "shuffled", "toy--good", "last-frame"]


def test_no_arguments_but_the_suite(toy, monkeypatch, capsys):
    assert command(monkeypatch, "--suite", "toy-v1.toml") == 0
    folder = toy / "results" / SUITE.name
    assert sorted(p.name for p in folder.iterdir()) == sorted(["picture.png", "result.json", "video.mp4", *ENTRIES])
    shown = capsys.readouterr()
    assert "truth" in shown.out and "toy/good" in shown.out and "result.json" in shown.out
    assert "toy/good: generating: 100%" in shown.err  # the progress bar
    found = json.loads((folder / "result.json").read_text())
    assert [entry["name"] for entry in found["entries"]] == ["truth", "shuffled", "toy/good", "last-frame"]
    for entry, name in zip(found["entries"], ENTRIES, strict=True):
        one = json.loads((folder / entry["file"]).read_text())
        assert entry["file"] == f"{name}/0.json" and one["sha256"] == entry["sha256"] and one["scores"] == entry["scores"]
        assert one["judges"] == {SUITE.judge: "0" * 64}
        assert one["entry"]["weights_sha256"] == ("0" * 64 if name == "toy--good" else None)
    assert sorted(p.name for p in (folder / "toy--good").iterdir()) == ["0.json", "0.webm"]


def results(folder):
    """Every result file of a run, but for time."""
    found = {path.relative_to(folder).as_posix(): json.loads(path.read_text()) for path in folder.glob("*/*.json")}
    assert len(found) == 4
    return {path: {key: value for key, value in one.items() if key != "time"} for path, one in found.items()}


def test_same_command_same_file_but_for_time(toy, monkeypatch):
    found = []
    for _ in range(2):
        assert command(monkeypatch, "--suite", "toy-v1.toml", "--clips", "5", "--seed", "3", "--out", "out") == 0
        found.append(results(toy / "out"))
    assert found[0] == found[1]
    one = found[0]["toy--good/3.json"]
    assert one["clips"]["count"] == 5 and one["seed"] == 3 and "--clips 5 --seed 3" in one["run"]["command"]


def test_another_name_for_an_entry(toy, monkeypatch):
    assert command(monkeypatch, "--suite", "toy-v1.toml", "--model", "mine=toy/good", "--out", "out") == 0
    assert json.loads((toy / "out" / "mine" / "0.json").read_text())["entry"]["name"] == "mine"


BAD = {
    "suite": (["--suite", "action-following-doom-room-v1"], "unknown suite .*did you mean 'action-following-doom-rooms-v1'"),
    "no file": (["--suite", "nothing.toml"], "No such file or directory: 'nothing.toml'"),
    "model": (["--models", "toy/god"], "unknown model 'toy/god'; did you mean 'toy/good'"),
    "spec": (["--models", "toy/foreign"], "takes actions of spec 'minecraft', but suite .* gives 'doom'"),
    "judge as model": (["--models", SUITE.judge], "is a PixelJudge, not a world model"),
    "twice": (["--models", "last-frame", "last-frame"], "names an entry twice"),
    "reference": (["--models", "truth"], "names an entry twice"),
    "no module": (["--models", "no_such_module:Model"], "cannot import 'no_such_module'"),
    "no class": (["--models", "json:Model"], "module 'json' has no 'Model'"),
    "no model": (["--models", "json:JSONDecoder"], "has no method generate"),
    "empty folder": (["--models", "empty"], "holds no videos"),
    "clips": (["--clips", "1"], "--clips is 1, but at least 2"),
    "batch": (["--batch", "0"], "--batch is 0"),
    "seed": (["--seed", "-1"], "--seed is -1"),
    "device": (["--device", "gpu"], "unknown device 'gpu'"),
    "other device": (["--device", "meta"], "device 'meta' is not supported"),
    "out": (["--out", "file/below"], "cannot write to the output folder 'file/below'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(toy, monkeypatch, capsys, case):
    import re

    arguments, sentence = BAD[case]
    (toy / "file").write_text("in the way")
    (toy / "empty").mkdir()
    before = sorted(os.listdir(toy))
    suite = [] if "--suite" in arguments else ["--suite", "toy-v1.toml"]
    assert command(monkeypatch, *suite, *arguments) == 2
    error = capsys.readouterr().err
    assert re.search(sentence, error) and error.startswith("error: ") and error.count("\n") == 1
    assert sorted(os.listdir(toy)) == before


def test_unknown_metric(toy, monkeypatch, capsys):
    text = (toy / "toy-v1.toml").read_text()
    (toy / "toy-v1.toml").write_text(text.replace('"f1"', '"f2"'))
    assert command(monkeypatch, "--suite", "toy-v1.toml") == 2
    assert "unknown metric of protocol 'action-following' 'f2'; did you mean 'f1'" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_no_cuda(toy, monkeypatch, capsys):
    assert command(monkeypatch, "--suite", "toy-v1.toml", "--device", "cuda") == 2
    assert "torch finds 0; use --device cpu" in capsys.readouterr().err
    assert job.find_device("auto") == "cpu"


def test_a_model_that_fails_half_way_is_on_record(toy, monkeypatch, capsys):
    class Shrinks(Obedient):
        def generate(self, prefix, actions, seeds, **options):
            frames = super().generate(prefix, actions, seeds, **options)
            return frames if len(self.calls) == 1 else frames[:, 1:]

    monkeypatch.setitem(MODELS, "toy/good", Shrinks)
    assert command(monkeypatch, "--suite", "toy-v1.toml", "--batch", "2", "--out", "out") == 0
    assert "warning: 'toy/good' failed on 2 of 4 clips (recorded); the first: model 'toy/good'" in capsys.readouterr().out
    found = json.loads((toy / "out" / "toy--good" / "0.json").read_text())
    assert found["clips"]["failed"] == 2 and found["scores"]["f1"]["value"] is None
    assert ["failure" in row for row in found["rows"]] == [False, False, True, True]


def test_a_model_that_always_fails_is_on_record_and_an_error(toy, monkeypatch, capsys):
    class Never(Obedient):
        def generate(self, prefix, actions, seeds, **options):
            raise ZeroDivisionError("never")

    monkeypatch.setitem(MODELS, "toy/good", Never)
    assert command(monkeypatch, "--suite", "toy-v1.toml", "--out", "out") == 2
    assert "'toy/good' failed on 4 of 4 clips (recorded); the first: ZeroDivisionError: never" in capsys.readouterr().err
    assert json.loads((toy / "out" / "toy--good" / "0.json").read_text())["clips"]["failed"] == 4


def test_frame_size_and_length_are_checked_before_the_run():
    big, short = Obedient(), Obedient()
    big.codec = SimpleNamespace(config=SimpleNamespace(height=32, width=32))
    with pytest.raises(InputError, match="makes frames of 32x32 pixels .* has 16x24"):
        entries.check("big", big, SUITE)
    short.model = SimpleNamespace(config=SimpleNamespace(max_frames=5))
    with pytest.raises(InputError, match="makes at most 5 frames, but suite .* asks for 6"):
        entries.check("short", short, SUITE)


@pytest.mark.parametrize(("judge", "sentence"), [("toy/good", "is a Obedient, but"), ("toy/foreign judge", "reads spec")])
def test_a_wrong_judge_is_named(toy, monkeypatch, capsys, judge, sentence):
    class Foreign(PixelJudge):
        spec = MINECRAFT

    monkeypatch.setitem(MODELS, "toy/foreign judge", Foreign)
    text = (toy / "toy-v1.toml").read_text()
    (toy / "toy-v1.toml").write_text(text.replace(SUITE.judge, judge))
    assert command(monkeypatch, "--suite", "toy-v1.toml") == 2
    assert sentence in capsys.readouterr().err


def test_last_frame_needs_no_zoo():
    one = entries.load("last-frame", SUITE, "cpu")
    frames = entries.generate(one, clips_of(), range(12))
    assert frames.shape == (12, 6, 16, 24, 3) and np.ptp(frames.astype(int), axis=1).max() == 0
    assert (one.source, one.weights, one.sampling) == ("baseline", None, {}) and entrant("m", Obedient()).sampling


def test_real_clips_do_not_depend_on_how_many_are_asked_for(monkeypatch):
    """Test clips come from the game itself; two at a time here, so that the join is tested."""
    monkeypatch.setattr(clips, "CHUNK", 2)
    suite = suites.load(SUITE.name)
    three, two = clips.record(suite, 0, 3), clips.record(suite, 0, 2)
    assert [task.sha256() for task in three[:2]] == [task.sha256() for task in two]
    assert [task.id for task in three] == [f"doom-rooms/{seed}/0" for seed in suites.suite_seeds(suite, 0, 3)]
    for task in three:
        assert task.truth.shape == (16, 56, 96, 3) and task.actions.shape == (15, 8)
        assert (task.prefix == task.truth[:1]).all()
