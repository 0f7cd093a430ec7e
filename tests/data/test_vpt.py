"""VPT's recordings: seeking, actions, filters, MineWorld's validation folder, broken files. All files are made here."""

import json

import av
import numpy as np
import pytest
import recording_toys as toys
import torch

from worldgym.actions import spec, vpt
from worldgym.data.video_file import VideoFile, encode, through_codec
from worldgym.data.vpt import Recording, recordings, repaired, training_prompts, validation_prompts
from worldgym.errors import InputError
from worldgym.resize import resize

SMALL = (56, 96)


def everything(path):
    with av.open(str(path)) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])


def test_frames_from_the_middle_equal_those_of_a_file_read_from_its_start(tmp_path):
    path = toys.recording(tmp_path, count=50)
    whole = everything(path)
    for start in (0, 1, 11, 12, 13, 30, 46):
        with VideoFile(path) as file:
            assert (file.read(start, 4) == whole[start : start + 4]).all(), start
    with VideoFile(path) as file:
        assert (file.frames, file.fps, file.height, file.width) == (50, 20, 72, 128)
        assert (file.read(30, 2) == whole[30:32]).all() and (file.read(3, 2) == whole[3:5]).all()  # backwards too


def test_seeking_decodes_from_the_key_frame_only(tmp_path):
    """Key frames lie 12 apart, so frames 240 and 241 need 2 to 13 decoded frames of 300 (a thread may run ahead)."""
    path = toys.recording(tmp_path, count=300, height=16, width=16)
    with VideoFile(path) as file:
        file.read(240, 2)
        assert file.decoded <= 13


def test_what_the_codec_leaves_is_what_a_file_holds(tmp_path):
    frames = toys.pictures(15)
    left = through_codec(frames, 6)
    encode(frames, tmp_path / "a.mp4", 6)
    assert (left == everything(tmp_path / "a.mp4")).all()
    assert left.shape == frames.shape and 0 < np.abs(left.astype(int) - frames).mean() < 20
    grey = np.full((4, 16, 16, 3), 128, np.uint8)  # little is lost where there is little to lose
    assert np.abs(through_codec(grey, 6).astype(int) - 128).max() <= 6


def test_a_window_has_the_frames_and_the_actions_of_its_lines(tmp_path):
    path = toys.recording(tmp_path, count=40)
    window = Recording(path).window(7, 5, SMALL)
    raw = toys.steps(40)
    expected = [vpt.columns(vpt.from_recording(raw[i])) for i in (8, 9, 10, 11)]  # line i leads to frame i
    assert (window.actions == np.stack(expected)).all() and len({tuple(row) for row in expected}) > 1
    assert window.degrees.tolist() == [[int(raw[i]["mouse"][a] * 0.15) for a in ("dy", "dx")] for i in (8, 9, 10, 11)]
    assert (window.frames == resize(torch.from_numpy(everything(path)[7:12]), *SMALL).numpy()).all()
    late = Recording(path, lag=1).window(7, 5, SMALL)
    assert (late.actions[1:] == window.actions[:-1]).all() and (late.frames == window.frames).all()
    spec("minecraft").check(window.actions)
    assert window.id == "clip_0/7"


def test_the_default_size_is_that_of_the_papers(tmp_path):
    assert Recording(toys.recording(tmp_path, count=4)).window(0, 3).frames.shape == (3, 224, 384, 3)


def test_attack_that_is_stuck_and_the_scroll_wheel_are_repaired():
    raw = toys.steps(5)
    for index, step in enumerate(raw):
        step["mouse"].update(buttons=[0], newButtons=[0] if index in (0, 3) else [])
        step["keyboard"]["keys"] = []
        step["hotbar"] = 2 if index >= 2 else 0
    fixed = [vpt.from_recording(step) for step in repaired(raw)]
    assert [step["attack"] for step in fixed] == [0, 0, 0, 1, 1]
    assert [step["hotbar.3"] for step in fixed] == [0, 0, 1, 0, 0]
    assert raw[0]["mouse"]["buttons"] == [0]  # what was given is left alone


def test_menus_and_standstill_are_filtered(tmp_path):
    toys.recording(tmp_path, "move_0", 60, height=16, width=32, gui=range(20, 60))
    toys.recording(tmp_path, "still_1", 60, height=16, width=32, still=True)
    prompts = training_prompts(tmp_path, 4, np.random.default_rng(0), frames=6, size=(16, 32))
    starts = [int(name.split("/")[1]) for name in prompts.ids]
    assert all(name.startswith("move_0/") for name in prompts.ids) and len(set(starts)) == 4
    assert max(starts) <= 14 and prompts.truth.shape == (4, 6, 16, 32, 3) and prompts.actions.shape == (4, 5, 11)
    for path in tmp_path.glob("move_0.*"):
        path.unlink()
    with pytest.raises(InputError, match="gave 0 windows without menus and standstill; 1 were asked for"):
        training_prompts(tmp_path, 1, np.random.default_rng(0), frames=6, size=(16, 32))


