"""How well do the camera judges read true videos? Label accuracy on held actions in the real game, from test seeds.

    python benchmarks/camera.py --out benchmarks/results/camera.json

The clips of the suite interaction-following-doom-rooms-v1 under another seed than any run of it: basic and composite actions
over a short, middle and long horizon, labels from true poses. Sources: the true frames and, if asked for, those after codecs.
Intervals: 95 %, percentile bootstrap over clips.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import tyro

import worldgym
from worldgym.errors import exit_with_sentence
from worldgym.eval.metrics.interaction_following import PARTS, interaction_following
from worldgym.eval.protocols import load
from worldgym.eval.results import suite as suites
from worldgym.eval.results.answers import Question
from worldgym.eval.results.statistics import Bootstrap
from worldgym.files import write_json
from worldgym.rng import generator

SUITE = "interaction-following-doom-rooms-v1"


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure camera judges on test seeds."""

    out: str = "benchmarks/results/camera.json"
    """Result file."""
    clips: int = 120
    """Clips, the same number per cell."""
    seed: int = 1000
    """Of the clips."""
    judges: tuple[str, ...] = ("doom-rooms/camera-heldout", "doom-rooms/camera-reward")
    """Which judges."""
    codecs: tuple[str, ...] = ()
    """Codecs that the videos go through as well."""


@torch.inference_mode()
def follow(judge: torch.nn.Module, tasks: list[Question], videos: list[torch.Tensor]) -> dict[str, np.ndarray]:
    """(N,) per part of the score, of a judge on videos (T, H, W, 3) uint8."""
    rules = load(suites.load(SUITE)).options.rules
    found = []
    for task, frames in zip(tasks, videos, strict=True):
        target = (task.extra[name][None] for name in ("labels", "clear"))
        found.append(interaction_following(judge.motion(frames[None]).numpy(), *target, rules))
    return {name: np.concatenate([one[name] for one in found]) for name in PARTS}


def table(found: dict[str, np.ndarray], tasks: list[Question], seed: int) -> dict[str, dict[str, list[float]]]:
    """Per part and group of cells: mean, low, high."""
    bootstrap = Bootstrap.draw(len(tasks), 1000, generator(seed, "bootstrap"))
    actions, horizons = (np.array([task.condition[key] for task in tasks]) for key in ("actions", "horizon"))
    groups = {"all": np.full(len(tasks), True), **{kind: actions == kind for kind in sorted(set(actions))}}
    groups |= {f"{a} {h}": (actions == a) & (horizons == h) for a, h in sorted(set(zip(actions, horizons, strict=True)))}
    rows: dict[str, dict[str, list[float]]] = {}
    for part, values in found.items():
        scores = {name: bootstrap.mean_where(values, chosen) for name, chosen in groups.items()}
        rows[part] = {name: [score.value, score.low, score.high] for name, score in scores.items()}
    return rows


@torch.inference_mode()
def through(codec: torch.nn.Module, videos: list[torch.Tensor]) -> list[torch.Tensor]:
    """Videos after encoding and decoding."""
    return [codec.decode(codec.encode(frames)) for frames in videos]


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    tasks = load(suites.load(SUITE)).tasks(arguments.seed, arguments.clips)
    videos = {"truth": [torch.from_numpy(task.truth) for task in tasks]}
    videos |= {name: through(worldgym.load(name), videos["truth"]) for name in arguments.codecs}
    result: dict = {"suite": SUITE, "clips": arguments.clips, "seed": arguments.seed, "judges": {}}
    for name in arguments.judges:
        judge = worldgym.load(name)
        rows = {source: table(follow(judge, tasks, clips), tasks, arguments.seed) for source, clips in videos.items()}
        result["judges"][name] = rows
        for source, parts in rows.items():
            for group in ("basic", "composite"):
                shown = ", ".join(f"{part} {v:.3f} [{a:.3f}, {b:.3f}]" for part, (v, a, b) in _group(parts, group))
                print(f"{name} on {source}, {group}: {shown}")
    write_json(arguments.out, result)


def _group(parts: dict[str, dict[str, list[float]]], group: str) -> list[tuple[str, list[float]]]:
    return [(part, rows[group]) for part, rows in parts.items()]


if __name__ == "__main__":
    main()
