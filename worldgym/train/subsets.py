"""Which noise levels a sample is trained on: a random share, because neighbouring levels teach nearly the same.

- `step_subset`: steps of a denoising episode (DanceGRPO's timestep fraction, RLIR .6, WorldCompass half of 40), or of its
  noisy beginning (MixGRPO, arXiv 2507.21802, and Flow-GRPO-Fast train few early steps).
- `count`: how many a share of K is.
"""

from __future__ import annotations

import numpy as np

from worldgym.errors import InputError


def count(share: float, total: int) -> int:
    """Whole steps in a share of K, at least 1: 6 for .6 of 10."""
    if not 0 < share <= 1:
        raise InputError(f"the share of timesteps is {share}, but it must be above 0 and at most 1")
    return max(1, int(share * total + 1e-9))  # .6 * 5 is 3, not 2.9999…


def step_subset(
    rows: int,
    levels: int,
    clips: int,
    share: float,
    generator: np.random.Generator,
    drop_last: bool = False,
    early: float = 1.0,
) -> np.ndarray:
    """Steps to train on, drawn without replacement for every row and clip.

    Args:
        rows: B; 1 for a subset that all rows share (one model pass over all of them).
        levels: K denoising steps per clip.
        clips: N; step s of an episode is step s mod K of clip s // K.
        share: of the K steps.
        generator: numpy's.
        drop_last: leave out the last step of a clip, as DanceGRPO does.
        early: draw among the first `count(early, K)` steps of a clip only, the noisiest.

    Returns:
        (B, N * n) int64 step numbers, ascending in a row; n = `count(share, K)` or what is left of K.
    """
    usable = min(levels - drop_last, count(early, levels))
    if usable < 1 or rows < 1 or clips < 1:
        raise InputError(f"{rows} rows, {clips} clips and {usable} usable steps: all must be at least 1")
    n = min(count(share, levels), usable)
    drawn = generator.random((rows, clips, usable)).argsort(-1)[..., :n]
    return (np.sort(drawn, -1) + levels * np.arange(clips)[:, None]).reshape(rows, clips * n)
