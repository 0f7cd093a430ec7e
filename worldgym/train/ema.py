"""Moving averages of weights: the old policy that generates, and the smooth one that is evaluated.

- `DecaySchedule`: how much of the average stays at a step. `update`: one step of the average.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import nn

from worldgym.errors import InputError


@dataclasses.dataclass(frozen=True)
class DecaySchedule:
    """decay(step) = min(cap, start + slope * max(0, step - wait)), and `start` until `wait`.

    Attributes:
        start: decay at step 0, in [0, 1].
        slope: growth per step.
        cap: largest decay, in [0, 1].
        wait: steps before it grows.
    """

    start: float = 0.0
    slope: float = 0.0
    cap: float = 1.0
    wait: int = 0

    def __post_init__(self):
        if not (0 <= self.start <= 1 and 0 <= self.cap <= 1 and self.slope >= 0 and self.wait >= 0):
            raise InputError(f"{self}: start and cap must lie in [0, 1], slope and wait be at least 0")

    def __call__(self, step: int) -> float:
        """The share of the average that stays at `step`, in [0, 1]."""
        return min(self.cap, self.start + self.slope * max(0, step - self.wait))


@torch.no_grad()
def update(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average <- decay average + (1 - decay) model, in place; buffers are copied.

    Args:
        average, model: of one architecture; only their own tensors, so give both unwrapped.
        decay: 0 copies the model, 1 leaves the average alone.
    """
    mine, theirs = list(average.parameters()), [p.detach() for p in model.parameters()]
    if [p.shape for p in mine] != [p.shape for p in theirs]:
        raise InputError("the average and the model do not have the same parameters")
    if decay < 1:
        torch._foreach_lerp_([p.data for p in mine], [p.to(m.dtype) for p, m in zip(theirs, mine, strict=True)], 1 - decay)
    for buffer, source in zip(average.buffers(), model.buffers(), strict=True):
        buffer.copy_(source)
