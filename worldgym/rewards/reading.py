"""Judges read clips so that a row's numbers never depend on the rows beside it, and what rows have in common is read once.

- `rows(read, frames)`: one call per row. `in_batches(read, …)`: batches of one fixed size.
- `single_steps(see, frames)`, `single_frames(read, frames)`: what a judge sees in each step, in each frame; what comes again
  is not looked at again.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

SIZE = 8  # of every batch: the last bits of a convolution depend on how many rows it has, not on what the others hold


def rows(read: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """`read` of one row (1, …) at a time: (B, …) each -> (B, …)."""
    return torch.cat([read(*(x[row : row + 1] for x in inputs)) for row in range(len(inputs[0]))])


def in_batches(read: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """`read` of `SIZE` rows at a time, the last batch filled up with copies of its last row: (N, …) each -> (N, …)."""
    count = len(inputs[0])
    index = torch.arange(count + -count % SIZE).clamp_max(count - 1)
    return torch.cat([read(*(x[part.to(x.device)] for x in inputs)) for part in index.split(SIZE)])[:count]


def single_steps(see: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    """What is seen in every step, each pair of neighbouring frames by itself.

    Candidates behind a shared prefix have all but their last steps in common.

    Args:
        see: frames (N, 2, H, W, 3) uint8 -> (N, 1, D).
        frames: (B, T, H, W, 3) uint8.

    Returns:
        (B, T-1, D).
    """
    frame, first = distinct(frames)
    known: dict[tuple[int, int], int] = {}
    place = [known.setdefault(pair, len(known)) for clip in frame for pair in zip(clip[:-1], clip[1:], strict=True)]
    before, now = (torch.tensor([first[k] for k in side]) for side in zip(*known, strict=True))
    every = frames.flatten(0, 1)
    seen = in_batches(see, torch.stack([every[before], every[now]], 1))
    return seen[place].view(len(frames), -1, seen.shape[-1])


def single_frames(read: Callable[[Tensor], Tensor], frames: Tensor) -> Tensor:
    """`read` of single frames (N, 1, H, W, 3) -> (N, 1), each that comes again once: (B, T, H, W, 3) uint8 -> (B, T)."""
    frame, first = distinct(frames)
    found = in_batches(read, frames.flatten(0, 1)[first][:, None])[:, 0]
    return found[torch.tensor(frame)]


def distinct(frames: Tensor) -> tuple[list[list[int]], list[int]]:
    """Which frames of (B, T, H, W, 3) uint8 are equal: their numbers, B lists of T, and where each was first, among B T."""
    known: dict[bytes, int] = {}
    clips = [[frame.tobytes() for frame in clip] for clip in frames.cpu().numpy()]
    number = [[known.setdefault(frame, len(known)) for frame in clip] for clip in clips]
    first: dict[int, int] = {}
    for place, which in enumerate(n for clip in number for n in clip):
        first.setdefault(which, place)
    return number, list(first.values())
