"""What an iteration learns from: which prompts, which clip, which rollouts, which denoising steps.

- `prompt_turn`: the prompts. `target_clip`: the horizon curriculum of WorldCompass (arXiv 2602.09022).
- `best_of_n`: the extremes of a group only, where the signal is (DanceGRPO, arXiv 2505.07818; WorldCompass).
- `step_subset`: a random share of the noise levels, because neighbouring levels teach nearly the same (DanceGRPO's timestep
  fraction, RLIR .6, WorldCompass half of 40), or of a clip's noisy beginning (MixGRPO, arXiv 2507.21802, and Flow-GRPO-Fast
  train few early steps). `step_count`: how many a share of K is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from worldgym.errors import InputError, unknown
from worldgym.rng import generator

CURRICULA = ("cycle", "grow", "last")


def prompt_turn(prompts: int, count: int, seed: int, iteration: int) -> list[int]:
    """Prompts of an iteration: all in random order before any comes again."""
    chosen, orders = [], {}
    for index in range(iteration * count, (iteration + 1) * count):
        epoch, place = divmod(index, prompts)
        if epoch not in orders:
            orders[epoch] = generator(seed, "prompts", epoch).permutation(prompts)
        chosen.append(int(orders[epoch][place]))
    return chosen


def target_clip(name: str, iteration: int, clips: int, iterations: int = 1) -> int:
    """The clip to train, 0 is the first that is made; give it to `env.reset` as the option "clip".

    Args:
        name: "cycle": 0, 1, …, N - 1 and again, "min2max" of the released code, which counts 1 + ((step - 1) mod N) from 1;
            "grow": from 0 to N - 1 in even shares of the run; "last": always N - 1, no curriculum.
        iteration: from 0.
        clips: N of an episode.
        iterations: length of the run, for "grow".
    """
    if name not in CURRICULA:
        raise unknown("curriculum", name, CURRICULA)
    if iteration < 0 or clips < 1 or iterations < 1:
        raise InputError(f"iteration {iteration} of {iterations} with {clips} clips: counts start at 1, iterations at 0")
    if name == "cycle":
        return iteration % clips
    if name == "grow":
        return min(clips - 1, iteration * clips // iterations)
    return clips - 1


def best_of_n(scores: Tensor, group_size: int, keep: int) -> Tensor:
    """Rows of the highest and the lowest scores of every group.

    Half of `keep` are the highest (one more if it is odd), half the lowest; of equal scores the earlier row counts as higher.
    A group lies whole in `scores`, so it is the same choice on one rank and on several.

    Args:
        scores: (B,), advantages or rewards; rows b G to b G + G - 1 are a group.
        group_size: G, divides B.
        keep: how many rows of a group stay, 1 to G; G keeps all.

    Returns:
        (B / G * keep,) int64 row numbers, ascending.
    """
    if group_size < 1 or scores.ndim != 1 or len(scores) % group_size:
        raise InputError(f"group_size is {group_size}, but it must divide the scores (B,), which are {tuple(scores.shape)}")
    if not 1 <= keep <= group_size:
        raise InputError(f"keep is {keep}, but from a group of {group_size} one can keep 1 to {group_size}")
    order = scores.unflatten(0, (-1, group_size)).argsort(dim=1, descending=True, stable=True)
    low = keep // 2
    kept = torch.cat([order[:, : keep - low], order[:, group_size - low :]], 1).sort(1).values
    first = torch.arange(0, len(scores), group_size, device=scores.device)
    return (kept + first[:, None]).flatten()


def step_count(share: float, total: int) -> int:
    """Whole steps in a share of K, at least 1: 6 for .6 of 10."""
    if not 0 < share <= 1:
        raise InputError(f"the share of timesteps is {share}, but it must be above 0 and at most 1")
    return max(1, int(share * total + 1e-9))  # .6 * 5 is 3, not 2.9999…


def step_subset(
    rows: int,
    levels: int,
    clips: int,
    share: float,
    random: np.random.Generator,
    drop_last: bool = False,
    early: float = 1.0,
) -> np.ndarray:
    """Steps to train on, drawn without replacement for every row and clip.

    Args:
        rows: B; 1 for a subset that all rows share (one model pass over all of them).
        levels: K denoising steps per clip.
        clips: N; step s of an episode is step s mod K of clip s // K.
        share: of the K steps.
        random: numpy's generator.
        drop_last: leave out the last step of a clip, as DanceGRPO does.
        early: draw among the first `step_count(early, K)` steps of a clip only, the noisiest.

    Returns:
        (B, N * n) int64 step numbers, ascending in a row; n = `step_count(share, K)` or what is left of K.
    """
    usable = min(levels - drop_last, step_count(early, levels))
    if usable < 1 or rows < 1 or clips < 1:
        raise InputError(f"{rows} rows, {clips} clips and {usable} usable steps: all must be at least 1")
    n = min(step_count(share, levels), usable)
    drawn = random.random((rows, clips, usable)).argsort(-1)[..., :n]
    return (np.sort(drawn, -1) + levels * np.arange(clips)[:, None]).reshape(rows, clips * n)
