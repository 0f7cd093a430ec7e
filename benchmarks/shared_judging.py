"""What it costs to score candidates for one more frame: their common frames judged once, and in every row.

    python benchmarks/shared_judging.py --out benchmarks/results/shared-judging-cpu.json

Both sides are the same reward, judge and rows: candidates of several prompts that differ in their last frame. With the other
frames given, only what is new is looked at; with one given, as where a whole video is scored, every row is read whole. The
sides alternate; the ratio is the median over rounds.
"""

from __future__ import annotations

import dataclasses
import platform
import statistics
import time
from typing import Any

import gymnasium as gym
import torch
import tyro
from torch import Tensor

from worldgym import rewards
from worldgym.errors import InputError, exit_with_sentence
from worldgym.files import write_json

REWARDS = {
    "idm": (rewards.IDMReward, {"mode": "probability"}),
    "interaction_following": (rewards.InteractionFollowingReward, {"mode": "soft"}),
    "quality": (rewards.VisualQualityReward, {}),
    "drift": (rewards.DriftReward, {}),
    "pixel": (rewards.PixelReward, {"perceptual": "bundled"}),
}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Time both sides."""

    out: str = "benchmarks/results/shared-judging.json"
    """Result file."""
    frames: tuple[int, ...] = (4, 8, 16)
    """Frames of a clip, the last one the candidates' own."""
    prompts: int = 4
    """Prompts."""
    group: int = 16
    """Candidates of each."""
    rounds: int = 3
    """Alternations."""
    threads: int = 1
    """CPU threads."""


def clips(arguments: Arguments, frames: int, sizes: tuple[int, ...]) -> list[Tensor]:
    """Frames, actions and truth: noise, which takes as long to judge as anything else."""
    draw = torch.Generator().manual_seed(frames)
    begin = torch.randint(0, 256, (arguments.prompts, frames, 56, 96, 3), generator=draw, dtype=torch.uint8)
    every = begin.repeat_interleave(arguments.group, 0)
    every[:, -1] = torch.randint(0, 256, every[:, -1].shape, generator=draw, dtype=torch.uint8)
    actions = torch.stack([torch.randint(n, (len(every), frames - 1), generator=draw) for n in sizes], -1)
    return [every, actions, begin.repeat_interleave(arguments.group, 0)]


def seconds(reward: Any, parts: list[Tensor], given: int) -> float:
    """Of one look."""
    start = time.perf_counter()
    with torch.no_grad():
        reward.score(*parts, given)
    return time.perf_counter() - start


def measure(reward: Any, parts: list[Tensor], rounds: int) -> dict[str, float]:
    """One line of the table."""
    last = parts[0].shape[1] - 1
    spent = [(seconds(reward, parts, last), seconds(reward, parts, 1)) for _ in range(rounds + 1)][1:]
    found = {
        "shared_seconds": statistics.median(one for one, _ in spent),
        "each_row_seconds": statistics.median(two for _, two in spent),
        "ratio": statistics.median(one / two for one, two in spent),
    }
    print(f"{reward.name}, {last + 1} frames: {found['ratio']:.3f} of the time", flush=True)
    return found


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    if min(arguments.frames) < 3:
        raise InputError(f"--frames must be at least 3, so that something is shared, not {min(arguments.frames)}")
    torch.set_num_threads(arguments.threads)
    env = gym.make_vec("worldgym/DoomRooms-Denoise-v0", num_envs=1, prompt_seeds=[0], frames=3, steps=1)
    found = {
        name: {
            str(frames): measure(
                cls(env, **options), clips(arguments, frames, env.unwrapped.action_spec.sizes), arguments.rounds
            )
            for frames in arguments.frames
        }
        for name, (cls, options) in REWARDS.items()
    }
    hardware = {"cpu": platform.processor() or platform.machine(), "threads": arguments.threads}
    write_json(
        arguments.out,
        {"rewards": found, "settings": dataclasses.asdict(arguments), "hardware": hardware, "torch": torch.__version__},
    )


if __name__ == "__main__":
    main()
