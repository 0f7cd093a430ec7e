"""Two roads, one number: rows per backward pass and processes (gloo) change nothing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import rank_program
import torch

PROGRAM = Path(__file__).parent / "rank_program.py"


def launch(out: Path, task: str) -> subprocess.CompletedProcess:
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone"]
    paths = {"PYTHONPATH": os.pathsep.join([str(PROGRAM.parents[2]), os.environ.get("PYTHONPATH", "")])}
    environment = {**os.environ, **paths, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    return subprocess.run([*words, str(PROGRAM), str(out), task], capture_output=True, text=True, env=environment, timeout=400)


def test_rows_per_pass_and_processes_give_one_loss_and_one_gradient(tmp_path):
    """8 rows at once = one by one = 2 processes x 4 (DDP and FSDP), to 1e-5 of the gradient's norm; and FSDP resumes."""
    done = launch(tmp_path / "found", "sameness")
    assert done.returncode == 0, done.stderr[-3000:]
    two = torch.load(tmp_path / "found", weights_only=True)
    whole, single = rank_program.gradients(micro=8), rank_program.gradients(micro=1)
    for name, (loss, gradient) in whole.items():
        assert gradient.norm() > 0
        for other_loss, other in (single[name], two["copied"][name], two["sharded"][name]):
            assert abs(other_loss - loss) < 1e-5, name
            assert (other - gradient).norm() < 1e-5 * gradient.norm(), name


def test_a_lost_process_is_one_sentence(tmp_path):
    done = launch(tmp_path / "none", "lonely")
    assert done.returncode != 0
    assert "error: process 0 of 2 lost another one" in done.stderr, done.stderr[-3000:]
    assert "the last checkpoint is good" in done.stderr


@pytest.fixture(autouse=True, scope="module")
def alone():
    assert "WORLD_SIZE" not in os.environ
    yield
