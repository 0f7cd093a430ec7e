"""Checks for parts of one's own: they play a little and say in sentences what is wrong.

- `check_agent(env, agent)`: a policy on a batched environment. `check_reward(env)`: a reward wrapper, same-named as in
  `worldgym.rewards`. Both return a list of sentences; an empty list means that nothing was found.

Gymnasium's own `check_env` does the same for environments.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from worldgym.rng import RowNoise, torch_seed

TOLERANCE = {torch.float32: 1e-4, torch.float64: 1e-4}  # of |ratio - 1|; half precision gets 1e-2


def check_agent(env: Any, agent: Any, seed: int = 0, dtype: torch.dtype = torch.float32) -> list[str]:
    """Play one episode and look at actions, log-probs and their recomputation.

    Args:
        env: a batched world-model environment, wrapped or not.
        agent: with `act(observation, noise)` and `logprob(trajectory)`, as `TokenAgent`.
        seed: of the episode.
        dtype: that the agent computes in.
    """
    first = _play(env, agent, seed)
    if isinstance(first, str):
        return [first]
    again = _play(env, agent, seed)
    found = []
    if isinstance(again, str) or not torch.equal(first, again):
        found.append("the same seeds gave other log-probs the second time: the agent keeps something from episode to episode")
    if not first.isfinite().all():
        found.append(f"{int((~first.isfinite()).sum())} of {first.numel()} log-probs are not finite numbers")
    return found + _check_ratio(agent.logprob(env.unwrapped.trajectory()).detach(), first, TOLERANCE.get(dtype, 1e-2))


def _check_ratio(recomputed: Tensor, stepped: Tensor, tolerance: float) -> list[str]:
    if recomputed.shape != stepped.shape:
        return [
            f"logprob(trajectory) has shape {tuple(recomputed.shape)}, but the episode had {tuple(stepped.shape)} (B, steps)"
        ]
    worst = ((recomputed - stepped).exp() - 1).abs()
    if bool((worst <= tolerance).all()):
        return []
    row, step = divmod(int(worst.nan_to_num(math.inf).argmax()), worst.shape[1])
    return [
        f"stepping and recomputing disagree: |ratio - 1| is {worst[row, step]:.2g} at step {step} of row {row}, more than "
        f"{tolerance:g}; does logprob() see the same context, sampling options and noise as act()?"
    ]


def _play(env: Any, agent: Any, seed: int) -> Tensor | str:
    """(B, steps) log-probs of an episode, or what is wrong with the agent's answers."""
    observation, _ = env.reset(seed=seed)
    noise = RowNoise([torch_seed(seed, "check", row) for row in range(env.num_envs)], env.unwrapped.device)
    logprobs = []
    while not env.unwrapped.finished:
        answer = agent.act(observation, noise)
        if not isinstance(answer, tuple) or len(answer) != 2:
            return f"act() must return an action and its logprob_sum, but returned {type(answer).__name__}"
        action, logprob = answer
        if tuple(logprob.shape) != (env.num_envs,):
            return f"act() gave log-probs of shape {tuple(logprob.shape)}; one number per row, ({env.num_envs},), is needed"
        observation, *_ = env.step(action)
        logprobs.append(logprob)
    return torch.stack(logprobs, 1)


def check_reward(env: Any, seed: int = 0) -> list[str]:
    """Score a random episode and look at shape, range, repeatability and rows.

    Args:
        env: a batched world-model environment whose outermost wrapper is the reward to check.
        seed: of the episode.
    """
    env.reset(seed=seed)
    env.action_space.seed(seed)
    while not env.unwrapped.finished:
        env.step(env.action_space.sample())
    core, name = env.unwrapped, type(env).__name__
    frames, truth = core.video(), core.truth()
    before = frames.clone()
    whole = env.score(frames, core.actions, truth, core.prefix).total
    if tuple(whole.shape) != (core.num_envs,):
        return [f"{name} gave shape {tuple(whole.shape)} for {core.num_envs} clips; one number per clip is needed"]
    found = [] if torch.equal(frames, before) else [f"{name} writes into the frames that it scores; work on a copy"]
    if not torch.equal(whole, env.score(before, core.actions, truth, core.prefix).total):
        found.append(f"{name} gave other numbers for the same clips; randomness must come from a seed")
    rows = [
        env.score(before[i : i + 1], core.actions[i : i + 1], truth[i : i + 1], core.prefix).total for i in range(len(before))
    ]
    if not torch.allclose(torch.cat(rows), whole, atol=1e-5):
        found.append(f"{name} scores a clip differently alone and in a batch: a row must not look at its neighbours")
    low, high = env.range
    if bool(((whole < low) | (whole > high) | ~whole.isfinite()).any()):
        found.append(
            f"{name} gave values from {whole.min():.3g} to {whole.max():.3g}, but declares the range {low:g} to {high:g}"
        )
    return found
