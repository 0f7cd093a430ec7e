"""REINFORCE on a world model: the template for an optimizer of your own. Copy the file and change `update`.

command   python baselines/reinforce.py --out reinforce.safetensors
hardware  1 thread of an AMD EPYC, shared with other programs
time      35 s of CPU time
expected  reward from 0.690 (first 10 iterations) to 0.720 (last 10), seed 0; 95 % bootstrap interval of the difference over
          iterations [0.011, 0.052]; the judged reward on its own two prompts, no statement about others

The world model is the agent: one step of the environment is one code of a picture. A reward says how many
of the given actions the finished video shows; rollouts of one prompt are compared with each other.
"""

from __future__ import annotations

import dataclasses
import time

import gymnasium as gym
import torch
import tyro

import worldgym
from worldgym.models.files.checkpoint import save
from worldgym.models.token.agent import TokenAgent
from worldgym.rewards import IDMReward
from worldgym.rng import RowNoise


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Train a token world model by REINFORCE."""

    model: str = "doom-rooms/token-nano"
    """Where to start."""
    source: str = "doom-rooms"
    """Prompts: a folder of recorded clips (their training seeds), or the game itself."""
    prompts: int = 2
    """How many, the same in every iteration."""
    group: int = 8
    """G rollouts per prompt."""
    frames: int = 2
    """T, the given frame included."""
    iterations: int = 40
    """Updates."""
    lr: float = 1e-3
    """Of Adam."""
    seed: int = 0
    """Of everything random."""
    out: str | None = None
    """File for the trained model."""


def rollout(env: gym.vector.VectorEnv, agent: TokenAgent, seed: int, group: int) -> tuple[torch.Tensor, torch.Tensor]:
    """One episode in every row: reward (B,), and what each generated frame is worth (B, T-1)."""
    rows = env.unwrapped.num_envs
    observation, _ = env.reset(seed=seed, options={"prompts": range(rows // group), "group_size": group})
    noise, finished = RowNoise(range(seed, seed + rows)), False
    while not finished:
        action, _ = agent.act(observation, noise)
        observation, reward, terminated, _, info = env.step(action)
        finished = bool(terminated.all())
    return reward, info["reward_frames"]["idm"]


def update(agent: TokenAgent, optimizer: torch.optim.Optimizer, trajectory, worth: torch.Tensor, group: int) -> None:
    """Your part. Here: every code of a frame is made likelier by what the frame was better than its group's others."""
    groups = worth.unflatten(0, (-1, group))
    advantage = ((groups - groups.mean(1, keepdim=True)) / (groups.std() + 1e-6)).flatten(0, 1)
    logprob = agent.logprob(trajectory)  # (B, steps), one pass, with gradient
    loss = -(advantage.repeat_interleave(logprob.shape[1] // worth.shape[1], 1) * logprob).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def train(arguments: Arguments) -> list[float]:
    """The mean reward of every iteration."""
    world, rows, rewards = worldgym.load(arguments.model), arguments.prompts * arguments.group, []
    name = "worldgym/DoomRooms-Token-v0"
    play = {"codec": world.codec, "prompts": arguments.source, "frames": arguments.frames}
    env = IDMReward(gym.make_vec(name, num_envs=rows, **play))
    agent = TokenAgent(world.model.requires_grad_(True))
    optimizer, start = torch.optim.Adam(world.model.parameters(), arguments.lr), time.process_time()
    for iteration in range(arguments.iterations):
        reward, worth = rollout(env, agent, arguments.seed * 1_000_000 + iteration * rows, arguments.group)
        update(agent, optimizer, env.unwrapped.trajectory(), worth, arguments.group)
        rewards.append(float(reward.mean()))
        print(f"{iteration:4d}  reward {rewards[-1]:.3f}  CPU {time.process_time() - start:.0f} s", flush=True)
    if arguments.out:
        save(arguments.out, world.model, "token", {"codec": "doom-rooms/frame-codec"})
    return rewards


if __name__ == "__main__":
    found = train(tyro.cli(Arguments))
    share = max(1, len(found) // 4)
    print(f"first quarter {sum(found[:share]) / share:.3f}, last quarter {sum(found[-share:]) / share:.3f}")
