"""Rows that go on from one and the same video: read it once.

- `Runs`: which neighbouring rows have the same context, and how they stand beside one copy of it.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """Neighbouring rows with the same context, in runs.

    Attributes:
        run: (B,) int64, the run of each row.
        place: (B,) int64, its place in the run.
        first: (R,) int64, the first row of each run.
        longest: rows of the longest run.
    """

    run: Tensor
    place: Tensor
    first: Tensor
    longest: int

    @classmethod
    def of(cls, clean: Tensor, actions: Tensor, own: int) -> Runs | None:
        """The runs of rows with the same frames and actions; None where sharing saves no work.

        Args:
            clean: (B, S, …) context.
            actions: (B, n, A).
            own: M, frames that a row has for itself.
        """
        rows, context = clean.shape[:2]
        same = torch.stack([(x[1:] == x[:-1]).flatten(1).all(1) for x in (clean, actions)]).all(0)
        if not same.any():
            return None
        begins = torch.cat([same.new_ones(1), ~same])
        first = begins.nonzero()[:, 0]
        run = begins.long().cumsum(0) - 1
        place = torch.arange(rows, device=run.device) - first[run]
        longest = int(place.max()) + 1
        worth = len(first) * (context + longest * own) < rows * (context + own)  # short runs are filled up
        return cls(run, place, first, longest) if worth else None

    def gather(self, x: Tensor) -> Tensor:
        """(B, M, …) -> (R, longest M, …): the rows of a run one after the other, filled up with zeros."""
        packed = x.new_zeros(len(self.first), self.longest, *x.shape[1:])
        return packed.index_put((self.run, self.place), x).flatten(1, 2)

    def scatter(self, packed: Tensor) -> Tensor:
        """`gather` backwards."""
        return packed.unflatten(1, (self.longest, -1))[self.run, self.place]
