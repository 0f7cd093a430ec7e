"""A learner that trains in milliseconds: fit y = Wx, with dropout so that torch's generator matters.

As a program, `python toy.py OUT [--steps N | --minutes M] [--resume]` trains it, for tests that kill it.
"""

import argparse
import dataclasses
import time
from pathlib import Path

import torch
from torch import nn

from worldgym import rng
from worldgym.errors import exit_with_sentence
from worldgym.pretrain import loop
from worldgym.pretrain.config import RunConfig


@dataclasses.dataclass(frozen=True)
class ToyConfig:
    width: int = 8
    sizes: tuple[int, ...] = (2, 3)


class Toy(nn.Module):
    """A small network with blocks, a convolution, norms with running statistics and dropout."""

    def __init__(self, config: ToyConfig):
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(5, config.width)
        self.blocks = nn.ModuleList(nn.Sequential(nn.Linear(config.width, config.width), nn.Dropout(0.2)) for _ in range(2))
        self.norm = nn.BatchNorm1d(config.width)
        self.head = nn.Linear(config.width, 2)

    def forward(self, x):
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.norm(x))


class ToyTask:
    """See `worldgym.pretrain.task.Task`."""

    kind = "toy"

    def __init__(self, seed: int = 0, pause: float = 0.0):
        self.seed, self.pause, self.origin = seed, pause, {"data_sha256": "none"}

    def build(self):
        return Toy(ToyConfig())

    def loss(self, module, step, share):
        time.sleep(self.pause)
        x = torch.from_numpy(rng.generator(self.seed, "x", step).normal(size=(16, 8))).float()
        return (module(x) - x[:, :2]).square().mean(), {"extra": 1.0}

    def validate(self, module):
        x = torch.from_numpy(rng.generator(self.seed, "validation").normal(size=(64, 8))).float()
        return {"error": float((module(x) - x[:, :2]).square().mean())}


@exit_with_sentence
def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--save-every", type=float, default=0.05)
    parser.add_argument("--pause", type=float, default=0.002)
    given = parser.parse_args()
    torch.set_num_threads(1)
    config = RunConfig(
        data=Path("-"),
        out=given.out,
        steps=given.steps,
        minutes=given.minutes,
        resume=given.resume,
        save_every=given.save_every,
        optimizer="muon",
        device="cpu",
    )
    loop.train(ToyTask(pause=given.pause), config, "toy")


if __name__ == "__main__":
    main()
