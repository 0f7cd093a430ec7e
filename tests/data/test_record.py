"""Recording: any number of workers, killed or not, the same bytes; what a store refuses."""

import errno
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from worldgym.data.clips import ARRAYS, ClipStore, content_hash
from worldgym.data.record import record, world_seeds
from worldgym.errors import InputError, exit_with_sentence

CLIPS, FRAMES = 66, 5
PINNED = "497775f0b1efbd9e68a760eca998c20ac232e8ba363a600822fc5b75253344e8"


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "clips"
    record("doom-rooms", CLIPS, 1, str(folder), workers=1, frames=FRAMES)
    return ClipStore(folder)


def command(out, workers=2):
    arguments = ["--clips", CLIPS, "--seed", 1, "--frames", FRAMES, "--workers", workers, "--out", out]
    return [sys.executable, "-m", "worldgym.record", *map(str, arguments)]


def test_shapes_and_manifest(store):
    assert store.frames.shape == (CLIPS, FRAMES, 56, 96, 3) and store.actions.shape == (CLIPS, FRAMES - 1, 8)
    assert store.poses.shape == (CLIPS, FRAMES, 6)
    assert list(store.seeds) == world_seeds(1, CLIPS) == list(range(10_000_000, 10_000_000 + CLIPS))
    assert store.manifest["versions"]["vizdoom"] and store.manifest["sha256"] == store.sha256
    assert content_hash({name: getattr(store, name) for name in ARRAYS}) == store.sha256


def test_the_same_bytes_on_any_day(store):
    """Recorded when this was written; another version of the engine may play differently, and says so here."""
    if store.manifest["versions"]["vizdoom"] != "1.3.2":
        pytest.skip("the pinned hash is of vizdoom 1.3.2")
    assert store.sha256 == PINNED


def test_two_workers_make_the_same_bytes(store, tmp_path):
    assert record("doom-rooms", CLIPS, 1, str(tmp_path / "two"), workers=2, frames=FRAMES) == store.sha256


def test_another_seed_makes_other_bytes(store, tmp_path):
    assert record("doom-rooms", CLIPS, 2, str(tmp_path / "other"), workers=1, frames=FRAMES) != store.sha256


def kill_and_finish(out, wait):
    process = subprocess.Popen(command(out), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    time.sleep(wait)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not out.exists():
        with pytest.raises(InputError, match="no clip store"):
            ClipStore(out)  # nothing half-written opens
        subprocess.run(command(out, workers=1), check=True, capture_output=True)
    return ClipStore(out).sha256


def test_killed_and_resumed_equals_uninterrupted(store, tmp_path):
    assert kill_and_finish(tmp_path / "killed", 3.0) == store.sha256


@pytest.mark.long
def test_killed_ten_times(store, tmp_path):
    for attempt in range(10):
        assert kill_and_finish(tmp_path / str(attempt), np.random.default_rng(attempt).uniform(0.5, 6)) == store.sha256


def test_progress_of_other_arguments_is_not_used(store, tmp_path):
    partial = tmp_path / "clips.partial"
    partial.mkdir()
    (partial / "progress.json").write_text(json.dumps({"recipe": {"world": "other"}, "done": 3}))
    assert record("doom-rooms", CLIPS, 1, str(tmp_path / "clips"), frames=FRAMES) == store.sha256


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"world": "doom-room"}, "did you mean 'doom-rooms'"),
        ({"seed": 90}, "0 to 89"),
        ({"clips": 0}, "--clips is 0"),
        ({"frames": 1}, "at least 2 frames"),
        ({"workers": 0}, "1 worker"),
    ],
)
def test_bad_arguments_are_one_sentence_and_leave_nothing(tmp_path, change, words):
    arguments = {"world": "doom-rooms", "clips": 2, "seed": 0, "out": str(tmp_path / "out"), "workers": 1, "frames": 4}
    with pytest.raises(InputError, match=words):
        record(**{**arguments, **change})
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_not_overwritten(store):
    with pytest.raises(InputError, match="exists already"):
        record("doom-rooms", 2, 0, str(store.folder))


def test_the_command_says_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    run = subprocess.run(command(tmp_path / "file" / "below"), capture_output=True, text=True)
    assert run.returncode == 2 and run.stderr.strip().startswith("error: ") and "Traceback" not in run.stderr


def test_a_full_disk_is_one_sentence(tmp_path, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(SystemExit) as stop:
        exit_with_sentence(record)("doom-rooms", 2, 0, str(tmp_path / "out"), frames=4)
    assert stop.value.code == 2 and "error: the disk is full: could not write" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_damaged_store_is_one_sentence(store, tmp_path):
    for name in ["manifest.json", *[f"{a}.npy" for a in ARRAYS]]:
        (tmp_path / name).write_bytes((store.folder / name).read_bytes())
    whole = (tmp_path / "frames.npy").read_bytes()
    (tmp_path / "frames.npy").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match="damaged: frames.npy"):
        ClipStore(tmp_path)
    with pytest.raises(InputError, match="no clip store"):
        ClipStore(tmp_path / "nowhere")
