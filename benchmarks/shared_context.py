"""An update's pass over candidates of the same prompts, with the common frames read once and read in every row.

    python benchmarks/shared_context.py --out benchmarks/results/shared-context-cpu.json

Both sides are the same rows, forwards and backwards, through the bundled world model: neighbours that go on from one video
share its frames; in the other order (first candidates of all prompts, then second ones, …) no two neighbours are alike and
every row reads its own. The sides alternate; the ratio is the median over rounds.
"""

from __future__ import annotations

import dataclasses
import platform
import statistics
import time
from typing import Any

import torch
import tyro
from torch import Tensor

from worldgym import load
from worldgym.actions import spec
from worldgym.errors import InputError, exit_with_sentence
from worldgym.files import write_json


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Time both orders."""

    out: str = "benchmarks/results/shared-context.json"
    """Result file."""
    model: str = "doom-rooms/diffusion-nano-v3"
    """A diffusion world model."""
    frames: tuple[int, ...] = (1, 3, 5, 9)
    """Common frames."""
    prompts: int = 4
    """Prompts per pass."""
    group: int = 8
    """Candidates of each."""
    rounds: int = 5
    """Alternations."""
    device: str = "cpu"
    """cpu or cuda."""
    threads: int = 1
    """CPU threads."""


def rows(arguments: Arguments, model: Any, frames: int) -> list[Tensor]:
    """Context, noisy frame, sigma and actions of all candidates, those of a prompt together."""
    draw = torch.Generator().manual_seed(frames)
    cell, count = (model.config.channels, *model.config.grid), arguments.prompts * arguments.group
    clean = torch.randn(arguments.prompts, frames, *cell, generator=draw).repeat_interleave(arguments.group, 0)
    sizes = spec(model.config.spec).sizes
    actions = torch.stack([torch.randint(n, (arguments.prompts, frames), generator=draw) for n in sizes], -1)
    noisy = torch.randn(count, 1, *cell, generator=draw)
    every = clean, noisy, torch.rand(count, 1, generator=draw), actions.repeat_interleave(arguments.group, 0)
    return [x.to(arguments.device) for x in every]


def seconds(model: Any, parts: list[Tensor], frames: int) -> float:
    """Of one pass, forwards and backwards."""
    start = time.perf_counter()
    model.velocities(*parts, [(frames, frames + 1)]).square().mean().backward()
    if parts[0].is_cuda:
        torch.cuda.synchronize()
    spent = time.perf_counter() - start
    model.zero_grad()
    return spent


def measure(arguments: Arguments, model: Any, frames: int) -> dict[str, float]:
    """One line of the table."""
    together = rows(arguments, model, frames)
    apart = [x.unflatten(0, (arguments.prompts, -1)).transpose(0, 1).flatten(0, 1) for x in together]
    spent = [(seconds(model, together, frames), seconds(model, apart, frames)) for _ in range(arguments.rounds + 1)][1:]
    found = {
        "shared_seconds": statistics.median(one for one, _ in spent),
        "each_row_seconds": statistics.median(two for _, two in spent),
        "ratio": statistics.median(one / two for one, two in spent),
    }
    print(f"{frames} frames in common: {found['ratio']:.3f} of the time", flush=True)
    return found


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    if min(arguments.prompts, arguments.group) < 2:
        raise InputError("--prompts and --group must be at least 2: with one of either there is no other order")
    torch.set_num_threads(arguments.threads)
    model = load(arguments.model, device=arguments.device).model.requires_grad_(True)
    found = {str(frames): measure(arguments, model, frames) for frames in arguments.frames}
    hardware = {"cpu": platform.processor() or platform.machine(), "device": arguments.device, "threads": arguments.threads}
    write_json(
        arguments.out,
        {"frames": found, "settings": dataclasses.asdict(arguments), "hardware": hardware, "torch": torch.__version__},
    )


if __name__ == "__main__":
    main()
