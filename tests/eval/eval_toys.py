"""A world whose actions are written in its pixels, so that every score is known on paper."""

from __future__ import annotations

import dataclasses
import json
import re

import numpy as np
import torch

from worldgym.actions import DOOM
from worldgym.eval.protocols.action_following import ActionFollowing
from worldgym.eval.results import suite as suites
from worldgym.eval.results.answers import Entrant, Question

COLUMNS = len(DOOM.sizes)
HEIGHT, WIDTH = 16, 24
READ = ("f1", "precision", "recall", "camera_error", "exact_match", "group_accuracy")
METRICS = (*READ, "psnr", "ssim", "frechet_idm_heldout", "f1_micro")
SUITE = dataclasses.replace(
    suites.load("action-following-doom-rooms-v1"),
    size=(HEIGHT, WIDTH),
    frames=6,
    clips=12,
    metrics=METRICS,
    bootstrap=suites.BootstrapConfig(resamples=200, refits=40),
)


def suite_text(clips: int = 4, resamples: int = 50, refits: int = 10, models: tuple[str, ...] = ()) -> str:
    """The toy suite as TOML: the published one, smaller, with metrics that need no further network."""
    text = (suites.FOLDER / f"{SUITE.name}.toml").read_text()
    values = {"size": [HEIGHT, WIDTH], "frames": 6, "clips": clips, "resamples": resamples, "refits": refits}
    values |= {"models": list(models)} if models else {}
    for name, value in {**values, "metrics": list(METRICS)}.items():
        text, count = re.subn(rf"^{name} = (\[[^\]]*\]|\S+)", f"{name} = {json.dumps(value)}", text, flags=re.M)
        assert count == 1, name
    return text


def random_actions(clips: int, steps: int, rng: np.random.Generator, unused: tuple[str, ...] = ()) -> np.ndarray:
    """(clips, steps, A) uniform labels; the named columns stay null."""
    actions = np.stack([rng.integers(0, size, (clips, steps)) for size in DOOM.sizes], -1)
    for name in unused:
        actions[..., DOOM.column(name)] = DOOM.null[DOOM.column(name)]
    return actions


def encode(frames: np.ndarray, actions: np.ndarray) -> np.ndarray:
    """Frames (B, T, H, W, 3) with actions (B, T-1, A) written into their first row."""
    frames = frames.copy()
    frames[:, 1:, 0, :COLUMNS, 0] = actions
    return frames


def record(suite: suites.Suite, seed: int, count: int) -> list[Question]:
    """In place of `worldgym.eval.protocols.clips.record`."""
    return clips_of(count, suite.frames, seed, prefix=suite.prefix)


def clips_of(
    clips: int = 12, frames: int = 6, seed: int = 0, unused: tuple[str, ...] = ("weapon",), prefix: int = 1
) -> list[Question]:
    """Tasks of the toy world."""
    rng = np.random.default_rng(seed)
    actions = random_actions(clips, frames - 1, rng, unused)
    truth = encode(rng.integers(0, 256, (clips, frames, HEIGHT, WIDTH, 3), dtype=np.uint8), actions)
    truth[:, 0, 0, :COLUMNS, 0] = DOOM.null
    return [Question(f"toy/{i}/0", truth[i, :prefix], actions[i], truth[i]) for i in range(clips)]


class Toy(ActionFollowing):
    """Action following with the judge below; call as a `Protocol`."""

    def load_judges(self):
        self.judge = PixelJudge()


def entrant(name: str, model) -> Entrant:
    """A model as an entrant of the toy suite."""
    return Entrant(name, model.kind, model, SUITE.sampling.get(model.kind, {}), source="module")


class PixelJudge:
    """Reads the labels from the pixels; its features are mean colours."""

    spec = DOOM

    def labels(self, frames: torch.Tensor) -> torch.Tensor:
        return frames[:, 1:, 0, :COLUMNS, 0].long()

    def features(self, frames: torch.Tensor) -> torch.Tensor:
        return frames.float().mean((1, 2, 3))


class Obedient:
    """Paints each row's own noise and writes the given actions, but for a mistake in `wrong` columns at every step."""

    kind = "token"

    def __init__(self, wrong: tuple[str, ...] = ()):
        self.wrong = wrong
        self.calls: list[dict] = []

    def generate(self, prefix, actions, seeds, **options):
        self.calls.append({"batch": len(prefix), "inference": torch.is_inference_mode_enabled(), **options})
        batch, _, height, width, _ = prefix.shape
        steps = actions.shape[1]
        noise = [np.random.default_rng(s).integers(0, 256, (steps + 1, height, width, 3), dtype=np.uint8) for s in seeds]
        actions = actions.copy()
        for name in self.wrong:
            actions[..., DOOM.column(name)] = (actions[..., DOOM.column(name)] + 1) % DOOM.sizes[DOOM.column(name)]
        frames = encode(np.stack(noise), actions)
        assert frames.shape[0] == batch
        return torch.from_numpy(frames)
