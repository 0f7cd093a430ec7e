"""Where a training iteration spends its time: clips per second, and the shares of rollout, reward and update, by preset.

    python benchmarks/train_speed.py --out benchmarks/results/train-speed-cpu.json

Every preset plays its own algorithm, rewards and environment on its own world model; rollouts, prompts and frames are set to
one size for all, so that lines can be compared. The first iteration is dropped; figures are medians over the others.
"""

from __future__ import annotations

import dataclasses
import platform
import statistics
import tempfile
from pathlib import Path
from typing import Any

import torch
import tyro

from worldgym.errors import InputError, exit_with_sentence
from worldgym.files import write_json
from worldgym.train.__main__ import read
from worldgym.train.presets import PRESETS
from worldgym.train.run import build

SHARES = ("rollout_share", "reward_share", "update_share")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure the training loops."""

    out: str = "benchmarks/results/train-speed.json"
    """Result file."""
    presets: tuple[str, ...] = ("grpo/rlir-token-nano", "grpo/rlir-diffusion-nano", "grpo/rlvr-world", "nft/worldcompass-nano")
    """Which, as algorithm/preset; "all" for every one."""
    prompts: str = "doom-rooms"
    """A folder of recorded clips, or the game itself."""
    frames: int = 16
    """T, the given frame included."""
    prompt_batch: int = 2
    """Prompts per iteration."""
    group: int = 12
    """G rollouts per prompt."""
    iterations: int = 3
    """Iterations that count."""
    device: str = "auto"
    """cpu, cuda, or auto."""
    threads: int = torch.get_num_threads()
    """CPU threads."""


def measure(name: str, arguments: Arguments, folder: Path) -> dict[str, Any]:
    """One line of the table."""
    algorithm, preset = name.split("/")
    words = f"{algorithm} --preset {preset} --out {folder / name} --iterations 1 --prompts {arguments.prompts} "
    words += (
        f"--prompt-count 16 --frames {arguments.frames} --prompt-batch {arguments.prompt_batch} --group {arguments.group} "
    )
    words += f"--device {arguments.device} --threads {arguments.threads}"
    learner = build(read(words.split()))
    logs = [learner.iterate(iteration) for iteration in range(arguments.iterations + 1)][1:]
    middle = {key: statistics.median(log[key] for log in logs) for key in ("clips_per_second", "seconds", *SHARES)}
    print(
        f"{name:28s} {middle['clips_per_second']:.2f} clips/s  " + "  ".join(f"{k} {middle[k]:.0%}" for k in SHARES),
        flush=True,
    )
    return middle


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    torch.set_num_threads(arguments.threads)
    known = [f"{algorithm}/{name}" for (algorithm, _), group in PRESETS.items() for name in group]
    chosen = known if arguments.presets == ("all",) else arguments.presets
    for name in chosen:
        if name not in known:
            raise InputError(f"{name!r} is no preset; write one of {', '.join(known)}")
    with tempfile.TemporaryDirectory() as folder:
        rows = {name: measure(name, arguments, Path(folder)) for name in chosen}
    hardware = {"cpu": platform.processor() or platform.machine(), "threads": arguments.threads, "device": arguments.device}
    settings = {key: value for key, value in dataclasses.asdict(arguments).items() if key not in ("out", "prompts")}
    write_json(arguments.out, {"presets": rows, "settings": settings, "hardware": hardware, "torch": torch.__version__})


if __name__ == "__main__":
    main()
