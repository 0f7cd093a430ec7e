"""A foreign model behind a wall: `Guest` has the one method of a model, and runs the code elsewhere.

- `Guest(name, suite, device)`: "package.module:Class" in a process of its own, one per call.

The process gets first frames, actions and noise seeds, and returns frames; judging happens here, where nothing of theirs is
imported. It has no network where the system lets an ordinary program give it up (Linux namespaces), and limits on memory, time
and on what it may write. It is a wall against what a file names, not against a user who can read this machine's disk: world
seeds of public suites can be computed by anybody who has the library.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from worldgym.errors import InputError
from worldgym.eval.results.suite import Suite

PROGRAM = Path(__file__).parent / "guest.py"
LONGEST_LINE = 4096  # bytes of the answer's first line
KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "OMP_NUM_THREADS", "ATEN_CPU_CAPABILITY", "CUDA_VISIBLE_DEVICES", "LD_LIBRARY_PATH")


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a foreign model may use."""

    seconds: float = 900.0
    """Per call, by the clock and of the processor."""
    memory: int = 24 << 30
    """Bytes of address space; not set where the model runs on CUDA, which maps far more than it uses."""
    spare: int = 1 << 20
    """Bytes that any file which it writes may hold beyond the frames that are asked for."""


class Guest:
    """A model that runs in a process of its own.

    Args:
        name: "package.module:attribute".
        suite: whose sampling options it takes.
        device: where it runs.
        limits: what it may use.

    Raises:
        InputError: it cannot be imported or built, or takes actions of another spec.
    """

    def __init__(self, name: str, suite: Suite, device: str = "cpu", limits: Limits | None = None):
        self.name, self.suite, self.device, self.limits = name, suite, device, limits or Limits()
        said, _ = self._call({}, 0)
        self.kind = said.get("kind", "model")
        if not isinstance(self.kind, str) or len(self.kind) > 100:
            raise InputError(f"{name!r} has no kind of model that can be written down")
        if said.get("spec") not in ("", None, suite.spec):
            raise InputError(f"model {name!r} takes other actions than spec {suite.spec!r} of suite {suite.name!r}")
        self.alone = said.get("alone") is True

    def generate(self, prefix: np.ndarray, actions: np.ndarray, seeds: Sequence[int], **_: Any) -> np.ndarray:
        """See `worldgym.eval.protocols.entries.Generator`; sampling options are chosen in the process, by the model's kind.

        Raises:
            InputError: it raised, hung, died, or answered with something else than frames of the right shape.
        """
        shape = (len(prefix), actions.shape[1] + 1, *prefix.shape[2:])
        arrays = {"prefix": prefix, "actions": actions, "seeds": np.array([int(seed) for seed in seeds], np.uint64)}
        said, content = self._call(arrays, int(np.prod(shape)))
        if said.get("shape") != list(shape) or said.get("dtype") != "uint8" or len(content) != np.prod(shape):
            got = f"{str(said.get('dtype'))[:20]} {str(said.get('shape'))[:60]}"
            raise InputError(f"model {self.name!r} returned {got}, but uint8 {list(shape)} (B, T, H, W, 3) is needed")
        return np.frombuffer(content, np.uint8).reshape(shape)

    def _call(self, arrays: dict[str, np.ndarray], size: int) -> tuple[dict[str, Any], bytes]:
        with tempfile.TemporaryFile() as question, tempfile.TemporaryFile() as answer:
            question.write(json.dumps(self._about(arrays, size)).encode() + b"\n")
            for array in arrays.values():
                np.save(question, array)
            question.flush()
            question.seek(0)
            status = self._run(question, answer)
            answer.seek(0)
            line, content = answer.readline(LONGEST_LINE), answer.read(size + 1)
        return self._said(line, status), content

    def _about(self, arrays: dict[str, np.ndarray], size: int) -> dict[str, Any]:
        seconds = int(self.limits.seconds) + 1
        limits = {"RLIMIT_FSIZE": size + self.limits.spare, "RLIMIT_CPU": seconds * (os.cpu_count() or 1), "RLIMIT_CORE": 0}
        if not self.device.startswith("cuda"):
            limits["RLIMIT_AS"] = self.limits.memory
        path = [os.path.abspath(entry or ".") for entry in [*sys.path, os.getcwd()]]
        return {
            **{"name": self.name, "device": self.device, "limits": limits, "path": list(dict.fromkeys(path))},
            **{"sampling": {kind: dict(options) for kind, options in self.suite.sampling.items()}, "arrays": list(arrays)},
        }

    def _run(self, question: IO[bytes], answer: IO[bytes]) -> int | str:
        """Its exit status, or what was wrong with it."""
        environment = {name: os.environ[name] for name in KEPT if name in os.environ}
        process = subprocess.Popen(
            [sys.executable, str(PROGRAM)],
            **{"stdin": question, "stdout": answer, "stderr": subprocess.DEVNULL},
            **{"env": environment, "start_new_session": True, "close_fds": True},
        )
        try:
            return process.wait(self.limits.seconds)
        except subprocess.TimeoutExpired:
            return f"did not answer within {self.limits.seconds:.0f} s"
        finally:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _said(self, line: bytes, status: int | str) -> dict[str, Any]:
        try:
            said = json.loads(line)
            if not isinstance(said, dict):
                raise ValueError
        except (ValueError, RecursionError):
            reason = status if isinstance(status, str) else f"ended without an answer (status {status})"
            raise InputError(f"model {self.name!r} {reason}") from None
        if "error" in said:
            text = " ".join(str(said["error"]).split())[:300]
            raise InputError(f"model {self.name!r} raised {text}")
        return said
