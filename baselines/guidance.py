"""Action guidance: what an action changes, enlarged at sampling time. No training; the control of every post-training run.

command   python -m worldgym.eval --models doom-rooms/diffusion-nano-v2 guided=baselines.guidance:Guided
hardware  one core of an AMD EPYC
time      three and a half minutes for 64 clips
expected  F1 about .71 where the model alone has .68, PSNR .7 dB lower; seeds and intervals: baselines/README.md, "The control"

Every denoising step goes along v + w (v - v_null), v_null being the velocity under the null action: classifier-free guidance
(arXiv 2207.12598) with standing still as "no condition". Twice the time of the model alone. `Guided` is also the template for
an entry of your own: a class with `generate(prefix, actions, seeds)`. A subclass with another
`weight` or `model` is another entry.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

import worldgym


class Guided:
    """A diffusion world model under action guidance."""

    model, weight = "doom-rooms/diffusion-nano-v2", 1.0
    kind = "diffusion"  # takes the suite's denoising steps and sampler

    def __init__(self, device: str = "cpu"):
        self.world = worldgym.load(self.model, device=device)
        self.spec = self.world.spec

    def generate(self, prefix: np.ndarray, actions: np.ndarray, seeds: list[int], **sampling: Any) -> Tensor:
        """(B, P, H, W, 3) uint8 frames and (B, T-1, A) actions -> (B, T, H, W, 3) uint8."""
        return self.world.generate(prefix, actions, seeds, guidance=self.weight, **sampling)


class Guided2(Guided):
    """Twice the weight."""

    weight = 2.0
