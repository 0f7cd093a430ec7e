"""What the environment costs: whole rollouts through `env.step` against the bare model loop, alternating in one run.

    python benchmarks/env_overhead.py --out benchmarks/results/env-overhead-cpu.json

Both sides do the same work on the model: encode the given frame, play three frames with the same key/value cache and the same
noise, keep every log-prob (token: codes drawn from the full distribution; denoise: Flow-GRPO steps). The bare loop has no
environment: codes and latents stay in a tensor. "largest_difference" says how far apart the two results are.

The two rollouts of a round advance side by side and take turns after every step (`--every`), each on its own clock from its
reset to its last log-prob. A machine that other programs use is faster in one second and slower in the next: whole rollouts
one after the other had ratios from .86 to 1.36 in one run, which no median mends. The figure is the median over rounds of the
ratio of wall times, with a 95 % bootstrap interval over rounds; 1.05 is the limit set.
"""

from __future__ import annotations

import dataclasses
import itertools
import platform
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
import tyro
from torch import Tensor

import worldgym
from worldgym.data.prompts import record_prompts
from worldgym.envs.denoise import DenoiseVectorEnv
from worldgym.envs.token import TokenVectorEnv
from worldgym.errors import exit_with_sentence
from worldgym.files import write_json
from worldgym.models.diffusion import flow
from worldgym.models.diffusion.agent import DenoiseAgent
from worldgym.models.diffusion.clip_rollout import ClipRollout
from worldgym.models.diffusion.noise_kernels import kernel
from worldgym.models.layers.sampling import logprob_sum, sample
from worldgym.models.token.agent import TokenAgent
from worldgym.models.token.token_decoder import TokenDecoder
from worldgym.models.world_model import WorldModel
from worldgym.rng import RowNoise
from worldgym.types import Prompts

STEPS = 10  # denoising steps per frame


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure the environments' share of a rollout."""

    out: str = "benchmarks/results/env-overhead.json"
    """Result file."""
    models: tuple[str, ...] = ("doom-rooms/token-nano", "doom-rooms/diffusion-nano")
    """Which world models."""
    batches: tuple[int, ...] = (16, 64)
    """Rows at once."""
    frames: int = 4
    """Frames in all, the given one included."""
    rounds: int = 25
    """Pairs of rollouts."""
    every: int = 1
    """Steps of one side before it is the other's turn; on a GPU some dozen, because every turn waits for it."""
    device: str = "cpu"
    """cpu or cuda."""
    threads: int = 1
    """CPU threads."""


Side = Callable[[], Iterator[Tensor | None]]  # a rollout that stops after every step and ends with what it made


def through_env(world: WorldModel, env: Any) -> Side:
    """A rollout through `reset` and `step`: the codes or latents it made."""

    def run() -> Iterator[Tensor | None]:
        agent = TokenAgent(world.model) if world.kind == "token" else DenoiseAgent(world.model)
        observation, _ = env.reset(seed=0, options={"prompts": list(range(env.num_envs))})
        noise, logprobs = RowNoise(range(env.num_envs), env.device), []
        while not env.finished:
            action, logprob = agent.act(observation, noise)
            observation, *_ = env.step(action)
            logprobs.append(logprob)
            yield None
        torch.stack(logprobs, 1)
        yield env.trajectory().codes if world.kind == "token" else env.trajectory().latents

    return run


def bare_token(world: WorldModel, prefix: Tensor, actions: Tensor) -> Iterator[Tensor | None]:
    """The same with nothing but model, cache, sampling and log-probs."""
    model, logprobs = world.model, []
    codes = torch.stack([world.codec.encode(row) for row in prefix])
    noise, decoder, segments = (
        RowNoise(range(len(codes)), codes.device),
        TokenDecoder(model, len(codes)),
        model.segments(actions),
    )
    pending, played = model.sequence(codes, actions[:, :0]), [codes.flatten(1)]
    for index in range(actions.shape[1]):
        pending = torch.cat([pending, segments[:, index]], 1)
        for column in noise.uniform(model.config.codes_per_frame).to(codes.device).unbind(1):
            logits = decoder.feed(pending)
            drawn = sample(logits, column)
            logprobs.append(logprob_sum(logits, drawn))
            pending = drawn[:, None]
            played.append(pending)
            yield None
    torch.stack(logprobs, 1)
    yield torch.cat(played, 1).unflatten(1, (-1, codes.shape[2]))


