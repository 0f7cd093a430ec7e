"""The card beside a model file: what it is, how it was made, how good it is.

- `write(path, …)`: the card of a finished run. `portable(text)`: a command without this machine's folders.
- `commit()`, `hardware()`, `versions()`: facts about here and now.
"""

from __future__ import annotations

import os
import platform
import shlex
import subprocess
from importlib import metadata
from pathlib import Path

import torch

import worldgym
from worldgym.files import sha256, write_json
from worldgym.pretrain.config import RunConfig
from worldgym.pretrain.state import RunState
from worldgym.pretrain.task import Task

PACKAGES = ("torch", "numpy", "vizdoom", "safetensors", "scikit-learn")


def write(path: Path, config: RunConfig, task: Task, run: RunState, scores: dict[str, float], command: str) -> None:
    """Write `path` with the ending .json, the card of the model file `path`."""
    device = next(run.module.parameters()).device
    facts = {
        "name": f"{config.learner}-{config.preset}",
        "kind": task.kind,
        "config": vars(run.module.config),
        "architecture": (type(run.module).__doc__ or "").strip().splitlines()[0],
        "parameters": sum(p.numel() for p in run.module.parameters()),
        "command": portable(command),
        "commit": commit(),
        "hardware": hardware(device),
        "versions": versions(),
        "minutes": round(run.seconds / 60, 2),
        "steps": run.step,
        "settings": config.fixed(),
        "scores": {name: round(value, 5) for name, value in scores.items()},
        "sha256": sha256(path),
    }
    write_json(path.with_suffix(".json"), {**facts, **task.origin})


def portable(text: str) -> str:
    """Words of a command or setting, absolute paths cut to their last two parts: cards travel, folders do not.

    >>> portable("--data /home/me/data/doom-rooms --codec doom-rooms/frame-codec")
    '--data data/doom-rooms --codec doom-rooms/frame-codec'
    """
    words = (Path(word) if word.startswith("/") else word for word in shlex.split(text))
    return shlex.join("/".join(word.parts[1:][-2:]) if isinstance(word, Path) else word for word in words)


def commit() -> str | None:
    """Git commit of this package, with "-dirty" when files differ from it; None outside a checkout."""
    folder = Path(worldgym.__file__).parent

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", ".")
        return git("rev-parse", "HEAD") + ("-dirty" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def hardware(device: torch.device) -> str:
    """One line: processor, threads, GPU if it was used."""
    processor = f"{_processor()}, {torch.get_num_threads()} of {os.cpu_count()} threads"
    return f"{torch.cuda.get_device_name(device)}; {processor}" if device.type == "cuda" else processor


def versions() -> dict[str, str]:
    """Python's and the packages' versions."""
    known = {"python": platform.python_version(), "worldgym": worldgym.__version__}
    for name in PACKAGES:
        try:
            known[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return known


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