def test_mineworlds_validation_folder(tmp_path):
    """Names sort by number, lines are action dictionaries with the camera as text or list."""
    for number in (10, 9):
        toys.recording(tmp_path, f"val_{number}", 16, seed=number, height=16, width=32)
        raw = [vpt.from_recording(step) for step in toys.steps(16, seed=number)]
        lines = [json.dumps(a) if i % 2 else repr({**a, "camera": np.array(a["camera"])}) for i, a in enumerate(raw)]
        (tmp_path / f"val_{number}.jsonl").write_text("\n".join(lines))
    assert [r.video.stem for r in recordings(tmp_path)] == ["val_9", "val_10"]
    prompts = validation_prompts(tmp_path, size=(16, 32))
    assert prompts.ids == ("val_9/0", "val_10/0") and prompts.prefix.shape == (2, 1, 16, 32, 3)
    raw = toys.steps(16, seed=9)
    assert (prompts.actions[0] == [vpt.columns(vpt.from_recording(step)) for step in raw[1:]]).all()
    assert len(validation_prompts(tmp_path, clips=1, size=(16, 32))) == 1


def test_bad_files_are_one_sentence(tmp_path):
    path = toys.recording(tmp_path, count=10)
    with pytest.raises(InputError, match="10 lines; 16 frames from frame 0"):
        Recording(path).window()
    path.with_suffix(".jsonl").write_text(path.with_suffix(".jsonl").read_text() * 2)
    with pytest.raises(InputError, match="ends after frame 9; frame 15 was needed"):
        Recording(path).window()
    path.write_bytes(b"no video at all")
    with pytest.raises(InputError, match="no video that can be read"):
        Recording(path).window(0, 4)
    path.with_suffix(".jsonl").unlink()
    with pytest.raises(InputError, match="an mp4 and a jsonl file of one name"):
        Recording(path)
    with pytest.raises(InputError, match="there is no mp4 in the folder"):
        recordings(tmp_path / "nowhere")


def damage(path, kind: str) -> None:
    """What was found in real folders."""
    jsonl = path.with_suffix(".jsonl")
    lines = jsonl.read_text().splitlines()
    step = json.loads(lines[5])
    if kind == "last line":
        jsonl.write_text("\n".join([*lines[:-1], lines[-1][:20]]))
    elif kind == "encoding":
        jsonl.write_bytes(jsonl.read_bytes() + b'{"a": "\xff"}\n')
    elif kind == "no mouse":
        del step["mouse"]
        jsonl.write_text("\n".join([*lines[:5], json.dumps(step), *lines[6:]]))
    elif kind == "mouse of text":
        step["mouse"]["dx"] = "far"
        jsonl.write_text("\n".join([*lines[:5], json.dumps(step), *lines[6:]]))
    elif kind == "more lines than frames":
        jsonl.write_text("\n".join(lines * 8))
    elif kind == "video":
        path.write_bytes(b"no video")
    elif kind == "no jsonl":
        jsonl.unlink()


@pytest.mark.parametrize(
    "kind", ["last line", "encoding", "no mouse", "mouse of text", "more lines than frames", "video", "no jsonl"]
)
def test_a_damaged_recording_costs_training_one_line_and_stops_evaluation(tmp_path, capsys, kind: str):
    for number in range(2):
        toys.recording(tmp_path, f"clip_{number}", seed=number)
    bad = toys.recording(tmp_path, "clip_2", seed=2)
    damage(bad, kind)
    found = training_prompts(tmp_path, 6, np.random.default_rng(0), frames=8, size=SMALL)
    said = capsys.readouterr().err.splitlines()
    assert len(found) == 6
    assert [line.startswith("warning: ") and "clip_2" in line for line in said[:-1]] == [True]
    assert said[-1] == f"warning: 1 recordings of {str(tmp_path)!r} are damaged and were left out"
    if kind != "more lines than frames":  # its first frames are whole
        with pytest.raises(InputError, match="clip_2"):
            validation_prompts(tmp_path, frames=8, size=SMALL)
    bad.unlink()
    bad.with_suffix(".jsonl").unlink(missing_ok=True)
    training_prompts(tmp_path, 6, np.random.default_rng(0), frames=8, size=SMALL)
    assert capsys.readouterr().err == ""


def test_harmless_quirks_damage_nothing(tmp_path):
    """A line break of another kind inside a text, and a hotbar that is not known: the repairs still act."""
    raw = toys.steps(20)
    raw[0]["mouse"]["newButtons"] = [0]
    for step in raw:
        step["mouse"]["buttons"] = [0]
    raw[4]["hotbar"], raw[7]["keyboard"]["chars"] = None, "a\u0085b\u2028c"
    path = tmp_path / "clip_0.jsonl"
    toys.recording(tmp_path, raw=raw, count=20)
    path.write_text("".join(json.dumps(step, ensure_ascii=False) + "\n" for step in raw), encoding="utf-8")
    recording = Recording(tmp_path / "clip_0.mp4")
    assert len(recording) == 20
    assert [step["attack"] for step in recording.steps[0]] == [0] * 20  # stuck from the first step on, in all of them
