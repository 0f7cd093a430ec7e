"""Where a result comes from: commit, versions, hardware, command.

- `commit()`, `versions()`, `hardware(device)`, `command()`, `env_spec(world)`: plain values for a result file.
- `effort(processes)`: what may differ between two runs that give the same numbers.
"""

from __future__ import annotations

import os
import platform
import shlex
import sys
from pathlib import Path

from worldgym import provenance
from worldgym.provenance import commit as commit  # part of what a result says

PACKAGES = ("numpy", "scipy", "torch", "gymnasium", "vizdoom", "safetensors", "scikit-learn", "pillow", "imageio-ffmpeg")


def versions() -> dict[str, str | None]:
    """Python, worldgym and the packages that numbers depend on; None where one is absent."""
    return provenance.versions(PACKAGES)


def hardware(device: str) -> dict[str, str | int | None]:
    """The processor, its cores and instruction set, threads, and the accelerator's name when one is used.

    All of it is information: what may differ when clips are made again does not depend on it.
    """
    import torch

    return {
        "processor": provenance.processor(),
        "cores": os.cpu_count(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": torch.get_num_threads(),
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


def command() -> str:
    """What was typed, as far as Python knows."""
    program = sys.modules["__main__"].__spec__
    name = f"python -m {program.name.removesuffix('.__main__')}" if program else shlex.quote(Path(sys.argv[0]).name)
    text = " ".join([name, *map(shlex.quote, sys.argv[1:])])
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")  # as UTF-8, whatever the terminal speaks
