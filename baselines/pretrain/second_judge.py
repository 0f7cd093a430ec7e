"""Trains doom-rooms/idm-second, the second judge of action following: boosted trees on block motion.

command   python baselines/pretrain/second_judge.py --clips 700 --out worldgym/models/weights/doom-rooms/idm-second.safetensors
hardware  one core of an AMD EPYC (AVX2)
time      see the card beside the weights
expected  the card's "scores": macro F1 on clips of validation seeds

Clips are rendered from training seeds that no bundled judge has seen, some of them lossy as a world model's are, so that the
trees do not live on details that no model shows. Nothing is pickled: the trees are written as arrays.
"""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import torch
import tyro
from sklearn.ensemble import HistGradientBoostingClassifier
from tqdm import tqdm

from worldgym import files, provenance
from worldgym.actions import DOOM
from worldgym.data.splits import seeds
from worldgym.eval.metrics import action_following
from worldgym.eval.metrics.reencoding import reencode
from worldgym.eval.results.digests import digest
from worldgym.judges.flow_trees import features, from_boosting
from worldgym.models.files import checkpoint
from worldgym.worlds.recorder import Recorder

FIRST = 400_000_000  # world seeds from here on: neither the recorded stores' nor the suites'


@dataclasses.dataclass(frozen=True)
class Arguments:
    """How much."""

    out: str
    """The weights' file; its card lies beside it."""
    clips: int = 700
    """Of training."""
    held: int = 100
    """Of validation."""
    frames: int = 48
    """Per clip."""
    rounds: int = 80
    """Trees per column and class."""
    seed: int = 0
    """Of the trees and the jitter."""


def played(split: str, count: int, frames: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features (N, D) and labels (N, A) of clips of a split, re-encoded as the suites do it."""
    recorder, seen, given = Recorder("doom-rooms"), [], []
    try:
        for number, world in enumerate(tqdm(seeds(split, FIRST, count), desc=f"playing {split}")):
            clip = recorder.play(world, frames).clip
            shown = reencode(clip.frames, seed + number) if number % 4 else clip.frames
            seen.append(features(torch.from_numpy(np.ascontiguousarray(shown))[None])[0].numpy())
            given.append(clip.actions)
    finally:
        recorder.close()
    return np.concatenate(seen), np.concatenate(given)


def main() -> None:
    """Record, fit, write."""
    asked, started = tyro.cli(Arguments), time.perf_counter()
    x, y = played("train", asked.clips, asked.frames, asked.seed)
    held_x, held_y = played("validation", asked.held, asked.frames, 10**6)
    options = {"max_iter": asked.rounds, "learning_rate": 0.12, "max_leaf_nodes": 24, "min_samples_leaf": 20}
    columns = {}
    for group in tqdm(DOOM.groups, desc="fitting"):
        fitted = HistGradientBoostingClassifier(**options, early_stopping=False, random_state=asked.seed)
        columns[group.name] = fitted.fit(x, y[:, DOOM.column(group.name)])
    judge = from_boosting(columns)
    read = np.zeros_like(held_y)
    votes = judge.votes(torch.from_numpy(held_x).double())
    for index, group in enumerate(DOOM.groups):
        read[:, DOOM.column(group.name)] = votes[:, index, : group.size].argmax(-1)
        assert (read[:, DOOM.column(group.name)] == columns[group.name].predict(held_x)).mean() > 0.9999
    table = action_following.confusions(held_y[None], read[None], DOOM)
    f1 = action_following.precision_recall_f1(table.sum(0))[:, 2]
    scores = {group.name: round(float(value), 4) for group, value in zip(DOOM.groups, f1, strict=True)}
    scores["f1"] = round(float(np.nanmean(f1)), 4)
    write(asked, judge, {"scores": scores, "data_sha256": digest(x, y)}, time.perf_counter() - started)


def write(asked: Arguments, judge: torch.nn.Module, facts: dict, seconds: float) -> None:
    """The weights and their card."""
    path = Path(asked.out)
    checkpoint.save(path, judge, "flow-trees")
    note = {
        "architecture": "Boosted trees (scikit-learn) on block motion, as arrays.",
        "command": "python baselines/pretrain/second_judge.py "
        + " ".join(f"--{key} {value}" for key, value in dataclasses.asdict(asked).items()),
        **{"commit": provenance.commit(), "hardware": provenance.processor(), "kind": "flow-trees", "world": "doom-rooms"},
        **{"config": dataclasses.asdict(judge.config), "name": f"doom-rooms/{path.stem}", "spec": "doom"},
        **{"parameters": judge.config.nodes, "minutes": round(seconds / 60, 2), "steps": asked.rounds, **facts},
        **{"sha256": files.sha256(path), "versions": provenance.versions(("numpy", "torch", "scikit-learn", "vizdoom"))},
    }
    path.with_suffix(".json").write_text(json.dumps(note, indent=2, sort_keys=True) + "\n")
    print(json.dumps(facts["scores"]), path.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
