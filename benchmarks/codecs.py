"""What the codecs cost: PSNR on held-out seeds, and how much worse the judges read reconstructions than the real frames.

    python benchmarks/codecs.py --out benchmarks/results/codecs.json

Test seeds of the game that no training run and no suite uses; F1 is macro over labels, mean over the groups in use.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
import tyro

import worldgym
from worldgym.actions import DOOM
from worldgym.data.prompts import record_prompts
from worldgym.data.splits import seeds
from worldgym.errors import exit_with_sentence
from worldgym.files import write_json
from worldgym.pretrain.codec_task import psnr
from worldgym.pretrain.judge_task import scores


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure codecs and judges on held-out seeds."""

    out: str = "benchmarks/results/codecs.json"
    """Result file."""
    clips: int = 192
    """Clips of 16 frames."""
    codecs: tuple[str, ...] = ("doom-rooms/frame-codec", "doom-rooms/latent-codec")
    """Which codecs."""
    judges: tuple[str, ...] = ("doom-rooms/idm-reward", "doom-rooms/idm-heldout")
    """Which judges."""


@torch.inference_mode()
def reconstruct(codec: torch.nn.Module, frames: torch.Tensor) -> torch.Tensor:
    """(B, T, H, W, 3) uint8 through the codec and back."""
    return torch.stack([codec.decode(codec.encode(clip)) for clip in frames])


@torch.inference_mode()
def f1(judge: torch.nn.Module, frames: torch.Tensor, actions: np.ndarray) -> dict[str, float]:
    """Scores of a judge's labels."""
    labels = torch.cat([judge.labels(piece) for piece in frames.split(16)]).numpy()
    return scores(DOOM, actions, labels)


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    world_seeds = seeds("test", 940_000_000, arguments.clips)
    prompts = record_prompts("doom-rooms", world_seeds)
    truth = torch.from_numpy(prompts.truth)
    pictures = {"truth": truth}
    result: dict = {"clips": arguments.clips, "first_seed": world_seeds[0], "psnr": {}, "f1": {}}
    for name in arguments.codecs:
        pictures[name] = reconstruct(worldgym.load(name), truth)
        values = psnr(truth.flatten(0, 1), pictures[name].flatten(0, 1))
        error = 1.96 * values.reshape(len(truth), -1).mean(1).std() / len(truth) ** 0.5  # clips are independent, frames not
        result["psnr"][name] = {"mean": float(values.mean()), "interval": [float(values.mean() + s * error) for s in (-1, 1)]}
    for name in arguments.judges:
        judge = worldgym.load(name)
        result["f1"][name] = {source: f1(judge, frames, prompts.actions) for source, frames in pictures.items()}
    print(result["psnr"])
    for name, rows in result["f1"].items():
        print(name, {source: round(row["f1"], 4) for source, row in rows.items()})
    write_json(arguments.out, result)


if __name__ == "__main__":
    main()
