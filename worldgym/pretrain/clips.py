"""Training and validation clips of a store.

- `Clips`: the store, its splits, and the rows of a step.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import torch

from worldgym import rng
from worldgym.data.clips import ClipStore
from worldgym.errors import InputError
from worldgym.pretrain.task import evenly, rows


@dataclasses.dataclass(frozen=True, eq=False)
class Clips:
    """A store and the indices that training may look at.

    Attributes:
        store: recorded clips.
        train: (n,) indices for training, visible clips only.
        validation: (m,) indices for validation, visible clips only.
    """

    store: ClipStore
    train: np.ndarray
    validation: np.ndarray

    @classmethod
    def open(cls, folder: Path, half: str = "none") -> Clips:
        """Open a store; `half` "0" or "1" keeps the training seeds of one half, disjoint from the other's."""
        store = ClipStore(folder)
        train = store.split("train")
        if half != "none":
            # Seeds end in a split's digits, so halves go by the digit before: both get the same mix of endings.
            train = train[np.asarray(store.seeds)[train] // 10 % 2 == int(half)]
        clips = cls(store, train, store.split("validation"))
        clips._check(str(folder))
        return clips

    def _check(self, folder: str) -> None:
        for name in ("train", "validation"):
            if not len(getattr(self, name)):
                raise InputError(f"the clip store {folder!r} has no visible clip in the {name} split; record more clips")

    @property
    def length(self) -> int:
        """Frames per clip, T."""
        return self.store.frames.shape[1]

    @property
    def picture(self) -> dict[str, int]:
        """Height and width of a frame."""
        return {"height": self.store.frames.shape[2], "width": self.store.frames.shape[3]}

    @property
    def origin(self) -> dict:
        """JSON that identifies the data."""
        manifest = self.store.manifest
        return {"world": manifest["world"], "spec": manifest["spec"], "data_sha256": self.store.sha256}

    def rows(self, seed: int, step: int, count: int) -> np.ndarray:
        """(count,) training clips of a step."""
        return self.train[rows(seed, step, count, len(self.train))]

    def windows(self, seed: int, step: int, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """Training clips of a step (count,), and for each the `length` frames (count, length) to look at, anywhere in it."""
        starts = rng.generator(seed, "starts", step).integers(self.length - length + 1, size=count)
        return self.rows(seed, step, count), starts[:, None] + np.arange(length)

    def held_out(self, count: int, length: int) -> tuple[np.ndarray, np.ndarray]:
        """At most `count` validation clips (m,), evenly spaced, and their first frames (m, length)."""
        clips = self.validation[evenly(len(self.validation), max(1, count))]
        return clips, np.broadcast_to(np.arange(length), (len(clips), length))

    def frames(self, clips: np.ndarray, moments: np.ndarray, device: torch.device) -> torch.Tensor:
        """(B, t, H, W, 3) uint8 for clips (B,) and moments (B, t)."""
        return torch.from_numpy(self.store.frames[clips[:, None], moments]).to(device)

    def actions(self, clips: np.ndarray, moments: np.ndarray, device: torch.device) -> torch.Tensor:
        """(B, t-1, A) int64, the actions between those moments."""
        return torch.from_numpy(self.store.actions[clips[:, None], moments[:, :-1]].astype(np.int64)).to(device)
