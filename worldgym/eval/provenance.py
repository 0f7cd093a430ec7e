"""Where a result comes from: commit, versions, hardware, command.

- `commit()`, `versions()`, `hardware(device)`, `command()`, `env_spec(world)`: plain values for a result file.
- `effort(processes)`: what may differ between two runs that give the same numbers.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shlex
import subprocess
import sys
from pathlib import Path

import worldgym

PACKAGES = ("numpy", "scipy", "torch", "gymnasium", "vizdoom", "safetensors", "scikit-learn", "pillow", "imageio-ffmpeg")


def commit() -> str | None:
    """Hash of the checked-out commit, with "-dirty" when files of the package differ; None outside a checkout."""
    folder = Path(worldgym.__file__).parent
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None  # installed, perhaps inside somebody else's repository
    found = _git(folder, "rev-parse", "HEAD")
    changed = _git(folder, "status", "--porcelain", "--untracked-files=no", "--", ".")
    return f"{found}-dirty" if found and changed else found


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def versions() -> dict[str, str | None]:
    """Python, worldgym and the packages that numbers depend on; None where one is absent."""
    return {"python": platform.python_version(), "worldgym": worldgym.__version__, **{p: _version(p) for p in PACKAGES}}


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def hardware(device: str) -> dict[str, str | int | None]:
    """The processor, its cores, and the accelerator's name when one is used."""
    import torch

    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "device": torch.cuda.get_device_name(device) if device.startswith("cuda") else device,
    }


def effort(processes: int) -> dict[str, int]:
    """How many processes shared the work, and the threads of each."""
    import torch

    return {"processes": processes, "threads": torch.get_num_threads()}


def env_spec(world: str) -> str | None:
    """The recipe of the environment that the test clips come from, as Gymnasium writes it; None where there is none."""
    import gymnasium as gym

    name = {"doom-rooms": "worldgym/DoomRooms-Game-v0"}.get(world)
    return gym.spec(name).to_json() if name else None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def command() -> str:
    """What was typed, as far as Python knows."""
    program = sys.modules["__main__"].__spec__
    name = f"python -m {program.name.removesuffix('.__main__')}" if program else shlex.quote(Path(sys.argv[0]).name)
    return " ".join([name, *map(shlex.quote, sys.argv[1:])])