def bare_denoise(world: WorldModel, prefix: Tensor, actions: Tensor, seeds: list[int]) -> Iterator[Tensor | None]:
    """As `bare_token`."""
    latents = torch.stack([world.codec.encode(row) for row in prefix])
    start, noise = RowNoise(seeds, latents.device), RowNoise(range(len(latents)), latents.device)
    rollout, step, grid = (
        ClipRollout(world.model, latents, actions[:, :0], actions.shape[1] + 1),
        kernel("flow-grpo"),
        flow.time_grid(STEPS),
    )
    video, logprobs = [latents], []
    for index in range(actions.shape[1]):
        z, led = start.normal(*latents.shape[2:])[:, None], actions[:, index : index + 1]
        for sigma, sigma_next in zip(grid[:-1], grid[1:], strict=True):
            ahead = step.step(z, rollout.velocity(z, sigma, led), sigma, sigma_next)
            z = ahead.sample(noise.normal(*latents.shape[2:])[:, None])
            logprobs.append(ahead.logprob_sum(z))
            yield None
        video.append(z)
        if index + 1 < actions.shape[1]:
            rollout.append(z, led)
    torch.stack(logprobs, 1)
    yield torch.cat(video, 1)


def sides(world: WorldModel, prompts: Prompts, arguments: Arguments, batch: int) -> dict[str, Side]:
    """The two rollouts."""
    some, common = prompts[slice(0, batch)], {"frames": arguments.frames, "device": arguments.device}
    prefix, actions = (torch.from_numpy(x).to(arguments.device) for x in (some.prefix, some.actions))
    if world.kind == "token":
        env: Any = TokenVectorEnv(batch, world.codec, some, **common)
        return {"env": through_env(world, env), "bare": lambda: bare_token(world, prefix, actions)}
    env = DenoiseVectorEnv(batch, world.codec, some, steps=STEPS, **common)
    seeds = list(range(batch))
    return {"env": through_env(world, env), "bare": lambda: bare_denoise(world, prefix, actions, seeds)}


@torch.no_grad()
def side_by_side(both: dict[str, Side], every: int) -> tuple[dict[str, float], dict[str, Tensor]]:
    """One rollout of each, taking turns: wall seconds of each, the GPU's work included, and what each made."""
    running, spent = {name: run() for name, run in both.items()}, dict.fromkeys(both, 0.0)
    made: dict[str, Tensor] = {}
    turn, gpu = list(both), torch.cuda.is_available()
    while len(made) < len(both):
        turn.reverse()  # who goes first changes at every turn
        for name in turn:
            begin = time.perf_counter()
            for found in itertools.islice(running[name], every):
                if found is not None:
                    made[name] = found
            if gpu:
                torch.cuda.synchronize()
            spent[name] += time.perf_counter() - begin
    return spent, made


def measure(world: WorldModel, prompts: Prompts, arguments: Arguments, batch: int) -> dict:
    """One row of the table."""
    both = sides(world, prompts, arguments, batch)
    _, made = side_by_side(both, arguments.every)  # warm-up, and proof that both do the same
    agree = float((made["env"] - made["bare"]).abs().max())
    rounds = [side_by_side(both, arguments.every)[0] for _ in range(arguments.rounds)]
    env, bare = (np.array([spent[name] for spent in rounds]) for name in ("env", "bare"))
    return {
        "batch": batch,
        "bare_s": float(np.median(bare)),
        "wall_ratio": median(env / bare),
        "largest_difference": agree,
        "seconds": rounds,
    }


def median(ratios: np.ndarray) -> dict:
    """Median over rounds and its 95 % bootstrap interval."""
    draws = np.median(np.random.default_rng(0).choice(ratios, (10_000, len(ratios))), axis=1)
    return {"value": float(np.median(ratios)), "interval": np.percentile(draws, [2.5, 97.5]).tolist()}


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    torch.set_num_threads(arguments.threads)
    prompts = record_prompts("doom-rooms", range(max(arguments.batches)), arguments.frames)
    table: dict[str, list[dict]] = {}
    for name in arguments.models:
        world = worldgym.load(name, device=arguments.device)
        table[name] = []
        for batch in arguments.batches:
            row = measure(world, prompts, arguments, batch)
            table[name].append(row)
            print(name, {key: value for key, value in row.items() if key != "seconds"}, flush=True)
    hardware = {"cpu": platform.processor() or platform.machine(), "threads": arguments.threads, "device": arguments.device}
    write_json(
        arguments.out, {"results": table, "hardware": hardware, **dataclasses.asdict(arguments), "torch": torch.__version__}
    )


if __name__ == "__main__":
    main()
