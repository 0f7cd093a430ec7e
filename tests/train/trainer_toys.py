"""Tiny world models in training, rewards that a toy can raise, and runs in processes of their own.

- `learner(kind, …)`: a `Grpo` or `Nft` on a toy environment. `Bright`, `Broken`: rewards.
- `files(folder)`: a toy model, codec and clip store on disk, for whole runs; `run_config(…)`: settings for them.
"""

import copy
import json
from pathlib import Path

import env_toys
import numpy as np
import torch

from worldgym import rng
from worldgym.actions import DOOM
from worldgym.data.clips import ARRAYS, content_hash
from worldgym.files import sha256
from worldgym.models.diffusion.noise_kernels import NoiseKernel
from worldgym.models.files import checkpoint
from worldgym.models.world_model import WorldModel
from worldgym.rewards import Reward
from worldgym.runs.ranks import whole
from worldgym.train.config import ALGORITHMS, ROLLOUTS, TrainRun, replaced
from worldgym.train.draft import Draft
from worldgym.train.grpo import Grpo
from worldgym.train.learner import Learner, rows_needed
from worldgym.train.nft import Nft
from worldgym.train.policy import Policy, QuietEnd
from worldgym.train.settings import Run, Settings

FRAMES = 3


class Bright(Reward):
    """Mean brightness of the generated frames."""

    name, range = "bright", (0.0, 1.0)

    def per_frame(self, frames, actions, truth):
        return frames[:, 1:].float().mean((2, 3, 4)) / 255


class Broken(Bright):
    """Not a number for one row."""

    def per_frame(self, frames, actions, truth):
        values = super().per_frame(frames, actions, truth)
        values[0] = torch.nan
        return values


def world(kind: str) -> WorldModel:
    if kind == "token":
        return WorldModel("toy", kind, copy.deepcopy(env_toys.token_model()), env_toys.frame_codec())
    return WorldModel("toy", kind, copy.deepcopy(env_toys.diffusion_model()), env_toys.latent_codec())


def settings_of(algorithm: str = "grpo", kind: str = "token", **fields) -> Settings:
    """Settings of a learner, each field by its own name."""
    return replaced(Settings(rollout=ROLLOUTS[kind](), algorithm=ALGORITHMS[algorithm][kind]()), **fields)


def learner(kind: str = "token", nft: bool = False, reward=Bright, ranks=None, cls=None, **settings) -> Learner:
    """A learner of 2 prompts x 4 rollouts x 2 new frames; `settings` of its config."""
    config = settings_of("nft" if nft else "grpo", kind, **{"prompt_batch": 2, "group": 4, "lr": 0.01} | settings)
    rows = rows_needed(config, ranks.rank if ranks else 0, ranks.world if ranks else 1)
    make = env_toys.token_env if kind == "token" else env_toys.denoise_env
    env = reward(make(rows, frames=FRAMES, prompts=env_toys.prompts(frames=FRAMES)), due="clip")
    kernel = NoiseKernel("ode") if nft else QuietEnd("flow-grpo")
    return (cls or (Nft if nft else Grpo))(env, Policy(world(kind), kernel), config, ranks)


def unrewarded(pictures, actions, truth, given, seeds):
    """An objective that asks for nothing."""
    score = 0 * pictures[:, given:].mean((2, 3, 4))
    return score, {"nothing": score}


def rivals(env, policy, config, ranks, **settings) -> Draft:
    """Reward gradients from an adversary alone, with some of another algorithm's settings."""
    same = {"prompt_batch": config.rollout.prompt_batch, "group": config.rollout.group}
    same |= {name: getattr(config.optimisation, name) for name in ("micro", "lr", "grad_clip")}
    own = settings_of("draft", policy.kind, **{**same, "adversary": 1.0, **settings})
    return Draft(env, policy, own, ranks, objective=unrewarded)


def files(folder: Path, kind: str = "token") -> Path:
    """A folder with codec.safetensors, model.safetensors and store/."""
    folder.mkdir(parents=True, exist_ok=True)
    made = world(kind)
    codec = folder / "codec.safetensors"
    checkpoint.save(codec, made.codec, {"token": "frame-codec", "diffusion": "latent-codec"}[kind])
    origin = {"codec": str(codec), "codec_sha256": sha256(codec), "spec": "doom", "world": "toy"}
    checkpoint.save(folder / "model.safetensors", made.model, kind, origin)
    _store(folder / "store")
    return folder


def run_config(folder: Path, out: Path, algorithm: str = "grpo", resume: bool = False, **settings) -> TrainRun:
    """Settings of a run on `files(folder)`, each field by its own name."""
    model = folder / "model.safetensors"
    kind = checkpoint.read(model)[1] if model.exists() else "token"
    small = {"prompt_batch": 2, "group": 4, "frames": FRAMES, "prompt_count": 8, "lr": 0.01}
    small |= {"denoise_steps": 3} if kind == "diffusion" else {}
    where = {"model": str(model), "prompts": str(folder / "store"), "device": "cpu"}
    start = TrainRun(
        rollout=ROLLOUTS[kind](),
        algorithm=ALGORITHMS[algorithm][kind](),
        run=Run(out=out, iterations=4, threads=1),
        resume=resume,
    )
    return replaced(start, **{**small, **where, "reward": ("pixel",), **settings})


def flat_gradient(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([whole(p.grad).flatten() for p in module.parameters() if p.grad is not None])


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in module.parameters()])


def _store(folder: Path, clips: int = 20, frames: int = 6) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    random = rng.generator(0, "toy store")
    arrays = {
        "frames": random.integers(0, 256, (clips, frames, 24, 32, 3), np.uint8),
        "actions": np.stack([random.integers(size, size=(clips, frames - 1)) for size in DOOM.sizes], -1),
        "poses": np.zeros((clips, frames, 6)),
        "lead": np.zeros((clips, 1, len(DOOM.sizes)), np.int64),
        "seeds": np.arange(clips),
        "starts": np.zeros(clips, np.int64),
        "visible": np.ones(clips, bool),
    }
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    digest = content_hash({name: np.load(folder / f"{name}.npy") for name in ARRAYS})
    manifest = {"format": 1, "world": "toy", "spec": "doom", "clips": clips, "sha256": digest}
    (folder / "manifest.json").write_text(json.dumps(manifest))
