"""The space of an action sequence: `ActionGrid`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from gymnasium import spaces

from worldgym.errors import InputError


class ActionGrid(spaces.MultiDiscrete):
    """`MultiDiscrete` of sizes (T-1, A).

    Stable-Baselines3 takes every MultiDiscrete for a vector and sums its sizes one by one; where it does so, a sentence says
    what to do instead of an error about arrays.
    """

    def __init__(self, sizes: np.ndarray, **more: Any):
        super().__init__(sizes, **more)
        self.nvec = self.nvec.view(_Sizes)


class _Sizes(np.ndarray):
    """Sizes that nobody takes for a vector."""

    def __iter__(self) -> Iterator[Any]:
        if self.ndim > 1:
            raise InputError(
                f"the observation holds an action sequence of shape {self.shape}, which this program cannot read as a vector; "
                "wrap the environment in worldgym.envs.steering.FlatObservation"
            )
        return super().__iter__()
