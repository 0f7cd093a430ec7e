"""Does a reward choose what another judge likes? Best of N by each reward, scored by a judge that was not asked.

    python benchmarks/best_of_n.py --prompts data/held --out benchmarks/results/best-of-n.json \\
        --rewards "if mode=fine" "if mode=soft" "idm mode=probability" --judge "if judge=doom-rooms/camera-heldout mode=fine"

A model continues validation clips by one frame, N times each. What a reward can teach is bounded by what it picks: the gain
of the best one, and of the best quarter, over the mean of their group in the eyes of the judge, and the correlation of both
inside groups (rollouts that a trainer needs go with its inverse square). Intervals: 95 %, normal, over prompts.
"""

from __future__ import annotations

import dataclasses
import platform
from typing import Any

import gymnasium as gym
import numpy as np
import torch
import tyro
from torch import Tensor

import worldgym  # noqa: F401  (registers the ids)
from worldgym import zoo
from worldgym.data import leaks
from worldgym.data.clips import ClipStore
from worldgym.data.prompts import store_prompts
from worldgym.errors import InputError, exit_with_sentence, unknown
from worldgym.files import write_json
from worldgym.models.world_model import WorldModel
from worldgym.rewards import Reward
from worldgym.rng import generator
from worldgym.train.settings import SHORT
from worldgym.train.wiring import ENV_OF, reward_classes
from worldgym.types import Prompts


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Best of N by one reward, seen by another."""

    out: str = "benchmarks/results/best-of-n.json"
    """Result file."""
    rewards: tuple[str, ...] = ("if mode=fine", "if mode=soft", "idm mode=probability")
    """Rewards that choose, each with its arguments."""
    judge: str = "if judge=doom-rooms/camera-heldout mode=fine"
    """What sees the chosen ones."""
    model: str = "doom-rooms/diffusion-nano-v3"
    """World model."""
    prompts: str = "data/held"
    """A folder of recorded clips; those of validation seeds are taken."""
    count: int = 100
    """Prompts."""
    candidates: int = 16
    """N."""
    prefix: int = 5
    """True frames before the one that is made."""
    seed: int = 0
    """Of prompts and candidates."""
    threads: int = torch.get_num_threads()
    """CPU threads."""


def picked(chosen_by: Tensor, seen_by: Tensor) -> dict[str, Any]:
    """What choosing by one score does to another: (P, N) and (P, N), the first without ties that matter.

    Returns:
        "best" and "quarter": mean gain over the group's mean, and 95 %; "correlation" inside groups.
    """
    order = chosen_by.argsort(1, descending=True)
    gains = seen_by.gather(1, order) - seen_by.mean(1, keepdim=True)
    a, b = (values - values.mean(1, keepdim=True) for values in (chosen_by, seen_by))
    scale = (a.square().sum() * b.square().sum()).sqrt()
    found: dict[str, Any] = {"correlation": float((a * b).sum() / scale) if scale > 0 else 0.0}
    for name, values in (("best", gains[:, 0]), ("quarter", gains[:, : max(1, gains.shape[1] // 4)].mean(1))):
        half = 1.96 * float(values.std()) / len(values) ** 0.5
        found[name] = {"gain": float(values.mean()), "interval": [float(values.mean()) - half, float(values.mean()) + half]}
    return found


def named(words: str, world: WorldModel, prompts: Prompts) -> Reward:
    """A reward from "name argument=value …"."""
    name, *rest = words.split()
    classes, short = reward_classes(), SHORT.get(name, name)
    if short not in classes:
        raise unknown("reward", name, [*classes, *SHORT])
    given, frames = prompts.prefix.shape[1], prompts.truth.shape[1]
    env = gym.make_vec(ENV_OF[world.kind], num_envs=1, prompts=prompts, codec=world.codec, frames=frames, prefix=given)
    return classes[short](env, **dict(part.split("=", 1) for part in rest))


@torch.inference_mode()
def scores(reward: Reward, frames: Tensor, prompts: Prompts, prefix: int) -> Tensor:
    """(P, N, T, H, W, 3) -> (P, N)."""
    truth, actions = torch.from_numpy(prompts.truth), torch.from_numpy(prompts.actions)
    rows = []
    for index, group in enumerate(frames):
        same = truth[index].expand_as(group) if reward.uses_truth else None
        rows.append(reward.score(group, actions[index].expand(len(group), -1, -1), same, prefix).total)
    return torch.stack(rows).double()


def drawn(arguments: Arguments) -> Prompts:
    """Windows of validation clips."""
    store, random = ClipStore(arguments.prompts), generator(arguments.seed, "best of n")
    clips = store.split("validation")
    if len(clips) < arguments.count:
        raise InputError(f"{arguments.prompts!r} has {len(clips)} validation clips, but --count is {arguments.count}")
    clips = np.sort(random.permutation(clips)[: arguments.count])
    return store_prompts(store, clips, np.zeros(len(clips), int), arguments.prefix + 1, arguments.prefix)


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    torch.set_num_threads(arguments.threads)
    world, prompts, count = zoo.load(arguments.model), drawn(arguments), arguments.candidates
    rewards = [named(words, world, prompts) for words in arguments.rewards]
    with leaks.allowed():  # it watches; nothing is trained by it
        judge = named(arguments.judge, world, prompts)
    frames = torch.stack(
        [
            world.generate(
                np.repeat(prompts.prefix[index, None], count, 0),
                np.repeat(prompts.actions[index, None], count, 0),
                [arguments.seed * 10**9 + index * count + row for row in range(count)],
            )
            for index in range(len(prompts.ids))
        ]
    )
    seen = scores(judge, frames, prompts, arguments.prefix)
    random = torch.Generator().manual_seed(arguments.seed)
    table = {}
    for words, reward in zip(arguments.rewards, rewards, strict=True):
        chosen = scores(reward, frames, prompts, arguments.prefix)
        ties = 1e-9 * torch.rand(chosen.shape, generator=random, dtype=chosen.dtype)  # drawn, not the first of equals
        table[words] = picked(chosen + ties, seen)
        print(words, table[words], flush=True)
    hardware = {"cpu": platform.processor() or platform.machine(), "threads": arguments.threads}
    about = {"arguments": dataclasses.asdict(arguments), "mean": float(seen.mean()), "hardware": hardware}
    write_json(arguments.out, {"rewards": table, **about, "torch": torch.__version__})


if __name__ == "__main__":
    main()
