"""How far a run is, and what follows from it: learning rate and window length. All pure functions of the elapsed share.

- `Budget`: steps or minutes; `share(step, seconds)` in [0, 1].
- `learning_rate(share, …)`: linear warm-up, then cosine. `window(share, …)`: short windows first, full ones at the end.
"""

from __future__ import annotations

import dataclasses
import math

from worldgym.errors import InputError


@dataclasses.dataclass(frozen=True)
class Budget:
    """How long to train: exactly one of steps and minutes."""

    steps: int | None = None
    minutes: float | None = None

    def __post_init__(self):
        given = [value for value in (self.steps, self.minutes) if value is not None]
        if len(given) != 1:
            raise InputError("give exactly one of --steps and --minutes")
        if not given[0] > 0 or math.isinf(given[0]):
            raise InputError(f"the training budget must be a positive number, not {given[0]}")

    def share(self, step: int, seconds: float) -> float:
        """Elapsed share of the budget in [0, 1] after `step` steps and `seconds` of training."""
        done = step / self.steps if self.steps is not None else seconds / (60 * self.minutes)
        return min(done, 1.0)

    def total(self, step: int, seconds: float) -> int:
        """Steps the whole run will have taken; an estimate for a time budget."""
        if self.steps is not None:
            return self.steps
        return max(step, round(step * 60 * self.minutes / seconds)) if seconds > 0 else 1


def learning_rate(share: float, warmup: float, final: float, decay: float = 1.0) -> float:
    """Factor on the peak rate: linear from 0 to 1 over the share `warmup`, 1, then half a cosine from 1 to `final`.

    The cosine begins at w = max(warmup, 1 - decay): final + (1 - final) * (1 + cos(pi * (s - w) / (1 - w))) / 2 at share s.
    With `decay` below 1 a longer run is the same run up to the decay, so that any moment can become a finished model.
    """
    if share < warmup:
        return share / warmup
    begin = max(warmup, 1 - decay)
    done = (share - begin) / (1 - begin) if begin < 1 else 1.0
    return final + (1 - final) * (1 + math.cos(math.pi * max(done, 0.0))) / 2


def window(share: float, short: int, full: int, full_share: float) -> int:
    """Frames per training window: `short`, and `full` during the last `full_share` of the budget."""
    return full if share >= 1 - full_share else short
