"""Killed and resumed, shared over processes: the same file as one run that nobody touched."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from eval_toys import SUITE, Obedient, Toy, clips_of, entrant, suite_text

from worldgym.errors import InputError
from worldgym.eval.protocols import videos
from worldgym.eval.results import record
from worldgym.eval.running import parts
from worldgym.eval.running.parts import Parts, Piece, Worker
from worldgym.eval.running.runner import Run

TOYS = Path(__file__).parents[1]
PROGRAM = """
import sys, time
sys.path.insert(0, {here!r})
import eval_toys
from eval_toys import Obedient, PixelJudge, record
from worldgym.eval import __main__, entries, provenance
from worldgym.eval.protocols import action_following
from worldgym.models import zoo

class Slow(Obedient):
    def generate(self, prefix, actions, seeds, **options):
        time.sleep({sleep})
        return super().generate(prefix, actions, seeds, **options)

zoo.load = lambda name, device="cpu": PixelJudge() if "heldout" in name else Slow()
entries.weights = lambda name: "0" * 64
provenance.commit = lambda: None  # somebody may commit while this runs
action_following.record = record
__main__.main()
"""
ARGUMENTS = ["--suite", "toy-v1.toml", "--batch", "2", "--models", "toy/good", "last-frame", "--out", "out"]


@pytest.fixture
def toy(tmp_path):
    """A folder with the toy suite and the program."""
    (tmp_path / "toy-v1.toml").write_text(suite_text(6))
    return tmp_path


def start(folder, sleep=0.0, **environment):
    """The program in a process of its own."""
    (folder / "program.py").write_text(PROGRAM.format(here=str(TOYS), sleep=sleep))
    inherited = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
    own = {"PYTHONPATH": str(TOYS.parent.parent), "OMP_NUM_THREADS": "1", **environment}
    command = [sys.executable, "program.py", *ARGUMENTS]
    return subprocess.Popen(command, cwd=folder, env={**inherited, **own}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def finish(*processes):
    for process in processes:
        output = process.communicate(timeout=120)[0].decode()
        assert process.returncode == 0, output


def results(folder):
    """Every result file, but for time."""
    found = {path.parent.name: json.loads(path.read_text()) for path in (folder / "out").glob("*/0.json")}
    assert sorted(found) == ["last-frame", "shuffled", "toy--good", "truth"]
    return {name: {key: value for key, value in one.items() if key != "time"} for name, one in found.items()}


@pytest.mark.long
def test_killed_and_resumed_and_shared_equal_one_run(toy):
    """In real processes: killed when the slow model has made a piece, then resumed; two at once; and one left alone."""
    finish(start(toy))
    wanted = results(toy)
    (toy / "out").rename(toy / "whole")

    process, clock = start(toy, sleep=1.0), time.time()
    while (
        len(list((toy / "out").glob(".parts/*/*.json"))) < 7 and time.time() - clock < 100
    ):  # 3 truth, 3 shuffled, 1 of the model
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list((toy / "out").glob("*/0.json")), "killed too late to show anything"
    before = {path: path.stat().st_mtime_ns for path in (toy / "out").glob(".parts/*/*.json")}
    assert len(before) >= 7
    finish(start(toy))
    assert results(toy) == wanted
    assert not (toy / "out" / ".parts").exists()
    (toy / "out").rename(toy / "resumed")

    finish(*(start(toy, RANK=str(rank), WORLD_SIZE="2") for rank in (1, 0)))
    assert results(toy) == wanted
    time_of = json.loads((toy / "out" / "truth" / "0.json").read_text())["time"]
    assert time_of["processes"] == 2


def toy_run(folder, rank=0, world=1, model=None, batch=2, **identity):
    protocol, tasks = Toy(SUITE), Toy.with_donors(clips_of(6), 0, SUITE)
    protocol.load_judges()
    model = model or Obedient()
    run = Run(protocol, tasks, 0, batch, folder, identity, Worker(rank, world), shown=[1, 4])
    return run.entry(entrant("m", model)), model


@pytest.mark.parametrize("calls", [1, 2])
def test_interrupted_and_resumed_equals_one_run(tmp_path, calls):
    """Interrupted inside the model after so many pieces: those are kept, and only the rest is made."""

    class Interrupted(Obedient):
        def generate(self, prefix, actions, seeds, **options):
            if len(self.calls) == calls:
                raise KeyboardInterrupt
            return super().generate(prefix, actions, seeds, **options)

    whole, _ = toy_run(tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        toy_run(tmp_path / "cut", model=Interrupted())
    resumed, model = toy_run(tmp_path / "cut")
    assert len(model.calls) == 3 - calls
    assert resumed.rows == whole.rows and resumed.scores == whole.scores
    assert all((resumed.shown[clip] == whole.shown[clip]).all() for clip in (1, 4))


def test_each_process_makes_its_own_pieces_only(tmp_path):
    helper, second = toy_run(tmp_path, rank=1, world=2)
    assert helper is None and len(second.calls) == 1  # of pieces 0, 1, 2 the second
    answer, first = toy_run(tmp_path, rank=0, world=2)
    assert len(first.calls) == 2 and [row["id"] for row in answer.rows] == [f"toy/{i}/0" for i in range(6)]
    alone, _ = toy_run(tmp_path / "alone")
    assert (
        alone.rows == answer.rows and alone.scores == answer.scores and sorted(alone.shown) == sorted(answer.shown) == [1, 4]
    )
    assert all((alone.shown[clip] == answer.shown[clip]).all() for clip in (1, 4))


def test_finished_pieces_are_not_made_again_and_foreign_ones_not_taken(tmp_path):
    toy_run(tmp_path)
    assert toy_run(tmp_path)[1].calls == []
    assert len(toy_run(tmp_path, commit="another")[1].calls) == 3
    assert len(toy_run(tmp_path, batch=3)[1].calls) == 2


@pytest.mark.parametrize("damage", [b"", b"{", b'{"rows": []}', b"[]", b"\xff"])
def test_a_damaged_piece_is_made_again(tmp_path, damage):
    whole, _ = toy_run(tmp_path)
    path = next((tmp_path / parts.FOLDER).rglob("2.json"))
    path.write_bytes(damage)
    again, model = toy_run(tmp_path)
    assert len(model.calls) == 1 and again.rows == whole.rows


def test_a_dead_companion_is_noticed(tmp_path, monkeypatch):
    monkeypatch.setattr(parts, "PATIENCE", 0.1)
    with pytest.raises(InputError, match="no other process finished anything for 0 s"):
        toy_run(tmp_path, rank=0, world=2)


@pytest.mark.parametrize(("rank", "world"), [("2", "2"), ("x", "2"), ("0", "-1"), ("0", "0")])
def test_senseless_launcher_variables(monkeypatch, rank, world):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    with pytest.raises(InputError, match=re.escape(f"RANK={rank} and WORLD_SIZE={world}")):
        parts.worker()


def test_clips_of_different_length_are_never_in_one_piece(tmp_path):
    tasks = [*clips_of(3, frames=6), *clips_of(2, frames=4, seed=1), *clips_of(1, frames=6, seed=2)]
    tasks = [type(task)(f"{i}", task.prefix, task.actions, task.truth) for i, task in enumerate(tasks)]
    run = Run(Toy(SUITE), tasks, 0, 2, tmp_path, {})
    assert [list(piece) for piece in run.pieces()] == [[0, 1], [2], [3, 4], [5]]


@pytest.mark.parametrize("kind", ["webm", "mp4"])
def test_a_film_is_the_same_twice(tmp_path, kind):
    """Containers love dates and random identities."""
    stills = list(np.random.default_rng(0).integers(0, 256, (4, 16, 24, 3), np.uint8))
    for name in ("one", "two"):
        videos.encode(stills, 6.0, tmp_path / name, kind)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_pieces_leave_nothing_behind(tmp_path):
    place = Parts(tmp_path, {"a": 1})
    place.write(3, Piece([{"id": "x"}], 1.5, {7: np.zeros((2, 4, 4, 3), np.uint8)}))
    found = place.read(3)
    assert list(found.rows) == [{"id": "x"}] and found.seconds == 1.5 and list(found.shown) == [7]
    for half in (tmp_path / "picture.png.tmp-1", tmp_path / "truth" / "0.webm.tmp-1"):  # as a killed run leaves them
        half.parent.mkdir(exist_ok=True)
        half.touch()
    parts.remove(tmp_path)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()] and not (tmp_path / ".parts").exists()
    assert record.SCHEMA == 2
