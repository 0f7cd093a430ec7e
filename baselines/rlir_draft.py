"""RLIR's reward by its gradient (DRaFT, arXiv 2309.17400) on the frame diffusion model: inverse dynamics beside pixels.

command   python baselines/rlir_draft.py --out rlir-draft.safetensors
hardware  not yet measured as this file; by the command below: 1 thread of an AMD EPYC, shared with two other programs
time      40 minutes
expected  see baselines/README.md, "By the judge's gradient"

then      python -m worldgym.eval --models rlir-draft.safetensors

GRPO and NFT compare finished videos and need nothing but numbers from `env.step`. The bundled judges are networks: here
their gradient passes through the decoder into the velocities of one denoising step per frame. The same with checkpoints and
resume, and a camera judge as a second reward: python -m worldgym.train draft --preset rlir-draft-nano.
"""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import tyro

import worldgym
from worldgym.models.diffusion.noise_kernels import NoiseKernel
from worldgym.models.files.checkpoint import save
from worldgym.rewards import IDMReward, PixelReward
from worldgym.rewards.smooth import Objective
from worldgym.train.draft import DiffusionDraft, Draft
from worldgym.train.policy import Policy
from worldgym.train.settings import DiffusionRollout, Optimisation, Settings

SHOWN = ("terms/idm", "terms/pixel", "gradient", "clips_per_second")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Post-train a frame diffusion world model on the gradient of RLIR's judge."""

    out: str = "rlir-draft.safetensors"
    """File for the trained model."""
    model: str = "doom-rooms/diffusion-nano-v3"
    """Where to start."""
    codec: str = "doom-rooms/latent-codec"
    """The codec of that model."""
    prompts: str = "doom-rooms"
    """A folder of recorded clips (their training seeds), or the game itself: 64 prompts."""
    frames: int = 6
    """T, the given frame included."""
    prompt_batch: int = 32
    """Prompts per iteration."""
    group: int = 1
    """Videos per prompt; nothing is compared."""
    pixel: float = 5.0
    """Weight of the distance from what truly happened; the judge has weight 1."""
    lr: float = 5e-4
    """Of AdamW."""
    denoise_steps: int = 4
    """K per frame; one of them learns, another one in every iteration."""
    iterations: int = 200
    """Updates."""
    seed: int = 0
    """Of everything random."""


def build(arguments: Arguments, world) -> Draft:
    """Environment, rewards, policy and algorithm."""
    settings = Settings(
        rollout=DiffusionRollout(seed=arguments.seed, prompt_batch=arguments.prompt_batch, group=arguments.group),
        algorithm=DiffusionDraft(step_share=1 / arguments.denoise_steps),
        optimisation=Optimisation(lr=arguments.lr, micro=32, ema=0.95),
    )
    env = gym.make_vec(
        "worldgym/DoomRooms-Denoise-v0",
        num_envs=settings.rollout.rows,
        prompts=arguments.prompts,
        codec=world.codec,
        frames=arguments.frames,
        steps=arguments.denoise_steps,
    )
    env = PixelReward(IDMReward(env, mode="probability"))
    objective = Objective(env, {IDMReward.name: 1.0, PixelReward.name: arguments.pixel})
    return Draft(env, Policy(world, NoiseKernel("ode")), settings, objective=objective)


def train(arguments: Arguments) -> list[float]:
    """The mean reward of every iteration; writes the trained model."""
    world = worldgym.load(arguments.model)
    learner = build(arguments, world)
    rewards = []
    for iteration in range(arguments.iterations):
        logs = learner.iterate(iteration)
        rewards.append(logs["reward"])
        print(f"{iteration:4d}  " + "  ".join(f"{name} {logs[name]:.3g}" for name in SHOWN), flush=True)
    save(arguments.out, learner.best_weights(), world.kind, {"codec": arguments.codec})
    return rewards


if __name__ == "__main__":
    train(tyro.cli(Arguments))
