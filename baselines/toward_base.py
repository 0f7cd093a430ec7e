"""On the line from a post-trained model back to its base: what is followed, and what looks cost.

    python baselines/toward_base.py --model runs/draft/model.safetensors --base doom-rooms/token-nano --clips data/rooms

Weights share * model + (1 - share) * base (interpolation towards initialization: WiSE-FT, arXiv 2109.01903; of rewarded
policies, WARP, arXiv 2406.16768) lose features of the reward and of pre-training at different rates, so a share below 1 may
keep most of the one and win back most of the other. Videos after first frames from validation seeds, judged by models that
are no rewards; differences from the base, paired, with 95 % intervals (percentile bootstrap over clips). Choose a share
here, and evaluate once with `python -m worldgym.eval`. `python baselines/average.py --weights` writes the model.
"""

from __future__ import annotations

import dataclasses
import tempfile
from pathlib import Path

import numpy as np
import torch
import tyro
from average import AverageConfig, average

import worldgym
from worldgym.data.clips import ClipStore
from worldgym.errors import InputError, exit_with_sentence
from worldgym.eval.metrics.psnr import psnr
from worldgym.eval.results.statistics import Bootstrap
from worldgym.files import write_json
from worldgym.judges.inverse_dynamics import InverseDynamics
from worldgym.judges.quality import Quality
from worldgym.models.world_model import WorldModel
from worldgym.rng import generator
from worldgym.zoo import load_judge


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Judge the models between a base and what was trained from it."""

    model: str
    """Post-trained model: name, file or run's folder."""
    base: str = "doom-rooms/token-nano"
    """What it was trained from."""
    shares: tuple[float, ...] = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
    """Shares of the post-trained model, above 0 and at most 1; the base itself comes first."""
    clips: str = "data/rooms"
    """Clip store; validation seeds are taken."""
    actions: str = "doom-rooms/idm-heldout"
    """Judge of actions."""
    quality: str = "doom-rooms/quality-heldout"
    """Judge of looks."""
    count: int = 64
    """Videos."""
    frames: int = 16
    """Per video, the given one included."""
    seed: int = 0
    """Of the videos."""
    out: str = "baselines/results/toward-base.json"
    """Result file."""

    def __post_init__(self):
        if not self.shares or not all(0 < share <= 1 for share in self.shares):
            raise InputError(f"--shares {' '.join(map(str, self.shares))}: give numbers above 0 and at most 1")


def between(model: str, base: str, share: float) -> WorldModel:
    """The model of weights share * model + (1 - share) * base."""
    if share in (0, 1):
        return worldgym.load(model if share else base)
    with tempfile.TemporaryDirectory() as folder:
        config = AverageConfig(models=(model, base), out=Path(folder, "mean"), weights=(share, 1 - share))
        return worldgym.load(str(average(config, "baselines/toward_base.py")))


class Judged:
    """What judges say of a world model's videos of fixed prompts."""

    def __init__(self, arguments: Arguments):
        store = ClipStore(arguments.clips)
        chosen = np.asarray(store.split("validation"))[: arguments.count]
        self.truth = torch.from_numpy(np.array(store.frames[chosen][:, : arguments.frames]))
        self.actions = torch.from_numpy(np.array(store.actions[chosen][:, : arguments.frames - 1]).astype(np.int64))
        self.seeds = [arguments.seed * 1000 + row for row in range(len(chosen))]
        self.reader = load_judge(arguments.actions, InverseDynamics, "cpu")
        self.quality = load_judge(arguments.quality, Quality, "cpu")

    @torch.inference_mode()
    def of(self, world: WorldModel) -> dict[str, np.ndarray]:
        """(N,) each: probability of the commanded actions, PSNR in dB, quality of generated frames."""
        video = world.generate(self.truth[:, :1], self.actions, self.seeds)
        return {
            "probability": self.reader.probabilities(video, self.actions).mean((1, 2)).numpy(),
            "psnr": psnr(video[:, 1:].numpy(), self.truth[:, 1:].numpy()),
            "image_quality": self.quality(video[:, 1:]).mean(1).numpy(),
        }


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    judged, rows = Judged(arguments), []
    bootstrap = Bootstrap.draw(len(judged.seeds), 1000, generator(arguments.seed, "bootstrap"))
    start = judged.of(between(arguments.model, arguments.base, 0))
    print("base", {name: round(float(values.mean()), 3) for name, values in start.items()}, flush=True)
    for share in arguments.shares:
        now = judged.of(between(arguments.model, arguments.base, share))
        scores = {name: bootstrap.mean(now[name] - start[name]) for name in start}
        rows.append({"share": share} | {name: [s.value, s.low, s.high] for name, s in scores.items()})
        told = "  ".join(f"{name} {s.value:+.3f} [{s.low:+.3f}, {s.high:+.3f}]" for name, s in scores.items())
        print(f"share {share:g}: {told}", flush=True)
    settings = {key: value for key, value in dataclasses.asdict(arguments).items() if key != "out"}
    base = {name: float(values.mean()) for name, values in start.items()}
    write_json(arguments.out, {"settings": settings, "base": base, "differences": rows})


if __name__ == "__main__":
    main()
