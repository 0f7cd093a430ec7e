"""What happened in an episode of denoising steps, for recomputing log-probs: `DenoiseTrajectory`."""

from __future__ import annotations

import dataclasses

from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class DenoiseTrajectory:
    """An episode of a denoise environment.

    Attributes:
        latents: (B, T, C, h, w), prefix included; T counts the finished frames only.
        actions: (B, T-1, A) int64.
        prefix: P frames that were given.
        path: (B, N, K+1, c, C, h, w), every noisy version of the N finished clips, pure noise first.
        sigmas: K + 1 noise levels, 1 down to 0; step s led from version s mod K of clip s // K to the next one.
    """

    latents: Tensor
    actions: Tensor
    prefix: int
    path: Tensor
    sigmas: tuple[float, ...]
