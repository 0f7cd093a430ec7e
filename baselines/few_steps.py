"""Fewer denoising steps than the suite's eighteen. No training; a second control, cheaper than what it is compared with.

command   python -m worldgym.eval --models doom-rooms/diffusion-nano-v3 five=baselines.few_steps:FiveSteps
hardware  one core of an AMD EPYC
time      a third of the model's own (five steps)
expected  baselines/README.md, "The controls"

A model that is asked in fewer steps answers closer to the mean of what may happen: less detail, fewer errors to go on from.
`Guided5` takes v + w (v - v_null) in five steps, at the cost of ten without (see guidance.py). A subclass with another
`steps`, `weight` or `model` is another entry.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

import worldgym


class FiveSteps:
    """A diffusion world model in five denoising steps per frame."""

    model, steps, weight = "doom-rooms/diffusion-nano-v3", 5, 0.0
    kind = "diffusion"  # takes the suite's sampler

    def __init__(self, device: str = "cpu"):
        self.world = worldgym.load(self.model, device=device)
        self.spec = self.world.spec

    def generate(self, prefix: np.ndarray, actions: np.ndarray, seeds: list[int], **sampling: Any) -> Tensor:
        """(B, P, H, W, 3) uint8 frames and (B, T-1, A) actions -> (B, T, H, W, 3) uint8; steps in `sampling` do not count."""
        return self.world.generate(prefix, actions, seeds, **{**sampling, "steps": self.steps, "guidance": self.weight})


class ThreeSteps(FiveSteps):
    """Three."""

    steps = 3


class Guided5(FiveSteps):
    """Five, under action guidance."""

    weight = 1.0


class Guided10(FiveSteps):
    """Ten, under action guidance: about as many model calls as the suite's eighteen steps."""

    steps, weight = 10, 1.0
