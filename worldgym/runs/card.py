"""What cards of model files say about how they were made.

- `facts(module, command, seconds)`: what all cards say. `portable(text)`: a command without this machine's folders.
- `hardware()`, `versions()`: facts about here and now, beside `worldgym.provenance.commit()`.
"""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

import torch
from torch import nn

from worldgym import provenance

PACKAGES = ("torch", "numpy", "vizdoom", "safetensors", "scikit-learn")


def facts(module: nn.Module, command: str, seconds: float) -> dict[str, Any]:
    """How a network was made: its architecture, the command, when and on what; JSON values."""
    return {
        "config": vars(module.config),
        "architecture": (type(module).__doc__ or "").strip().splitlines()[0],
        "command": portable(command),
        "commit": provenance.commit(),
        "hardware": hardware(next(module.parameters()).device),
        "versions": versions(),
        "minutes": round(seconds / 60, 2),
    }


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
