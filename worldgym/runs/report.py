"""What a run tells while it goes: progress bar, TensorBoard, and a log file that survives a kill.

- `Report`: of pretraining. `TrainReport`: of post-training, also to Weights & Biases.
- `Silent`: of all processes but the first.
- `read_log(path)`: the log's rows. `check_wandb(project)`: said before a run is set up.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

from tqdm import tqdm

from worldgym.errors import InputError
from worldgym.files import write_bytes

EVERY = 2.0  # seconds between log rows
SHOWN = {"reward": ".4f", "ratio": ".3f", "kl": ".1e", "clip_share": ".1%", "loss": ".3g", "clips_per_second": ".2f"}


def check_wandb(project: str | None) -> None:
    """Before a run is set up: whether Weights & Biases is here, where somebody asks for it.

    Raises:
        InputError: the package is not installed.
    """
    if project and importlib.util.find_spec("wandb") is None:
        raise InputError("--wandb needs the package wandb: pip install wandb; or leave it out and use TensorBoard")


def read_log(path: Path) -> list[dict[str, Any]]:
    """Rows of log.jsonl; a last line cut off by a kill is dropped."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows


class Report:
    """Bar, TensorBoard and log.jsonl of one run.

    Args:
        folder: of the run.
        step: where the run starts or goes on; later rows of the log are dropped.
        total: steps of the whole run as far as known.
    """

    def __init__(self, folder: Path, name: str, step: int, total: int | None):
        self.path = folder / "log.jsonl"
        rows = [json.dumps(row) + "\n" for row in read_log(self.path) if row["step"] <= step]
        write_bytes(self.path, "".join(rows).encode())
        self.board = _board(folder / "tensorboard", step)
        self.bar = tqdm(total=total, initial=step, desc=name, unit="step", dynamic_ncols=True, mininterval=_calm())
        self._first, self._step, self._seen, self._start = step, step, 0.0, time.monotonic()

    def due(self) -> bool:
        """Whether a row is to be written now (reading a loss from a GPU costs a wait)."""
        return time.monotonic() - self._seen >= EVERY

    def step(self, step: int, total: int, values: dict[str, float], seconds: float) -> None:
        """Show and write the numbers of a step."""
        self._seen = time.monotonic()
        speed = (step - self._first) / max(self._seen - self._start, 1e-9)
        self.bar.total = total
        self.bar.update(step - self._step)
        self._step = step
        self.bar.set_postfix_str(f"loss {values['loss']:.4f}, lr {values['lr']:.1e}, {speed:.2f} steps/s", refresh=False)
        self._write("train", step, {**values, "steps_per_second": speed}, seconds)

    def scores(self, step: int, scores: dict[str, float], seconds: float) -> None:
        """Write validation scores and print them above the bar."""
        words = ", ".join(f"{name} {value:.4g}" for name, value in scores.items())
        self.bar.write(f"step {step}, {seconds / 60:.1f} min: {words}", file=sys.stderr)
        self._write("validation", step, scores, seconds)

    def close(self) -> None:
        """Flush everything."""
        self.bar.close()
        if self.board:
            self.board.close()

    def _write(self, group: str, step: int, values: dict[str, float], seconds: float) -> None:
        row = {"step": step, "minutes": round(seconds / 60, 4), "group": group, **values}
        with open(self.path, "a") as file:
            file.write(json.dumps(row) + "\n")
        for name, value in values.items() if self.board else ():
            self.board.add_scalar(f"{group}/{name}", value, step)
        if self.board:
            self.board.flush()  # a kill must not take what log.jsonl has


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


def _calm() -> float:
    """Seconds between redraws: fewer where the bar goes into a file."""
    return 0.2 if sys.stderr.isatty() else 30.0


def _board(folder: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        print('no TensorBoard here, only log.jsonl; for curves: pip install "worldgym[train]"', file=sys.stderr)
        return None
    return SummaryWriter(folder, purge_step=step + 1)  # what was told up to this step stays


def _open_wandb(project: str, folder: Path, settings: dict[str, Any]) -> Any:
    import wandb  # `check_wandb` has said whether it is here

    return wandb.init(project=project, dir=str(folder), name=folder.name, config=settings, resume="allow", id=folder.name)
