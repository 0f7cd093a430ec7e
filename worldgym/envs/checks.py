"""Checks for parts of one's own: they play a little and say in sentences what is wrong.

- `check_agent(env, agent)`: a policy on a batched environment. `check_reward(env)`: a reward, as in `worldgym.rewards`.
- `check_model(model, prompts)`: whatever continues frames, as `worldgym.eval` runs it. `check_world(world)`: a game that is
  to be recorded, as `worldgym.worlds.doom.DoomWorld`.

All return a list of sentences; an empty list means that nothing was found.

    >>> from worldgym.envs.checks import check_reward                                           # doctest: +SKIP
    >>> check_reward(MyReward(worldgym.make_vec("worldgym/DoomRooms-Denoise-v0", num_envs=4)))    # doctest: +SKIP
    ['MyReward scores a clip differently alone and in a batch: a row must not look at its neighbours']

Gymnasium's own `check_env` does the same for environments.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from worldgym.rng import RowNoise, torch_seed
from worldgym.types import Prompts

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
    problems = []
    if isinstance(again, str) or not torch.equal(first, again):
        problems.append(
            "the same seeds gave other log-probs the second time: the agent keeps something from episode to episode"
        )
    if not first.isfinite().all():
        problems.append(f"{int((~first.isfinite()).sum())} of {first.numel()} log-probs are not finite numbers")
    return problems + _check_ratio(agent.logprob(env.unwrapped.trajectory()).detach(), first, TOLERANCE.get(dtype, 1e-2))


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
    problems = [] if torch.equal(frames, before) else [f"{name} writes into the frames that it scores; work on a copy"]
    if not torch.equal(whole, env.score(before, core.actions, truth, core.prefix).total):
        problems.append(f"{name} gave other numbers for the same clips; randomness must come from a seed")
    rows = [
        env.score(before[i : i + 1], core.actions[i : i + 1], truth[i : i + 1], core.prefix).total for i in range(len(before))
    ]
    if not torch.allclose(torch.cat(rows), whole, atol=1e-5):
        problems.append(f"{name} scores a clip differently alone and in a batch: a row must not look at its neighbours")
    low, high = env.range
    if bool(((whole < low) | (whole > high) | ~whole.isfinite()).any()):
        problems.append(
            f"{name} gave values from {whole.min():.3g} to {whole.max():.3g}, but declares the range {low:g} to {high:g}"
        )
    return problems


def check_model(model: Any, prompts: Prompts, seeds: Sequence[int] = (0, 1)) -> list[str]:
    """Let a world model continue two prompts and look at frames, seeds, rows and whether actions matter.

    Args:
        model: with `generate(prefix (B, P, H, W, 3), actions (B, T-1, A), seeds) -> (B, T, H, W, 3) uint8`.
        prompts: at least 2.
        seeds: one per prompt.
    """
    some = prompts[slice(0, 2)]

    def made(rows: slice = slice(0, 2), actions: np.ndarray = some.actions) -> np.ndarray:
        return np.asarray(model.generate(some.prefix[rows], actions[rows], seeds=list(seeds)[rows]))

    frames, shape = made(), some.truth.shape
    if frames.shape != shape or frames.dtype != np.uint8:
        return [f"generate gave {frames.dtype} frames of shape {frames.shape}; uint8 of shape {shape} is needed"]
    problems = []
    if not np.array_equal(frames, made()):
        problems.append("generate gave other frames for the same seeds: all randomness must come from `seeds`")
    if not np.array_equal(frames[1:], made(slice(1, 2))):
        problems.append("generate continues a row differently alone and in a batch: a row must not depend on its neighbours")
    kept = np.abs(frames[:, : some.prefix.shape[1]].astype(int) - some.prefix).mean()
    if kept > 0.1 * 255:
        problems.append(f"the given frames come back changed, by {kept:.0f} of 255 on average")
    given = some.prefix.shape[1] - 1
    other = some.actions.copy()
    other[:, given:] = other[::-1, given:]
    if (other != some.actions).any() and np.array_equal(frames, made(actions=other)):
        problems.append("generate gave the same frames for other actions: does the model see them?")
    return problems


def check_world(world: Any, steps: int = 8, seed: int = 0) -> list[str]:
    """Play a world twice with the same seed and actions and look at frames, poses and snapshots.

    Args:
        world: a `gymnasium.Env` whose observation is a frame (H, W, 3) uint8 and whose info has "pose" (6,): x, y, z, yaw,
            pitch, roll; `snapshot()` and `restore(state)` where it has them.
        steps: how many actions.
        seed: of the world and of the actions.
    """
    world.action_space.seed(seed)
    actions = [world.action_space.sample() for _ in range(steps)]
    frame, info = world.reset(seed=seed)
    if not isinstance(frame, np.ndarray) or frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[-1] != 3:
        return [f"reset gave {getattr(frame, 'dtype', type(frame).__name__)} {np.shape(frame)}; a frame is (H, W, 3) uint8"]
    if "pose" not in info or np.shape(info["pose"]) != (6,) or not np.isfinite(info["pose"]).all():
        return ['info["pose"] must hold 6 finite numbers: x, y, z, yaw, pitch, roll']
    first, again = _played(world, actions, seed), _played(world, actions, seed)
    problems = []
    if not np.array_equal(first, again):
        problems.append("the same seed and actions gave other frames: the world keeps something from episode to episode")
    if (first == first[0]).all():
        problems.append(f"no pixel changed in {steps} random actions: are they played?")
    if hasattr(world, "snapshot") and hasattr(world, "restore"):
        problems += _check_snapshot(world, actions, seed)
    return problems


def _check_snapshot(world: Any, actions: Sequence[Any], seed: int) -> list[str]:
    half = len(actions) // 2
    _played(world, actions[:half], seed)
    state = world.snapshot()
    left = np.stack([world.step(action)[0] for action in actions[half:]])
    world.restore(state)
    right = np.stack([world.step(action)[0] for action in actions[half:]])
    return [] if np.array_equal(left, right) else ["after restore(snapshot()) the same actions gave other frames"]


def _played(world: Any, actions: Sequence[Any], seed: int) -> np.ndarray:
    """(n + 1, H, W, 3) from a reset on."""
    return np.stack([world.reset(seed=seed)[0], *(world.step(action)[0] for action in actions)])
