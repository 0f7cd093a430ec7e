"""The main job from the command line to its files, with the toy world in place of game and zoo."""

import json
import os
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from eval_toys import HEIGHT, SUITE, WIDTH, Obedient, PixelJudge, prompts

from worldgym.actions import MINECRAFT
from worldgym.errors import InputError, unknown
from worldgym.eval import __main__, entries, job
from worldgym.eval import suite as suites


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
    from worldgym.models import zoo

    text = (suites.FOLDER / f"{SUITE.name}.toml").read_text()
    text = text.replace("[56, 96]", f"[{HEIGHT}, {WIDTH}]").replace("frames = 16", "frames = 6").replace("= 1000", "= 50")
    text = text.replace('["doom-rooms/token-nano", "doom-rooms/diffusion-nano"]', '["toy/good", "last-frame"]')
    text = text.replace("= 200", "= 10").replace("clips = 64", "clips = 4")
    (tmp_path / "toy-v1.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(zoo, "load", load)
    monkeypatch.setattr(entries, "weights", lambda name: None if name in entries.BASELINES else "0" * 64)
    monkeypatch.setattr(job, "record_clips", lambda suite, seed, clips: prompts(clips, suite.frames, seed))
    return tmp_path


def command(monkeypatch, *arguments):
    """Run the program; its exit status."""
    monkeypatch.setattr(sys, "argv", ["worldgym.eval", *arguments])
    try:
        __main__.main()
    except SystemExit as stop:
        return stop.code or 0
    return 0


def test_no_arguments_but_the_suite(toy, monkeypatch, capsys):
    assert command(monkeypatch, "--suite", "toy-v1.toml") == 0
    folder = toy / "results" / SUITE.name
    assert sorted(p.name for p in folder.iterdir()) == ["picture.png", "result.json", "video.mp4"]
    shown = capsys.readouterr()
    assert "truth" in shown.out and "toy/good" in shown.out and "result.json" in shown.out
    assert "toy/good: generating: 100%" in shown.err  # the progress bar
    found = json.loads((folder / "result.json").read_text())
    assert [entry["name"] for entry in found["entries"]] == ["truth", "shuffled", "toy/good", "last-frame"]
    assert found["weights"] == {SUITE.judge: "0" * 64, "toy/good": "0" * 64, "last-frame": None}
    assert set(found["time"]["entries"]) == {"truth", "shuffled", "toy/good", "last-frame"}


def test_same_command_same_file_but_for_time(toy, monkeypatch):
    found = []
    for _ in range(2):
        assert command(monkeypatch, "--suite", "toy-v1.toml", "--clips", "5", "--seed", "3", "--out", "out") == 0
        found.append(json.loads((toy / "out" / "result.json").read_text()))
        found[-1].pop("time")
    assert found[0] == found[1] and found[0]["clips"]["count"] == 5 and found[0]["seed"] == 3
    assert "--clips 5 --seed 3" in found[0]["run"]["command"]


BAD = {
    "suite": (["--suite", "action-following-doom-room-v1"], "unknown suite .*did you mean 'action-following-doom-rooms-v1'"),
    "no file": (["--suite", "nothing.toml"], "No such file or directory: 'nothing.toml'"),
    "model": (["--models", "toy/god"], "unknown model 'toy/god'; did you mean 'toy/good'"),
    "spec": (["--models", "toy/foreign"], "takes actions of spec 'minecraft', but suite .* gives 'doom'"),
    "judge as model": (["--models", SUITE.judge], "is a PixelJudge, not a world model"),
    "twice": (["--models", "last-frame", "last-frame"], "names a model twice"),
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
    assert "unknown metric 'f2'; did you mean 'f1'" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_no_cuda(toy, monkeypatch, capsys):
    assert command(monkeypatch, "--suite", "toy-v1.toml", "--device", "cuda") == 2
    assert "torch finds 0; use --device cpu" in capsys.readouterr().err
    assert job.find_device("auto") == "cpu"


def test_a_model_that_fails_half_way_leaves_no_result(toy, monkeypatch, capsys):
    class Shrinks(Obedient):
        def generate(self, prefix, actions, seeds, **options):
            frames = super().generate(prefix, actions, seeds, **options)
            return frames if len(self.calls) == 1 else frames[:, 1:]

    monkeypatch.setitem(MODELS, "toy/good", Shrinks)
    assert command(monkeypatch, "--suite", "toy-v1.toml", "--batch", "2", "--out", "out") == 2
    assert "returned uint8 frames of shape" in capsys.readouterr().err
    assert os.listdir(toy / "out") == []


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
    entry = entries.load("last-frame", SUITE, "cpu")
    clips = prompts()
    frames = entries.generate("last-frame", entry, clips.prefix, clips.actions, range(12), entries.sampling(entry, SUITE))
    assert frames.shape == clips.truth.shape and np.ptp(frames.astype(int), axis=1).max() == 0


def test_real_clips_do_not_depend_on_how_many_are_asked_for(monkeypatch):
    """Test clips come from the game itself; two at a time here, so that the join is tested."""
    monkeypatch.setattr(job, "CHUNK", 2)
    suite = suites.load(SUITE.name)
    three, two = job.record_clips(suite, 0, 3), job.record_clips(suite, 0, 2)
    assert three.truth.shape == (3, 16, 56, 96, 3) and three.actions.shape == (3, 15, 8)
    assert three.ids[:2] == two.ids and (three.truth[:2] == two.truth).all() and (three.actions[:2] == two.actions).all()
    assert (three.prefix == three.truth[:, :1]).all()
    assert three.ids[2] == f"doom-rooms/{suites.suite_seeds(suite, 0, 3)[2]}/0"
