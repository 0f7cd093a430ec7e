"""What happened in an episode of tokens, for recomputing log-probs: `TokenTrajectory`."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from worldgym.models.token.code_schedule import CodeSchedule


@dataclasses.dataclass(frozen=True, eq=False)
class TokenTrajectory:
    """An episode of a token environment.

    Attributes:
        codes: (B, T, L) int64, prefix included; T counts the finished frames only.
        actions: (B, T-1, A) int64.
        prefix: P frames that were given.
        schedule: step s drew wave s mod W of frame P + s // W, W waves per frame.
    """

    codes: Tensor
    actions: Tensor
    prefix: int
    schedule: CodeSchedule
