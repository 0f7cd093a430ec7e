"""RLIR on the frame diffusion model (arXiv 2509.23958): GRPO on stochastic denoising steps, rewarded by inverse dynamics.

command   python baselines/rlir_diffusion.py --out rlir-diffusion.safetensors
hardware  not yet measured as this file; by the command, with pixels as a second reward: 1 thread of an AMD EPYC
time      26 minutes
expected  of that run, with noise .5 in four steps: F1 .719 to .737 (+.018 [.004, .031]) in three steps, see
          baselines/README.md; with noise .75 it lost; the paper's NFD 774M goes from F1 .77 to .83 where true video has .87

then      python -m worldgym.eval --models rlir-diffusion.safetensors

The paper's values are lr 1e-5, 24 rollouts, 16 samples per iteration, clip .2, 10 steps, constant noise .75, 60 % of the
steps trained; lr, group and batch here are for the bundled model on a CPU. `last_noise=False` is ours: the step to sigma 0
draws nothing, so that the judge sees clean frames. The same with checkpoints and resume: python -m worldgym.train grpo
--preset rlir-diffusion-nano.
"""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import tyro

import worldgym
from worldgym.models.files.checkpoint import save
from worldgym.rewards import IDMReward
from worldgym.train.grpo import DiffusionGrpo, Grpo
from worldgym.train.policy import Policy, QuietEnd
from worldgym.train.settings import DiffusionRollout, Optimisation, Settings

SHOWN = ("reward", "ratio", "clip_share", "clips_per_second")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Post-train a frame diffusion world model by RLIR."""

    out: str = "rlir-diffusion.safetensors"
    """File for the trained model."""
    model: str = "doom-rooms/diffusion-nano-v3"
    """Where to start."""
    codec: str = "doom-rooms/latent-codec"
    """The codec of that model."""
    prompts: str = "doom-rooms"
    """A folder of recorded clips (their training seeds), or the game itself: 64 prompts."""
    frames: int = 16
    """T, the given frame included."""
    prompt_batch: int = 8
    """Prompts per iteration."""
    group: int = 8
    """G rollouts per prompt."""
    lr: float = 1e-4
    """Of AdamW."""
    denoise_steps: int = 10
    """K per frame."""
    noise: float = 0.75
    """The constant g of the stochastic steps."""
    iterations: int = 200
    """Updates."""
    seed: int = 0
    """Of everything random."""


def build(arguments: Arguments, world) -> Grpo:
    """Environment, reward, policy and algorithm."""
    settings = Settings(
        rollout=DiffusionRollout(seed=arguments.seed, prompt_batch=arguments.prompt_batch, group=arguments.group),
        algorithm=DiffusionGrpo(
            clip=0.2,
            step_share=0.6,
            frame_discount=0.0,  # ours: a frame's steps answer for that frame's action; None is the paper's
        ),
        optimisation=Optimisation(lr=arguments.lr, micro=2),
    )
    env = gym.make_vec(
        "worldgym/DoomRooms-Denoise-v0",
        num_envs=settings.rollout.rows,
        prompts=arguments.prompts,
        codec=world.codec,
        frames=arguments.frames,
        steps=arguments.denoise_steps,
    )
    return Grpo(IDMReward(env), Policy(world, QuietEnd("rlir", arguments.noise)), settings)


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
