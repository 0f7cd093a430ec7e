"""The card beside a model file: what it is, how it was made, how good it is.

- `write(path, …)`: the card of a finished run. `portable(text)`: a command without this machine's folders.
- `hardware()`, `versions()`: facts about here and now, beside `worldgym.provenance.commit()`.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import torch

from worldgym import provenance
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
        "commit": provenance.commit(),
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


def hardware(device: torch.device) -> str:
    """One line: processor, threads, GPU if it was used."""
    processor = f"{provenance.processor()}, {torch.get_num_threads()} of {os.cpu_count()} threads"
    return f"{torch.cuda.get_device_name(device)}; {processor}" if device.type == "cuda" else processor


def versions() -> dict[str, str]:
    """Python's and the versions of the packages that are there."""
    return {name: version for name, version in provenance.versions(PACKAGES).items() if version is not None}
