"""What post-training did, from the files of runs and evaluations: reward curves, before and after, and who was fooled.

command   python baselines/evidence.py --runs rlir-token=runs/rlir-token --suite action-following-doom-rooms-v1
needs     pip install matplotlib, for --figure alone

A run's label is the name of its entry on the leaderboard (leaderboards/<suite>/<label>/<seed>.json); the model that it began
with is read from the run's own config and must have an entry there, too. Differences are paired, clip by clip, with 95 %
bootstrap intervals; "of the gap" is the share of the way from the base model to the truth.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from worldgym.errors import InputError, exit_with_sentence
from worldgym.eval.results import schema
from worldgym.eval.running.compare import Difference, compare

WATCHED = ("reward", "terms/", "guards/", "heldout/", "kl_old", "clip_share")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Tables and curves of post-training runs."""

    runs: tuple[str, ...]
    """"label=folder" of each run."""
    suite: str = "action-following-doom-rooms-v1"
    """Whose entries stand for before and after; none when empty."""
    seed: int = 0
    """Of the evaluation."""
    leaderboards: Path = Path("leaderboards")
    """Where entries are."""
    figure: Path | None = None
    """PNG of the rewards over the iterations."""


@dataclasses.dataclass(frozen=True)
class Run:
    """A run's folder, read.

    Attributes:
        label: name of its entry. command: as it was typed. base: the model it began with. log: one record per iteration.
    """

    label: str
    command: str
    base: str
    log: list[dict[str, Any]]

    @staticmethod
    def read(text: str) -> Run:
        """From "label=folder"."""
        label, _, folder = text.partition("=")
        try:
            config = json.loads(Path(folder, "config.json").read_text())
            log = [json.loads(line) for line in Path(folder, "log.jsonl").read_text().splitlines()]
        except (OSError, json.JSONDecodeError) as error:
            raise InputError(f"{folder!r} holds no run: {error}; give label=folder of python -m worldgym.train") from None
        once = {x["step"]: x for x in log if x.get("group") == "train"}  # a killed run may have said a step twice
        return Run(label, config["command"], config["settings"]["model"], list(once.values()))


def ends(run: Run) -> dict[str, tuple[float, float]]:
    """Means of the first and of the last fifth of the iterations, of all that is worth watching."""
    part = max(1, len(run.log) // 5)
    names = [name for name in run.log[0] if name.startswith(WATCHED)]
    return {n: tuple(float(np.mean([x[n] for x in rows])) for rows in (run.log[:part], run.log[-part:])) for n in names}


def before_and_after(run: Run, arguments: Arguments) -> list[str]:
    """Markdown lines, one per metric of the suite."""
    folder = arguments.leaderboards / arguments.suite
    paths = [folder / name.replace("/", "--") / f"{arguments.seed}.json" for name in (run.base, run.label, "truth")]
    before, after = (schema.read(path) for path in paths[:2])
    truth = schema.read(paths[2])["scores"] if paths[2].exists() else {}
    lines = ["| metric | before | after | difference | of the gap | verdict |", "| --- | --- | --- | --- | --- | --- |"]
    for one in compare(before, after):
        lines.append(_line(one, truth.get(one.metric, {}).get("value")))
    return lines


def _line(one: Difference, ceiling: float | None) -> str:
    low, high = one.difference.low, one.difference.high
    gap = f"{one.difference.value / (ceiling - one.a):.0%}" if ceiling not in (None, one.a) else "–"
    change = f"{one.difference.value:+.3f} [{low:+.3f}, {high:+.3f}]"
    return f"| {one.metric} ({one.better}) | {one.a:.3f} | {one.b:.3f} | {change} | {gap} | {one.verdict} |"


def draw(runs: Sequence[Run], path: Path) -> None:
    """Reward per iteration, and its mean over a fifth of the run."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(runs), figsize=(4.2 * len(runs), 3), squeeze=False)
    for axis, run in zip(axes[0], runs, strict=True):
        values = np.array([x["reward"] for x in run.log])
        width = max(1, len(values) // 5)
        axis.plot(np.arange(1, len(values) + 1), values, color="0.75")
        axis.plot(np.arange(width, len(values) + 1), np.convolve(values, np.full(width, 1 / width), "valid"), color="C0")
        axis.set(title=run.label, xlabel="iteration", ylabel="reward")
    figure.tight_layout()
    figure.savefig(path, dpi=110)


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    runs = [Run.read(text) for text in arguments.runs]
    for run in runs:
        hours = run.log[-1]["minutes"] / 60
        print(f"\n### {run.label}\n`{run.command}`: {len(run.log)} iterations, {hours:.1f} hours.\n")
        if arguments.suite:
            print("\n".join(before_and_after(run, arguments)), "\n")
        print("| in training | first fifth | last fifth |\n| --- | --- | --- |")
        for name, (first, last) in ends(run).items():
            print(f"| {name} | {first:.4f} | {last:.4f} |")
    if arguments.figure:
        draw(runs, arguments.figure)


if __name__ == "__main__":
    main()
