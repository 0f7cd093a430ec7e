"""Which rollouts a process makes, so that any number of processes makes the same ones.

- `Layout`: P prompts of G members over W processes; whole groups where P divides, else every process a part of each group.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from worldgym.errors import InputError


@dataclasses.dataclass(frozen=True)
class Layout:
    """Rows of one process among the P x G rows of an iteration.

    Global row p G + g is member g of prompt slot p. Noise, prompts and advantages hang on global rows alone.

    Attributes:
        prompts: P over all processes.
        group: G over all processes.
        rank: this process.
        world: W processes.
    """

    prompts: int
    group: int
    rank: int = 0
    world: int = 1

    def __post_init__(self):
        if self.prompts % self.world and self.group % self.world:
            raise InputError(
                f"{self.prompts} prompts of {self.group} rollouts cannot be dealt to {self.world} processes: "
                f"make --prompt-batch or --group a multiple of {self.world}"
            )

    @property
    def splits_groups(self) -> bool:
        """Whether the members of one prompt lie on several processes."""
        return bool(self.prompts % self.world)

    @property
    def slots(self) -> range:
        """Prompt slots that this process works on."""
        if self.splits_groups:
            return range(self.prompts)
        share = self.prompts // self.world
        return range(self.rank * share, (self.rank + 1) * share)

    @property
    def members(self) -> range:
        """Members of each of its slots that this process makes."""
        if not self.splits_groups:
            return range(self.group)
        share = self.group // self.world
        return range(self.rank * share, (self.rank + 1) * share)

    @property
    def rows(self) -> list[int]:
        """Global rows of this process, in the order in which it holds them."""
        return [slot * self.group + member for slot in self.slots for member in self.members]

    def ordered(self, gathered: Tensor) -> Tensor:
        """Values of all processes one after the other (P G, …) -> in global order."""
        if not self.splits_groups:
            return gathered
        parts = gathered.unflatten(0, (self.world, self.prompts, -1))
        return torch.cat(list(parts), dim=1).flatten(0, 1)

    def mine(self, ordered: Tensor) -> Tensor:
        """Values of all global rows (P G, …) -> of this process."""
        return ordered[self.rows]
