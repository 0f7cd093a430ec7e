"""A preference-like reward on the token model: GRPO, rewarded by how the video looks, whatever the actions were.

command   python baselines/preference.py --out preference.safetensors
hardware  not yet measured as this file; by the command, with the quality reward alone: 1 thread of an AMD EPYC
time      58 minutes
expected  of that run: its own judge from .75 to .99, held-out F1 from .597 down to .384: reward hacking, see
          baselines/README.md; in RLIR's Table 2 VideoAlign moves MineWorld 700M from F1 .70 to .73, RLIR's reward to .81

then      python -m worldgym.eval --models preference.safetensors

The judge is the bundled stand-in for VideoAlign: visual quality of the frames and quality of the motion, their mean. Nothing
in it knows the actions, so this run says how much of an action score comes from better pictures alone.
"""

from __future__ import annotations

import dataclasses

import gymnasium as gym
import tyro

import worldgym
from worldgym.models.files.checkpoint import save
from worldgym.rewards import PreferenceReward
from worldgym.train.grpo import Grpo, TokenGrpo
from worldgym.train.policy import Policy
from worldgym.train.settings import Optimisation, Settings, TokenRollout

SHOWN = ("reward", "ratio", "clip_share", "clips_per_second")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Post-train a token world model on a preference-like reward."""

    out: str = "preference.safetensors"
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
    iterations: int = 200
    """Updates."""
    seed: int = 0
    """Of everything random."""


def build(arguments: Arguments, world) -> Grpo:
    """Environment, reward, policy and algorithm."""
    settings = Settings(
        rollout=TokenRollout(seed=arguments.seed, prompt_batch=arguments.prompt_batch, group=arguments.group, top_p=0.8),
        algorithm=TokenGrpo(),
        optimisation=Optimisation(lr=arguments.lr),
    )
    env = gym.make_vec(
        "worldgym/DoomRooms-Token-v0",
        num_envs=settings.rollout.rows,
        prompts=arguments.prompts,
        codec=world.codec,
        frames=arguments.frames,
    )
    return Grpo(PreferenceReward(env), Policy(world, top_p=settings.rollout.top_p), settings)


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
