"""Two commands with one output folder: the second is refused while the first lives, and never after."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from worldgym.errors import InputError
from worldgym.files import claimed

ROOT = Path(__file__).parents[1]
HOLD = """
import sys
from worldgym.files import claimed
with claimed(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""


def start(words: list[str], **more) -> subprocess.Popen:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([sys.executable, *words], text=True, env=environment, **pipes)


@pytest.fixture
def holder(tmp_path):
    """A process that holds `tmp_path / "out"` and the partial folder of a recording."""

    def hold(name: str) -> subprocess.Popen:
        process = start(["-c", HOLD, str(tmp_path / name)])
        assert process.stdout.readline() == "held\n"
        running.append(process)
        return process

    running: list[subprocess.Popen] = []
    yield hold
    for process in running:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("folder", "words"),
    [
        ("out.partial", ["-m", "worldgym.record", "--clips", "2", "--frames", "2", "--workers", "1"]),
        ("out", ["-m", "worldgym.train", "grpo", "--preset", "rlir-token-nano", "--iterations", "1"]),
        ("out", ["-m", "worldgym.eval", "--models", "last-frame", "--clips", "2"]),
    ],
    ids=["record", "train", "eval"],
)
def test_a_second_command_is_refused_with_one_sentence(tmp_path, holder, folder: str, words: list[str]):
    holder(folder)
    found = start([*words, "--out", str(tmp_path / "out")])
    _, said = found.communicate(timeout=100)
    assert found.returncode == 2 and "another command is writing to" in said and "Traceback" not in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGINT])
def test_the_claim_dies_with_its_holder(tmp_path, holder, number: int):
    process = holder("out")
    with pytest.raises(InputError, match="another command is writing to"), claimed(tmp_path / "out"):
        pass
    process.send_signal(number)
    process.wait(20)
    with claimed(tmp_path / "out"):
        assert list((tmp_path / "out").iterdir()) == []
    with claimed(tmp_path / "out"):  # and with its block
        pass


def test_a_launch_holds_it_once(tmp_path, monkeypatch):
    with claimed(tmp_path):
        for rank in ("1", "2"):
            monkeypatch.setenv("RANK", rank)
            with claimed(tmp_path):
                pass
        monkeypatch.setenv("RANK", "0")
        with pytest.raises(InputError), claimed(tmp_path):
            pass
