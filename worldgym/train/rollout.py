"""Rollouts: episodes of all rows, whole videos or candidates for one clip behind a shared prefix.

- `RolloutPlan`: what is to be played. `Rollout`: what happened. `play(env, policy, task)`: from one to the other.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from worldgym.errors import InputError
from worldgym.rng import RowNoise, torch_seed
from worldgym.train.layout import Layout
from worldgym.train.policy import Policy, Trajectory


@dataclasses.dataclass(frozen=True)
class RolloutPlan:
    """One iteration's rollouts.

    Attributes:
        prompts: (P,) index of each slot's prompt, over all processes.
        layout: which rows this process plays.
        seed: of the iteration.
        level: "sample" or "clip".
        clips: those that differ inside a group: all up to the last one played, or at level "clip" the last ones.
        same_noise: a group starts from the same noise.
    """

    prompts: Sequence[int]
    layout: Layout
    seed: int
    level: str
    clips: range
    same_noise: bool = False


@dataclasses.dataclass(frozen=True, eq=False)
class Rollout:
    """B finished rollouts of one process.

    Attributes:
        trajectory: for recomputing.
        clips: the clips that differ inside a group, as in the task.
        logprob: (B, S) float32, logprob_sum of every step of those clips when it was taken.
        reward: (B,) float32, the sum of what env.step gave: once at the end, or after every one of those clips.
        terms: by name, (B,) unweighted reward terms, the mean over the times they were due; at level "clip" the mean over
            the frames of those clips where a term has values per frame.
        frames: by name, (B, F) values per frame of those clips.
        reward_seconds: time of the steps that finish a clip: decoding, judging and one booking.
    """

    trajectory: Trajectory
    clips: range
    logprob: Tensor
    reward: Tensor
    terms: dict[str, Tensor]
    frames: dict[str, Tensor]
    reward_seconds: float


def play(env: Any, policy: Policy, task: RolloutPlan, model: nn.Module | None = None) -> Rollout:
    """Play one iteration's rollouts.

    Args:
        env: a batched world-model environment in its rewards; level "sample" needs a row per rollout of this process,
            level "clip" a row per prompt slot.
        policy: what acts.
        task: what is to be played.
        model: weights to act with instead of the policy's own.
    """
    layout, agent = task.layout, policy.agent(env, model)
    seeds = [torch_seed(task.seed, "row", row) for row in layout.rows]
    if task.level == "sample":
        observation = _reset(env, task, [row // layout.group for row in layout.rows], layout.rows)
    else:
        env, agent, observation = _behind_prefix(env, agent, task)
    logprob, reward, infos, seconds = _finish(env, agent, RowNoise(seeds, env.unwrapped.device), observation)
    core = env.unwrapped
    generated = len(task.clips) * core.clip_frames
    terms = {name: torch.stack(values).mean(0) for name, values in _columns(infos, "reward_terms").items()}
    frames = {name: torch.cat(values, 1)[:, -generated:] for name, values in _columns(infos, "reward_frames").items()}
    if task.level == "clip":
        terms |= {name: values.mean(1) for name, values in frames.items() if name in terms}
    return Rollout(core.trajectory(), task.clips, logprob, reward, terms, frames, seconds)


def _reset(env: Any, task: RolloutPlan, slots: Sequence[int], rows: Sequence[int]) -> dict[str, Tensor]:
    if env.num_envs != len(rows):
        raise InputError(f"this iteration plays {len(rows)} rows, but the environment has {env.num_envs}")
    core, group = env.unwrapped, task.layout.group
    noise = [row - row % group for row in rows] if task.same_noise else rows
    seeds = [torch_seed(task.seed, "environment", row) for row in noise]
    size = len(task.layout.members) if task.level == "sample" else 1  # neighbours that rewards may compare
    options = {"prompts": [task.prompts[slot] for slot in slots[::size]], "group_size": size}
    if task.clips[-1] < core.clips - 1:
        options["clip"] = task.clips[-1]
    return env.reset(seed=seeds, options=options)[0]


def _behind_prefix(env: Any, agent: Any, task: RolloutPlan) -> tuple[Any, Any, dict[str, Tensor]]:
    """Every prompt once up to the clip, then G continuations; nothing is scored before the fork."""
    slots, group = list(task.layout.slots), task.layout.group
    firsts = [slot * group for slot in slots]
    observation = _reset(env, task, slots, firsts)
    core = env.unwrapped
    noise = RowNoise([torch_seed(task.seed, "prefix", row) for row in firsts], core.device)
    while core.clip < task.clips.start:
        observation = core.step(agent.act(observation, noise)[0])[0]
    members = task.layout.members
    env, agent = env.fork(len(members), members.start), agent.fork(len(members))
    return env, agent, env.unwrapped.observation()


@torch.no_grad()
def _finish(
    env: Any, agent: Any, noise: RowNoise, observation: dict[str, Tensor]
) -> tuple[Tensor, Tensor, list[dict[str, Any]], float]:
    """Step to the end: log-probs (B, S), the return (B,), infos with rewards, seconds spent where clips end."""
    core, logprobs, infos, total, seconds = env.unwrapped, [], [], 0.0, 0.0
    while not core.finished:
        action, logprob = agent.act(observation, noise)
        start = time.perf_counter()
        observation, reward, _, _, info = env.step(action)
        logprobs.append(logprob)
        if core.clip_done:  # rewards come nowhere else
            total = total + reward.float()
            infos.append(info)
            seconds += time.perf_counter() - start
    return torch.stack(logprobs, 1), total, infos, seconds


def _columns(infos: list[dict[str, Any]], key: str) -> dict[str, list[Tensor]]:
    found: dict[str, list[Tensor]] = {}
    for info in infos:
        for name, values in info.get(key, {}).items():
            found.setdefault(name, []).append(values)
    return found
