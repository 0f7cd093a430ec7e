"""MineWorld's transformer, token by token and on the diagonal: frames per second.

    python benchmarks/decoding.py --size 300M --device cuda --dtype float16 --frames 15 --out benchmarks/results/decoding.json

Random weights (speed does not depend on what they hold) or a published file (`--size path/to/300M_16f.ckpt`); the tokenizer is
not timed, as in the paper's table 2. The schedules alternate in one run; figures are medians over rounds. "forwards" counts
calls of the transformer per frame.
"""

from __future__ import annotations

import dataclasses
import platform
import time

import numpy as np
import torch
import tyro

from worldgym.actions import MINECRAFT
from worldgym.errors import exit_with_sentence
from worldgym.files import write_json
from worldgym.models.token import mineworld, wave_reader
from worldgym.models.token.code_schedule import schedule
from worldgym.models.token.token_model import PRESETS, TokenModel
from worldgym.rng import RowNoise, generator


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Time the decoders of one transformer."""

    size: str = "300M"
    """A preset of `worldgym.models.token.token_model`, or a checkpoint."""
    layers: int = 0
    """Blocks, when not as many as the preset has; for small machines."""
    frames: int = 15
    """Frames to generate after one that is given."""
    batch: int = 1
    """Clips at once."""
    windows: tuple[int, ...] = (2,)
    """Windows of the diagonal."""
    rounds: int = 3
    """Alternations."""
    device: str = "cpu"
    """cpu or cuda."""
    dtype: str = "float32"
    """float32, float16 or bfloat16."""
    threads: int = 1
    """CPU threads."""
    out: str = "benchmarks/results/decoding.json"
    """Result file."""


def transformer(arguments: Arguments) -> TokenModel:
    """With random weights, or from the file."""
    dtype = getattr(torch, arguments.dtype)
    if arguments.size not in PRESETS:
        return mineworld.load(arguments.size, arguments.device, dtype)[0]
    torch.manual_seed(0)
    config = PRESETS[arguments.size]
    config = dataclasses.replace(config, layers=arguments.layers or config.layers, max_frames=arguments.frames + 1)
    model = mineworld.empty(TokenModel, config)
    weights = {
        name: torch.randn(tensor.shape, dtype=dtype) / tensor.shape[-1] ** 0.5 for name, tensor in model.state_dict().items()
    }
    model.load_state_dict(weights, assign=True)
    return model.to(arguments.device).eval().requires_grad_(False)


def measure(model: TokenModel, arguments: Arguments) -> list[dict]:
    """One row per schedule."""
    random = generator(0, "decoding")
    codes = torch.from_numpy(random.integers(0, model.config.codes, (arguments.batch, 1, model.config.codes_per_frame)))
    actions = np.stack([random.integers(0, n, (arguments.batch, arguments.frames)) for n in MINECRAFT.sizes], -1)
    codes, actions = codes.to(arguments.device), torch.from_numpy(actions).to(arguments.device)
    names = [("raster", 0), *(("diagonal-compat", window) for window in arguments.windows)]
    waves = [schedule(name, (14, 24), window or 2) for name, window in names]

    def run(which) -> float:
        start = time.perf_counter()
        wave_reader.generate(model, codes, actions, RowNoise(range(arguments.batch), arguments.device), which, top_p=0.8)
        if arguments.device != "cpu":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    if arguments.device != "cpu":
        [run(which) for which in waves]  # captures graphs
    seconds = np.array([[run(which) for which in waves] for _ in range(arguments.rounds)])
    made = arguments.batch * arguments.frames
    return [
        {
            "schedule": name,
            "window": window,
            "forwards": len(which.waves),
            "frames_per_second": made / float(np.median(seconds[:, k])),
            "times_raster": float(np.median(seconds[:, 0] / seconds[:, k])),
        }
        for k, ((name, window), which) in enumerate(zip(names, waves, strict=True))
    ]


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    torch.set_num_threads(arguments.threads)
    with torch.inference_mode():
        model = transformer(arguments)
        rows = measure(model, arguments)
    for row in rows:
        print(row, flush=True)
    millions = sum(parameter.numel() for parameter in model.parameters()) / 1e6
    hardware = torch.cuda.get_device_name() if arguments.device != "cpu" else platform.processor() or platform.machine()
    facts = {"parameters_millions": round(millions, 1), "hardware": hardware, "torch": torch.__version__}
    write_json(arguments.out, {"rows": rows, "arguments": dataclasses.asdict(arguments), **facts})


if __name__ == "__main__":
    main()
