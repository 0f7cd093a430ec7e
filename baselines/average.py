"""The mean of several models' weights, as a model: python baselines/average.py --models A B … --out FOLDER.

Snapshots of one run, or runs from one start, lie in one basin: their mean is often better than the best of them, at no cost in
playing (model soups, arXiv 2203.05482; of reward-trained models, arXiv 2306.04488). It is `--ema` with hindsight.
"""

from __future__ import annotations

import dataclasses
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import tyro
from torch import Tensor

from worldgym import zoo
from worldgym.errors import InputError, exit_with_sentence
from worldgym.files import output_folder, sha256, write_json
from worldgym.models.files import checkpoint
from worldgym.provenance import commit
from worldgym.runs.card import hardware, portable, versions

COUNTED = ("minutes", "iterations", "updates", "steps")
KEPT = ("architecture", "parameters", "base", "base_sha256", "scores", "settings")


@dataclasses.dataclass(frozen=True, kw_only=True)
class AverageConfig:
    """The mean of several models' weights."""

    models: tuple[str, ...]
    """Zoo names, files or runs' folders: models of one architecture and one codec."""
    out: Path
    """Folder; model.safetensors and model.json appear there."""
    weights: tuple[float, ...] = ()
    """What each model counts, as in --weights 0.7 0.3; all the same if not given."""

    def __post_init__(self):
        if len(self.models) < 2:
            raise InputError(f"--models names {len(self.models)}: a mean needs at least 2")
        if self.weights and len(self.weights) != len(self.models):
            raise InputError(
                f"--weights has {len(self.weights)} numbers, but --models names {len(self.models)}: give one for each"
            )
        if self.weights and not (min(self.weights) > 0 and sum(self.weights) < float("inf")):
            raise InputError(f"--weights {' '.join(map(str, self.weights))}: every weight must be a number above 0")


def average(config: AverageConfig, command: str) -> Path:
    """Write the mean; returns the path of the weights.

    Raises:
        InputError: models do not fit together, hold no finite mean, or the folder holds a model already.
    """
    paths = [zoo.locate(name) for name in config.models]
    path = config.out / "model.safetensors"
    if path.exists():
        raise InputError(f"{str(config.out)!r} already holds a model; name another --out")
    read = [checkpoint.read(source) for source in paths]
    for name, other in zip(config.models[1:], read[1:], strict=True):
        _compare(config.models[0], read[0], name, other)
    tensors = mean([tensors for _, _, tensors, _ in read], config.weights)
    metadata = _trained([facts for *_, facts in read])[0]
    output_folder(config.out)
    checkpoint.write_tensors(path, tensors, metadata)
    write_json(path.with_suffix(".json"), _card(paths, metadata, command) | {"sha256": sha256(path)})
    return path


def mean(models: list[dict[str, Tensor]], weights: Sequence[float] = ()) -> dict[str, Tensor]:
    """Means of float tensors in float32, by weight where weights are given; what is no float is the first one's.

    Raises:
        InputError: a value is not finite.
    """
    found, share = {}, torch.tensor(weights or [1.0] * len(models)).div(sum(weights) or len(models))
    for name, first in models[0].items():
        if not first.is_floating_point():
            found[name] = first
            continue
        found[name] = torch.einsum("m,m...->...", share, torch.stack([tensors[name].float() for tensors in models]))
        if not found[name].isfinite().all():
            raise InputError(f"the mean of {name!r} is not finite: one of the models is damaged")
    return found


def _compare(first: str, one: tuple, second: str, other: tuple) -> None:
    names = ("settings", "kind", "weights", "codec")
    sides = [(*read[:2], {k: t.shape for k, t in read[2].items()}, read[3].get("codec_sha256")) for read in (one, other)]
    different = [name for name, a, b in zip(names, *sides, strict=True) if a != b]
    if different:
        raise InputError(f"{first!r} and {second!r} differ in {' and '.join(different)}: there is no mean of them")


def _trained(facts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of post-trained models, if there are any: what a base among them has spent was spent before."""
    return [one for one in facts if one.keys() & {"post_training", "base"}] or facts


def _card(paths: list[Path], metadata: dict[str, Any], command: str) -> dict[str, Any]:
    """Facts of the last model, time and steps of all runs: of one run's snapshots the longest counts."""
    cards = _trained([zoo.card(path) or {} for path in paths])
    runs: dict[Any, list[dict]] = {}
    for card in cards:
        runs.setdefault(card.get("command"), []).append(card)
    spent = {key: sum(max(card.get(key, 0) for card in run) for run in runs.values()) for key in COUNTED}
    return {
        **{key: value for key, value in metadata.items() if key != "format"},
        **{key: cards[-1][key] for key in KEPT if key in cards[-1]},
        **{key: round(value, 2) for key, value in spent.items()},
        "name": f"mean of {len(paths)} models",
        "command": portable(command),
        "commands": _commands(cards),
        "sources": [{"name": portable(str(path)), "sha256": sha256(path)} for path in paths],
        "commit": commit(),
        "hardware": hardware(torch.device("cpu")),
        "versions": versions(),
    }


def _commands(cards: list[dict[str, Any]]) -> list[str]:
    """How the models were made, each command once; of a mean among them first those of its own models."""
    told = [name for card in cards for name in (*card.get("commands", ()), card.get("command")) if name]
    return list(dict.fromkeys(told))


@exit_with_sentence
def main() -> None:
    """The program."""
    print(average(tyro.cli(AverageConfig), f"python baselines/average.py {shlex.join(sys.argv[1:])}"))


if __name__ == "__main__":
    main()
