"""How fast the world and the world models are, and what the cache is worth.

    python benchmarks/speed.py --out benchmarks/results/speed-cpu.json

- The game: scripted play, actions per second on one core.
- Generation: frames per second after a prompt of 2 frames, with the cache and with everything recomputed at each step, both
  sides alternating in one run; the ratio is the median over rounds.
- The main job's setting: 15 frames after 1, with the cache.

Prompts come from the game, on test seeds; weights are the bundled ones; speed does not depend on what they hold.
"""

from __future__ import annotations

import dataclasses
import platform
import time
from collections.abc import Callable

import numpy as np
import torch
import tyro

import worldgym
from worldgym.data.prompts import record_prompts
from worldgym.data.splits import seeds
from worldgym.errors import exit_with_sentence
from worldgym.files import write_json
from worldgym.models.world_model import WorldModel
from worldgym.rng import RowNoise
from worldgym.types import Prompts
from worldgym.worlds.recorder import Recorder


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Measure the world and the bundled world models."""

    out: str = "benchmarks/results/speed.json"
    """Result file."""
    models: tuple[str, ...] = ("doom-rooms/token-nano", "doom-rooms/diffusion-nano")
    """Which world models."""
    batches: tuple[int, ...] = (1, 16, 64)
    """Clips at once."""
    rounds: int = 3
    """Alternations of cached and uncached."""
    device: str = "cpu"
    """cpu or cuda."""
    threads: int = torch.get_num_threads()
    """CPU threads."""


def world_steps_per_second(clips: int = 20, frames: int = 32) -> float:
    """Actions per second of one engine with its player, rendering included."""
    recorder = Recorder("doom-rooms")
    recorder.play(0, frames)
    start = time.perf_counter()
    steps = sum(len(play.lead) + len(play.clip.actions) for play in (recorder.play(s, frames) for s in range(1, clips + 1)))
    seconds = time.perf_counter() - start
    recorder.close()
    return steps / seconds


def measure_model(model: WorldModel, prompts: Prompts, arguments: Arguments) -> list[dict]:
    """One row per batch size."""
    rows = []
    for batch in arguments.batches:
        some = prompts[slice(0, batch)]
        both = {cache: generation(model, some, 2, 3, cache) for cache in (True, False)}
        both[True]()  # warm-up
        rounds = [{cache: seconds(run) for cache, run in both.items()} for _ in range(arguments.rounds)]
        cached, uncached = (np.array([r[cache] for r in rounds]) for cache in (True, False))
        rows.append(
            {
                "batch": batch,
                "frames_per_second_cached": batch / float(np.median(cached)),
                "frames_per_second_uncached": batch / float(np.median(uncached)),
                "ratio": float(np.median(uncached / cached)),
                "frames_per_second_main_job": 15 * batch / seconds(generation(model, some, 1, 16, True)),
            }
        )
        print(model.name, rows[-1], flush=True)
    return rows


def generation(model: WorldModel, prompts: Prompts, given: int, frames: int, cache: bool) -> Callable[[], object]:
    """A call that generates frames `given` to `frames` - 1 of each prompt's codes or latents."""
    device = next(model.model.parameters()).device
    with torch.inference_mode():
        prefix = model.codec.encode(torch.from_numpy(prompts.truth[:, :given]).to(device))
    actions = torch.from_numpy(prompts.actions[:, : frames - 1]).to(device)

    def run() -> object:
        with torch.inference_mode():
            return model.model.generate(prefix, actions, RowNoise(range(len(prompts)), device), cache=cache)

    return run


def seconds(run: Callable[[], object]) -> float:
    """Wall time of one call, the GPU's work included."""
    start = time.perf_counter()
    run()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter() - start


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    torch.set_num_threads(arguments.threads)
    world = world_steps_per_second()
    print(f"world: {world:.0f} actions per second and core", flush=True)
    prompts = record_prompts("doom-rooms", seeds("test", 950_000_000, max(arguments.batches)))
    models = {
        name: measure_model(worldgym.load(name, device=arguments.device), prompts, arguments) for name in arguments.models
    }
    hardware = {"cpu": platform.processor() or platform.machine(), "threads": arguments.threads, "device": arguments.device}
    write_json(
        arguments.out,
        {"world_actions_per_second": world, "models": models, "hardware": hardware, "torch": torch.__version__},
    )


if __name__ == "__main__":
    main()
