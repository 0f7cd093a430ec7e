"""What a run tells: TensorBoard holds every row that log.jsonl holds, also after a kill or a resume; --wandb is checked."""

import importlib.util
import subprocess
import sys

import pytest

from worldgym.errors import InputError
from worldgym.runs import report
from worldgym.runs.report import Report, read_log

KILLED = """
import os, signal, sys
from pathlib import Path
from worldgym.runs.report import Report

report = Report(Path(sys.argv[1]), "toy", 0, 3)
for step in (1, 2, 3):
    report.step(step, 3, {"loss": 1.0 / step, "lr": 1.0}, float(step))
os.kill(os.getpid(), signal.SIGKILL)
"""


def curve(folder) -> list[int]:
    """Steps of the loss that TensorBoard shows."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder / "tensorboard")).Reload()
    return [event.step for event in events.Scalars("train/loss")]


def tell(folder, first: int, *steps: int) -> None:
    told = Report(folder, "toy", first, 9)
    for step in steps:
        told.step(step, 9, {"loss": 1.0, "lr": 1.0}, float(step))
    told.close()


def test_a_kill_loses_no_step_that_was_told(tmp_path):
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], capture_output=True)
    assert killed.returncode == -9, killed.stderr
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == curve(tmp_path) == [1, 2, 3]


def test_a_resumed_run_keeps_the_step_it_goes_on_from(tmp_path):
    """Told up to 4, saved at 3: 4 is told again, 3 stays."""
    tell(tmp_path, 0, 1, 2, 3, 4)
    tell(tmp_path, 3, 4, 5)
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == curve(tmp_path) == [1, 2, 3, 4, 5]


def test_a_run_from_the_beginning_drops_what_was_told_before(tmp_path):
    """Killed before its first checkpoint."""
    tell(tmp_path, 0, 1, 2, 3)
    tell(tmp_path, 0, 1)
    assert [row["step"] for row in read_log(tmp_path / "log.jsonl")] == curve(tmp_path) == [1]


def test_a_missing_wandb_is_one_sentence(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "wandb" else find(name, *more))
    report.check_wandb(None)
    with pytest.raises(InputError, match="--wandb needs the package wandb: pip install wandb"):
        report.check_wandb("project")
