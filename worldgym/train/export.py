"""A trained policy as a model file that evaluation and the zoo read: `write_model`."""

from __future__ import annotations

import json
from pathlib import Path

from worldgym import zoo
from worldgym.files import sha256, write_json
from worldgym.models.files import checkpoint
from worldgym.runs.card import facts, portable
from worldgym.runs.memory import merged
from worldgym.train.config import TrainRun
from worldgym.train.state import Progress
from worldgym.train.update import Update

OWN = ("kind", "config", "format")  # of a model file; the rest tells where it comes from


def write_model(path: Path, config: TrainRun, update: Update, progress: Progress, command: str) -> Path:
    """Write the weights to `path`, with codec and origin of the model that training started from, and the card beside."""
    base = zoo.locate(config.task.model)
    kind, metadata = zoo.origin(base)
    origin = {name: value for name, value in metadata.items() if name not in OWN} | {"post_training": config.name}
    module = update.best_weights()
    tensors = merged(module)
    path.with_suffix(".json").unlink(missing_ok=True)  # a card never lies beside weights it was not written for
    checkpoint.save(path, module, kind, origin, tensors=tensors)
    card = {
        "name": f"{config.name} of {portable(config.task.model)}",
        "kind": kind,
        **facts(module, command, progress.seconds),
        "parameters": sum(tensor.numel() for tensor in tensors.values()),
        "base": portable(config.task.model),
        "base_sha256": sha256(base),
        "iterations": progress.iteration,
        "updates": update.updates,
        "steps": update.updates,
        "scores": rewards_of(config.run.out / "log.jsonl"),
        "settings": {**config.fixed(), "model": portable(config.task.model)},
        "sha256": sha256(path),
    }
    write_json(path.with_suffix(".json"), {**card, **origin})
    return path


def rewards_of(log: Path) -> dict[str, float]:
    """Mean reward of the first and of the last fifth of a run's iterations; nothing where there is no log."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log.is_file() else []
    rewards = [line["reward"] for line in lines if "reward" in line]
    if not rewards:
        return {}
    fifth = max(1, len(rewards) // 5)
    parts = {"reward_first_fifth": rewards[:fifth], "reward_last_fifth": rewards[-fifth:]}
    return {name: round(sum(part) / fifth, 5) for name, part in parts.items()}
