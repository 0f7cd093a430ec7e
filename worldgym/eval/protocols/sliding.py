"""Videos longer than a model's window: its own last frames become the next prefix.

- `Continued`: a model, window by window.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from worldgym.errors import InputError
from worldgym.rng import torch_seed


class Continued:
    """Generates any number of frames with a model that holds at most `window`.

    The first window begins with the given frames. Every further one begins with the last `context` frames so far, with the
    actions between them, and adds up to window - context frames. What is older is forgotten: the model never sees it again,
    and that is part of what a suite of long videos measures.

    Args:
        model: has `generate` (see `worldgym.eval.protocols.entries.Generator`).
        window: frames that it holds.
        context: frames that are carried over, at least 1 and less than `window`.
    """

    def __init__(self, model: Any, window: int, context: int):
        if not 1 <= context < window:
            raise InputError(f"context is {context} and window is {window}; at least 1 frame must be carried over and 1 made")
        self.model, self.window, self.context = model, window, context
        self.kind = getattr(model, "kind", "model")

    def generate(self, prefix: np.ndarray, actions: np.ndarray, seeds: Sequence[int], **options: Any) -> np.ndarray:
        """(B, P, H, W, 3) uint8, (B, T-1, A) and B seeds -> (B, T, H, W, 3) uint8; each window has seeds of its own."""
        frames, total, number = np.asarray(prefix), actions.shape[1] + 1, 0
        if frames.shape[1] >= self.window:
            raise InputError(f"{frames.shape[1]} frames are given, but the model holds {self.window} and must make 1")
        while frames.shape[1] < total:
            given = frames if number == 0 else frames[:, -self.context :]
            start = frames.shape[1] - given.shape[1]
            end = min(start + self.window, total)
            own = list(seeds) if number == 0 else [torch_seed(seed, "window", number) for seed in seeds]
            made = self.model.generate(np.ascontiguousarray(given), actions[:, start : end - 1], own, **options)
            made = made.cpu().numpy() if hasattr(made, "cpu") else np.asarray(made)
            if made.shape[:2] != (len(frames), end - start):
                raise InputError(
                    f"the model returned frames of shape {made.shape}, "
                    f"but {len(frames)} clips of {end - start} frames are needed"
                )
            frames = np.concatenate([frames, made[:, given.shape[1] :]], axis=1)
            number += 1
        return frames
