"""The card beside a pretrained model's file: what it is, how it was made, how good it is. `write(path, …)`."""

from __future__ import annotations

from pathlib import Path

from worldgym.files import sha256, write_json
from worldgym.pretrain.config import RunConfig
from worldgym.pretrain.state import RunState
from worldgym.pretrain.task import Task
from worldgym.runs.card import facts


def write(path: Path, config: RunConfig, task: Task, run: RunState, scores: dict[str, float], command: str) -> None:
    """Write `path` with the ending .json, the card of the model file `path`."""
    card = {
        "name": f"{config.learner}-{config.preset}",
        "kind": task.kind,
        **facts(run.module, command, run.seconds),
        "parameters": sum(p.numel() for p in run.module.parameters()),
        "steps": run.step,
        "settings": config.fixed(),
        "scores": {name: round(value, 5) for name, value in scores.items()},
        "sha256": sha256(path),
    }
    write_json(path.with_suffix(".json"), {**card, **task.origin})
