"""Made-up inputs to the gate, to votes and to command lines: no traceback, nothing written elsewhere, short sentences."""

import contextlib
import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from attack_toys import SUITE, read, write

from worldgym.arena.votes import Votes
from worldgym.errors import InputError
from worldgym.leaderboard import __main__, tables
from worldgym.leaderboard import entries as boards_of
from worldgym.leaderboard.check import check

LONGEST = 400
VALUES = [
    None,
    True,
    -1,
    0,
    1e308,
    -1e-320,
    10**40,
    "",
    "\u202e",
    "a" * 5000,
    "../../x",
    [],
    {},
    [[[]]],
    {"a": {"a": {}}},
    "\0",
    "é",
]
WORDS = [
    "--",
    "-",
    "",
    "--folder",
    "--sample",
    "-1",
    "1e9",
    "--changed-since",
    "--upload-pack=x",
    "--models",
    "a=b",
    "=",
    "\u202e",
]
WORDS += [
    "add",
    "check",
    "tables",
    "build",
    "round",
    "/dev/null",
    "..",
    "nowhere",
    "--to",
    "--replace",
    "--new",
    "--deadline",
    "tomorrow",
]
WORDS += [
    "--enter",
    "a/b",
    "--reveal",
    "--verify",
    "--suite",
    "reward-doom-rooms-v1",
    "--clips",
    "0",
    "--lists",
    "--all-metrics",
    "\x7f",
]


def places(value, path=()):
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, part in inner:
        yield from places(part, (*path, key))


def changed(found, rng):
    """One value anywhere is another one, or gone, or there twice."""
    found = json.loads(json.dumps(found))
    every = [path for path in places(found) if path]
    *way, last = every[rng.integers(len(every))]
    inside = found
    for key in way:
        inside = inside[key]
    kind = rng.integers(3)
    if kind == 0:
        del inside[last]
    elif kind == 1 and isinstance(inside, list):
        inside.insert(0, inside[last])
    else:
        inside[last] = VALUES[rng.integers(len(VALUES))]
    return json.dumps(found).encode()


def damaged(content, rng):
    """Bytes gone, doubled, flipped, or cut off."""
    a, b = sorted(rng.integers(len(content), size=2).tolist())
    kind = rng.integers(4)
    if kind == 0:
        return content[:a]
    if kind == 1:
        return content[:a] + content[b:]
    if kind == 2:
        return content[:b] + content[a:]
    flipped = bytearray(content)
    for place in rng.integers(len(content), size=5):
        flipped[place] = rng.integers(256)
    return bytes(flipped)


def snapshot(folder):
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def result_files(boards, turns, rng):
    for entry in ("toy--good", "last-frame", "truth", "shuffled"):
        for file in (boards / SUITE / entry).iterdir():
            file.unlink()
        (boards / SUITE / entry).rmdir()
    found = read(boards, "toy--sloppy")
    path, content = boards / SUITE / "toy--sloppy" / "0.json", json.dumps(found).encode()
    outside = snapshot(boards.parent)
    for turn in range(turns):
        path.write_bytes(changed(found, rng) if turn % 2 else damaged(content, rng))
        problems = check(boards)
        assert all(len(problem) <= LONGEST and "\n" not in problem for problem in problems)
        if turn % 20 == 0:
            with contextlib.suppress(InputError):
                tables.markdown(boards_of.load(boards))
    write(boards, found)
    assert snapshot(boards.parent).keys() == outside.keys()


def votes(folder, turns, rng):
    path = folder / "votes.jsonl"
    for turn in range(turns):
        lines = [json.dumps({"clip": f"c{i}", "question": "quality", "answer": "a"}) for i in range(4)]
        vote = {"clip": "c", "question": "actions", "answer": "b"}
        lines[turn % 4] = changed([vote], rng).decode()[1:-1]
        content = "\n".join(lines).encode()
        path.write_bytes(damaged(content, rng) if turn % 2 else content)
        stored = Votes(path)
        try:
            stored.read()
            stored.add("after", "quality", "b")
            assert stored.read()["after", "quality"] == "b"
        except InputError as error:
            assert len(str(error)) <= LONGEST and "\n" not in str(error)


def options(folder, turns, rng, monkeypatch):
    monkeypatch.chdir(folder)
    before = snapshot(folder)
    for _ in range(turns):
        words = [WORDS[i] for i in rng.integers(len(WORDS), size=rng.integers(1, 5))]
        monkeypatch.setattr(sys, "argv", ["leaderboard", *words])
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), contextlib.suppress(SystemExit):
            __main__.main()
        assert "Traceback" not in err.getvalue()
        assert all(len(line) <= LONGEST for line in err.getvalue().splitlines() if line.startswith("error:"))
    made = snapshot(folder).keys() - before.keys()
    assert all(path.is_relative_to(folder) and path.name == "index.html" for path in made), made  # `build` writes its page


def run(boards, tmp_path, monkeypatch, turns):
    rng = np.random.default_rng(0)
    place = tmp_path / "place"
    place.mkdir()
    result_files(boards, 4 * turns // 10, rng)
    votes(tmp_path, 3 * turns // 10, rng)
    options(place, 3 * turns // 10, rng, monkeypatch)


def test_a_thousand(boards, tmp_path, monkeypatch):
    run(boards, tmp_path, monkeypatch, 1000)


@pytest.mark.long
def test_ten_thousand(boards, tmp_path, monkeypatch):
    run(boards, tmp_path, monkeypatch, 10_000)


@pytest.mark.long
def test_twenty_spawned_commands(tmp_path):
    """The programs themselves, in an empty folder."""
    rng = np.random.default_rng(1)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    for turn in range(20):
        words = [WORDS[i] for i in rng.integers(len(WORDS), size=rng.integers(1, 5))]
        words = [word for word in words if "\0" not in word]
        name = ("worldgym.leaderboard", "worldgym.arena")[turn % 2]
        command = [sys.executable, "-m", name, *words]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env=environment)
        assert "Traceback" not in done.stderr and done.returncode in (0, 1, 2), done.stderr
        assert all(len(line) <= LONGEST for line in done.stderr.splitlines() if line.startswith("error:"))
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} <= {"index.html"}
