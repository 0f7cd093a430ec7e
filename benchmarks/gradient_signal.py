"""How much of a trainer's gradient is signal: gradients of independent iterations of one policy, compared.

    python benchmarks/gradient_signal.py --prompts data/rooms --out benchmarks/results/gradient-signal.json \\
        --runs "nft --preset rlir-nft-nano --early 1" "nft --preset rlir-nft-nano" --batches 6

Every run plays its iterations with weights that never move, and keeps the gradient in the optimizer's place. Two independent
gradients g, h of the same policy share nothing but the signal: E<g, h> = |signal|^2, and their cosine is the signal's share of
the squared length, s / (s + noise). From it, the rollouts after which both are equal: rows (1 - c) / c ("noise scale",
arXiv 1812.06162, section 2.2). The interval is a jackknife over the iterations; it says when the cosine is nothing but luck.
"""

from __future__ import annotations

import dataclasses
import itertools
import platform
import shlex
import tempfile
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from worldgym.errors import InputError, exit_with_sentence
from worldgym.files import write_json
from worldgym.train.__main__ import read
from worldgym.train.learner import Learner
from worldgym.train.run import build


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure the signal in gradients."""

    out: str = "benchmarks/results/gradient-signal.json"
    """Result file."""
    runs: tuple[str, ...] = ("nft --preset rlir-nft-nano --early 1", "nft --preset rlir-nft-nano")
    """Settings, each as behind python -m worldgym.train."""
    prompts: str = "doom-rooms"
    """A folder of recorded clips, or the game itself."""
    prompt_count: int = 1000
    """Different prompts."""
    batches: int = 6
    """Iterations of each."""
    threads: int = torch.get_num_threads()
    """CPU threads."""


def cosine(gradients: Tensor) -> tuple[float, float]:
    """Mean cosine over the pairs of (N, D) gradients, N >= 3, and its jackknife standard error."""
    units = gradients / gradients.norm(dim=1, keepdim=True)
    table = units @ units.T
    mean = lambda kept: float(torch.stack([table[i, j] for i, j in itertools.combinations(kept, 2)]).mean())  # noqa: E731
    rows = range(len(table))
    without = torch.tensor([mean([row for row in rows if row != left]) for left in rows])
    error = ((len(table) - 1) / len(table) * (without - without.mean()).square().sum()).sqrt()
    return mean(rows), float(error)


def kept_gradients(learner: Learner, batches: int) -> Tensor:
    """(N, D), one row per iteration, all of the policy as it is; minibatches are added up."""
    found: list[Tensor] = []

    def keep() -> float:
        parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in learner.update.trained().values()]
        found.append(torch.cat([part.flatten() for part in parts]))
        learner.update.optimizer.zero_grad(set_to_none=True)
        return float(found[-1].norm())

    learner.update.step = keep  # in the optimizer's place
    rows = []
    for iteration in range(batches):
        found.clear()
        learner.iterate(iteration)
        rows.append(torch.stack(found).sum(0))
    return torch.stack(rows)


def measure(words: str, arguments: Arguments, folder: Path) -> dict[str, Any]:
    """One line of the table."""
    more = f"--out {folder / 'run'} --iterations 1 --prompts {arguments.prompts} --prompt-count {arguments.prompt_count}"
    learner = build(read(shlex.split(words) + more.split()))
    gradients = kept_gradients(learner, arguments.batches)
    mean, error = cosine(gradients)
    rows = learner.settings.rollout.rows
    needed = rows * (1 - mean) / mean if mean > 2 * error else None  # a ratio of luck is no number
    print(
        f"{words}\n    cosine {mean:.4f} +- {error:.4f} at {rows} rollouts; signal = noise at {needed and round(needed)}",
        flush=True,
    )
    return {
        "cosine": mean,
        "standard_error": error,
        "rollouts": rows,
        "equal_at": needed,
        "norm": float(gradients.norm(dim=1).mean()),
    }


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    if arguments.batches < 3:
        raise InputError(f"--batches is {arguments.batches}, but an interval needs at least 3")
    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = {words: measure(words, arguments, Path(folder)) for words in arguments.runs}
    hardware = {"cpu": platform.processor() or platform.machine(), "threads": arguments.threads}
    settings = {"batches": arguments.batches, "prompt_count": arguments.prompt_count}
    write_json(arguments.out, {"runs": found, "settings": settings, "hardware": hardware, "torch": torch.__version__})


if __name__ == "__main__":
    main()
