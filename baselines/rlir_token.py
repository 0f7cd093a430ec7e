"""RLIR on the token model (arXiv 2509.23958): GRPO, rewarded by the share of actions that an inverse dynamics model recovers.

command   python baselines/rlir_token.py --out rlir-token.safetensors
hardware  not yet measured as this file; the same by the command: 1 thread of an AMD EPYC
time      47 minutes
expected  of that run: held-out F1 from .597 to .654 (truth .859), see baselines/README.md; the paper's MineWorld 700M goes
          from .70 to .81 where true video has .87

then      python -m worldgym.eval --models rlir-token.safetensors

The paper's values are lr 3e-5, 24 rollouts, 32 samples per iteration, clip .2, top-p .8, for models of 300 M parameters and
more; the defaults here are for the bundled 1.3 M model on a CPU. The same with checkpoints, resume and several processes:
python -m worldgym.train grpo --preset rlir-token (or rlir-token-nano).
"""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import tyro

import worldgym
from worldgym.models.files.checkpoint import save
from worldgym.rewards import IDMReward
from worldgym.train.grpo import Grpo, TokenGrpo
from worldgym.train.policy import Policy
from worldgym.train.settings import Optimisation, Settings, TokenRollout

SHOWN = ("reward", "ratio", "clip_share", "clips_per_second")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Post-train a token world model by RLIR."""

    out: str = "rlir-token.safetensors"
    """File for the trained model."""
    model: str = "doom-rooms/token-nano"
    """Where to start."""
    codec: str = "doom-rooms/frame-codec"
    """The codec of that model."""
    prompts: str = "doom-rooms"
    """A folder of recorded clips (their training seeds), or the game itself: 64 prompts."""
    frames: int = 16
    """T, the given frame included."""
    prompt_batch: int = 8
    """Prompts per iteration."""
    group: int = 8
    """G rollouts per prompt."""
    lr: float = 3e-4
    """Of AdamW."""
    kl: float = 0.0
    """Weight of the divergence from the base model; the paper's 300M uses 1e-4."""
    iterations: int = 200
    """Updates."""
    seed: int = 0
    """Of everything random."""


def build(arguments: Arguments, world) -> Grpo:
    """Environment, reward, policy and algorithm."""
    settings = Settings(
        rollout=TokenRollout(seed=arguments.seed, prompt_batch=arguments.prompt_batch, group=arguments.group, top_p=0.8),
        algorithm=TokenGrpo(
            kl=arguments.kl,
            clip=0.2,
            frame_discount=0.0,  # ours: a frame's codes answer for that frame's action; None is the paper's
        ),
        optimisation=Optimisation(lr=arguments.lr),
    )
    env = gym.make_vec(
        "worldgym/DoomRooms-Token-v0",
        num_envs=settings.rollout.rows,
        prompts=arguments.prompts,
        codec=world.codec,
        frames=arguments.frames,
    )
    return Grpo(IDMReward(env), Policy(world, top_p=settings.rollout.top_p), settings)


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
