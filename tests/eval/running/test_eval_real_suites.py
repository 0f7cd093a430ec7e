"""Every bundled suite with its real game, judges and models: twice the same file, 1 process = 2, killed = left alone."""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldgym.eval.results import suite as suites
from worldgym.eval.running.parts import FOLDER
from worldgym.files import sha256

ROOT = Path(__file__).parents[3]
SIZES = {  # clips, and clips at once: few, but enough for every cell and donor and for two processes
    "action-following-doom-rooms-v1": (3, 2),
    "action-following-doom-rooms-v2": (3, 2),
    "interaction-following-doom-rooms-v1": (12, 4),
    "interaction-following-doom-rooms-v2": (12, 4),
    "memory-drift-doom-rooms-v1": (2, 1),
    "reward-doom-rooms-v1": (2, 1),
    "action-following-minecraft-v1": (3, 2),  # recordings and the inverse dynamics model are made up
}
PATIENCE = 1800  # seconds
PROGRAM = """
from worldgym.eval import __main__, provenance
provenance.commit = lambda: None  # somebody may commit while this runs
__main__.main()
"""


class Runs:
    """One suite in a folder, every run in a process of its own."""

    def __init__(self, folder: Path, suite: str):
        self.folder, self.suite = folder, suite
        (folder / "program.py").write_text(PROGRAM)

    def start(self, out: str, **environment: str) -> subprocess.Popen:
        (self.folder / out).mkdir(exist_ok=True)  # the same command from another folder
        clips, batch = map(str, SIZES[self.suite])
        few = ["--clips", clips, "--batch", batch]
        arguments = ["--suite", self.suite, *few, "--device", "cpu", "--out", "out"]
        inherited = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE")}
        own = {
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "WORLDGYM_PUBLISHED": str(self.folder / "published"),
        }
        return subprocess.Popen(
            [sys.executable, str(self.folder / "program.py"), *arguments],
            cwd=self.folder / out,
            env={**inherited, **own, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def finish(self, *processes: subprocess.Popen) -> None:
        for process in processes:
            output = process.communicate(timeout=PATIENCE)[0].decode()
            assert process.returncode == 0, output[-3000:]

    def pieces(self, out: str) -> int:
        return len(list((self.folder / out / "out").glob(f"{FOLDER}/*/*.json")))

    def results(self, out: str) -> dict[str, Any]:
        """Every JSON file of a run but for time, and the hash of every film and picture."""
        folder = self.folder / out / "out"
        assert not (folder / FOLDER).exists()
        found = {str(path.relative_to(folder)): json.loads(path.read_text()) for path in folder.rglob("*.json")}
        others = {str(p.relative_to(folder)): sha256(p) for p in folder.rglob("*") if p.is_file() and p.suffix != ".json"}
        return {name: {key: value for key, value in one.items() if key != "time"} for name, one in found.items()} | others

    def kill(self, out: str, pieces: int, slowest: float, random: np.random.Generator) -> int | None:
        """Start, and kill at a random moment of what is left of so many pieces; after how many, None if it was over before."""
        process, wanted = self.start(out), int(random.integers(min(self.pieces(out), pieces - 1), pieces))
        while self.pieces(out) < wanted and process.poll() is None:
            time.sleep(0.01)
        time.sleep(random.uniform(0, slowest))
        made = self.pieces(out)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=PATIENCE)
        return made if process.returncode == -signal.SIGKILL else None


def differences(one: Any, two: Any, at: str = "") -> list[str]:
    """Every place where two JSON values differ."""
    if isinstance(one, dict) and isinstance(two, dict):
        pairs = [(key, one.get(key, "absent"), two.get(key, "absent")) for key in sorted(one.keys() | two.keys())]
    elif isinstance(one, list) and isinstance(two, list):
        pairs = [(index, *pair) for index, pair in enumerate(itertools.zip_longest(one, two, fillvalue="absent"))]
    else:
        return [] if one == two else [f"{at}: {one!r} is not {two!r}"[:300]]
    return [place for key, a, b in pairs for place in differences(a, b, f"{at}/{key}")]


def test_differences_are_found():
    one = {"a": [1, {"b": None}], "c": 0.1, "d": None}
    assert differences(one, json.loads(json.dumps(one))) == []
    assert differences(one, {"a": [1, {"b": 0}, None], "c": 0.1 + 2**-56}) == [
        "/a/1/b: None is not 0",
        "/a/2: 'absent' is not None",
        "/c: 0.1 is not 0.10000000000000002",
        "/d: None is not 'absent'",
    ]
    assert set(SIZES) == set(suites.names())


@pytest.fixture
def runs(request, tmp_path):
    """The runs of a suite; published files of the Minecraft suite in small."""
    if "minecraft" in request.param:
        import minecraft_toys

        (tmp_path / "published").mkdir()
        minecraft_toys.validation(tmp_path / "published" / "mineworld-validation")
        minecraft_toys.judge(tmp_path / "published")
    return Runs(tmp_path, request.param)


@pytest.mark.long
@pytest.mark.parametrize("runs", SIZES, indirect=True)
def test_every_suite_gives_one_file(runs):
    """With the suite's own entries: two runs, two processes, and one run that is killed three times."""
    began = time.perf_counter()
    runs.finish(runs.start("first"))
    seconds, wanted = time.perf_counter() - began, runs.results("first")
    entries = [name for name in wanted if name.endswith("/0.json")]
    assert len(entries) >= 3 and all(wanted[name]["clips"]["failed"] == 0 for name in entries)

    runs.finish(runs.start("second"))
    assert differences(wanted, runs.results("second")) == []

    runs.finish(*(runs.start("shared", RANK=str(rank), WORLD_SIZE="2") for rank in (1, 0)))
    assert differences(wanted, runs.results("shared")) == []

    clips, batch = SIZES[runs.suite]
    pieces = len(entries) * -(-clips // batch)
    random, kills = np.random.default_rng(), []  # really any moment: this must hold at all of them
    while len(kills) < 3:
        made = runs.kill("killed", pieces, 0.5 * seconds / pieces, random)
        kills += [made] if made is not None else []
    print(f"{runs.suite}: {seconds:.0f} s alone; killed after {kills} of {pieces} pieces")
    runs.finish(runs.start("killed"))
    assert differences(wanted, runs.results("killed")) == []
