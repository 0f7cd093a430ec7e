"""What a post-training run tells while it goes: a bar, TensorBoard, log.jsonl, and Weights & Biases when asked.

- `TrainReport`: `iteration`, `say`, `close`. `Silent`: the same for all processes but the first.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from worldgym.errors import InputError
from worldgym.runs.report import Report

SHOWN = {"reward": ".4f", "ratio": ".3f", "kl": ".1e", "clip_share": ".1%", "loss": ".3g", "clips_per_second": ".2f"}


class TrainReport(Report):
    """Numbers of every iteration.

    Args:
        folder, name, step, total: as in `Report`; a step is an iteration.
        wandb: project of Weights & Biases, or None.
        settings: of the run, for Weights & Biases.
    """

    def __init__(self, folder: Path, name: str, step: int, total: int | None, wandb: str | None, settings: dict[str, Any]):
        super().__init__(folder, name, step, total)
        self.bar.unit = "it"
        self._wandb = _open_wandb(wandb, folder, settings) if wandb else None

    def iteration(self, step: int, total: int, values: dict[str, float], seconds: float) -> None:
        """Show and write the numbers of a finished iteration."""
        self.bar.total = total
        self.bar.update(step - self._step)
        self._step = step
        words = [f"{name.replace('_', ' ')} {values[name]:{form}}" for name, form in SHOWN.items() if name in values]
        self.bar.set_postfix_str(", ".join(words), refresh=False)
        self._write("train", step, values, seconds)
        if self._wandb:
            self._wandb.log(values, step=step)

    def say(self, words: str) -> None:
        """A line above the bar."""
        self.bar.write(words, file=sys.stderr)

    def close(self) -> None:
        """Flush everything."""
        super().close()
        if self._wandb:
            self._wandb.finish()


class Silent:
    """What the other processes tell: nothing."""

    def iteration(self, *_: Any) -> None:
        """Nothing."""

    def say(self, *_: Any) -> None:
        """Nothing."""

    def close(self) -> None:
        """Nothing."""


def _open_wandb(project: str, folder: Path, settings: dict[str, Any]) -> Any:
    try:
        import wandb
    except ImportError:
        raise InputError("--wandb needs the package wandb: pip install wandb; or leave it out and use TensorBoard") from None
    return wandb.init(project=project, dir=str(folder), name=folder.name, config=settings, resume="allow", id=folder.name)
