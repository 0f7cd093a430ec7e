"""What `reset` may be told: `ResetOptions`, and which prompts a batch then gets."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from worldgym.errors import InputError, unknown
from worldgym.rng import generator


@dataclasses.dataclass(frozen=True)
class ResetOptions:
    """Options of `reset`.

    Attributes:
        prompts: ids or indices, one per group; drawn by the seeds when None.
        group_size: G rows per prompt, side by side: rows b G to b G + G - 1 share prompt b.
        clip: the episode ends with this clip (0 is the first that is made); None says the last.
        same_noise: rows of a group start from the same noise (denoise step only; DanceGRPO's setting).
        reset_mask: (B,) bool, Gymnasium's way to reset some rows only; all of them true is an ordinary reset, and nothing else
            will do, because rows share one clock.
    """

    prompts: Sequence[int | str] | None = None
    group_size: int = 1
    clip: int | None = None
    same_noise: bool = False
    reset_mask: Sequence[bool] | None = None

    @classmethod
    def read(cls, options: dict[str, Any] | None, rows: int, clips: int) -> ResetOptions:
        """From the dict of `reset`, for B rows and N clips.

        Raises:
            InputError: an unknown option, or one that does not fit.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        for name in options or {}:
            if name not in known:
                raise unknown("reset option", name, known)
        read = cls(**(options or {}))
        if read.reset_mask is not None and not (np.shape(read.reset_mask) == (rows,) and np.all(read.reset_mask)):
            raise InputError(
                f"reset_mask is {np.asarray(read.reset_mask).tolist()}, but the {rows} rows of this environment share one "
                "clock and begin together; reset all of them, with a mask that is all true or without one"
            )
        if read.group_size < 1 or rows % read.group_size:
            raise InputError(f"group_size is {read.group_size}, but it must divide the {rows} rows of this environment")
        if read.clip is not None and not 0 <= read.clip < clips:
            raise InputError(f"clip is {read.clip}, but an episode has clips 0 to {clips - 1}")
        return read

    def choose(self, ids: Sequence[str], seeds: Sequence[int]) -> list[int]:
        """(B,) index of each row's prompt, for B row seeds."""
        firsts = seeds[:: self.group_size]
        if self.prompts is None:
            chosen = [int(generator(seed, "prompt").integers(len(ids))) for seed in firsts]
        else:
            chosen = [_index(prompt, ids) for prompt in self.prompts]
        if len(chosen) != len(firsts):
            raise InputError(
                f"{len(chosen)} prompts came, but {len(seeds)} rows in groups of {self.group_size} need {len(firsts)}"
            )
        return [index for index in chosen for _ in range(self.group_size)]


def _index(prompt: int | str, ids: Sequence[str]) -> int:
    if isinstance(prompt, str):
        if prompt not in ids:
            raise unknown("prompt", prompt, ids)
        return ids.index(prompt)
    if not 0 <= int(prompt) < len(ids):
        raise InputError(f"prompt {prompt} was asked for, but there are prompts 0 to {len(ids) - 1}")
    return int(prompt)
