"""Learners and data that take milliseconds.

- `Toy`, `ToyTask`: fit y = Wx, with dropout so that torch's generator matters.
- `ToyCodec`, `ToyLatents`: mean colours of a grid.
- `write_store`: a clip store whose frames show their own index.
- `process`: trains the toy in a process of its own, for tests that kill it.
"""

import dataclasses
import json
import multiprocessing
import os
import resource
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

from worldgym import actions, rng
from worldgym.data.clips import ARRAYS, content_hash
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


@dataclasses.dataclass(frozen=True)
class ToyCodecConfig:
    codes: int = 16
    grid: tuple[int, int] = (2, 3)
    channels: int = 3
    height: int = 16
    width: int = 24


class ToyCodec(nn.Module):
    """The mean grey of each cell of a 2x3 grid, in 16 steps."""

    def __init__(self, config: ToyCodecConfig):
        super().__init__()
        self.config, self.codes, self.grid = config, config.codes, config.grid
        self.scale = nn.Parameter(torch.ones(1))

    def encode(self, frames):
        cells = frames.unflatten(-2, (3, -1)).unflatten(-4, (2, -1)).float().mean((-1, -2, -4))
        return (cells / 256 * self.codes * self.scale).long().flatten(-2)

    def decode(self, codes):
        grey = ((codes.unflatten(-1, self.grid) + 0.5) * (256 / self.codes)).to(torch.uint8)
        return grey.repeat_interleave(8, -2).repeat_interleave(8, -1)[..., None].expand(*grey.shape[:-2], 16, 24, 3)


class ToyLatents(ToyCodec):
    """The mean colours of each cell, in [-1, 1]."""

    def __init__(self, config: ToyCodecConfig):
        super().__init__(config)
        self.channels = config.channels

    def encode(self, frames):
        cells = frames.unflatten(-2, (3, -1)).unflatten(-4, (2, -1)).float().mean((-2, -4))
        return (cells / 127.5 - 1).movedim(-1, -3) * self.scale

    def decode(self, latents):
        colours = ((latents.movedim(-3, -1) + 1) * 127.5).clamp(0, 255).to(torch.uint8)
        return colours.repeat_interleave(8, -3).repeat_interleave(8, -2)


CLASSES = {"frame-codec": ToyCodec, "latent-codec": ToyLatents, "toy": Toy}


def write_store(folder: Path, clips: int = 40, frames: int = 16) -> Path:
    """A store of 16x24 frames; frame t of clip n is of one grey, (n + 10 t) % 256, and clip 3 shows nothing."""
    folder.mkdir(parents=True)
    generator, spec = rng.generator(0, "toy store"), actions.DOOM
    greys = (np.arange(clips)[:, None] + 10 * np.arange(frames)) % 256
    moves = np.stack([generator.integers(size, size=(clips, frames - 1)) for size in spec.sizes], -1)
    arrays = {
        "frames": np.broadcast_to(greys[..., None, None, None], (clips, frames, 16, 24, 3)).astype(np.uint8),
        "actions": moves.astype(np.int64),
        "poses": np.zeros((clips, frames, 6)),
        "lead": np.zeros((clips, 1, len(spec.sizes)), np.int64),
        "seeds": np.arange(clips),
        "starts": np.zeros(clips, np.int64),
        "visible": np.arange(clips) != 3,
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    write_manifest(folder, {"format": 1, "world": "toy", "spec": "doom", "clips": clips})
    return folder


def write_manifest(folder: Path, manifest: dict) -> None:
    """The manifest of the arrays that lie in a folder."""
    digest = content_hash({name: np.load(folder / f"{name}.npy") for name in ARRAYS})
    (folder / "manifest.json").write_text(json.dumps({**manifest, "sha256": digest}))


@exit_with_sentence
def main(out: Path, steps: int, save_every: float, pause: float):
    torch.set_num_threads(1)
    config = RunConfig(
        data=Path("-"), out=out, steps=steps, resume=True, save_every=save_every, optimizer="muon", device="cpu"
    )
    loop.train(ToyTask(pause=pause), config, "toy")


def process(errors: Path, largest_file: int | None = None, **settings):
    """A process that trains with `main`, its stderr in a file; forked from a server that has torch loaded."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, "torch._dynamo", "torch.utils.tensorboard"])
    return context.Process(target=_run, args=(errors, largest_file, settings))


def _run(errors: Path, largest_file: int | None, settings: dict):
    os.dup2(os.open(errors, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    main(**settings)
