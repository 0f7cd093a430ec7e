"""The cameras of a batch: `Route`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from worldgym.actions.worldplay import CameraPath, by_latent, path_labels, walk
from worldgym.errors import InputError
from worldgym.models.diffusion.worldplay.context import rows_of


@dataclasses.dataclass(frozen=True, eq=False)
class Route:
    """What C videos of L latents are told, on the CPU.

    Attributes:
        camera_to_world: (C, L, 4, 4) float64. intrinsics: (C, L, 3, 3) float64, normalised. labels: (C, L) int64.
    """

    camera_to_world: Tensor
    intrinsics: Tensor
    labels: Tensor

    @classmethod
    def of(cls, paths: Sequence[CameraPath]) -> Route:
        """From paths of one length."""
        lengths = {len(path) for path in paths}
        if len(lengths) != 1:
            raise InputError(f"the camera paths have {sorted(lengths)} latents; a batch needs one length")
        stacked = (np.stack([getattr(path, field.name) for path in paths]) for field in dataclasses.fields(cls))
        return cls(*(torch.from_numpy(values) for values in stacked))

    @classmethod
    def acted(cls, actions: Tensor | np.ndarray) -> Route:
        """From frame actions (C, T-1, 4) of spec "worldplay", walked at the published pace."""
        return cls.of([walk(row) for row in by_latent(np.asarray(torch.as_tensor(actions).cpu()))])

    def __len__(self) -> int:
        """C."""
        return len(self.labels)

    @property
    def latents(self) -> int:
        """L."""
        return self.labels.shape[1]

    def take(self, indices: Tensor, rows: int, device: torch.device | str) -> tuple[Tensor, Tensor, Tensor]:
        """Cameras, intrinsics and labels of latents (C, M), for C G rows: (C G, M, …)."""
        place = torch.arange(len(self))[:, None], indices.cpu()
        return tuple(rows_of(x[place], rows).to(device) for x in (self.camera_to_world, self.intrinsics, self.labels))

    def repeat(self, groups: int) -> Route:
        """Row b becomes rows b G … b G + G - 1."""
        return Route(*(x.repeat_interleave(groups, 0) for x in (self.camera_to_world, self.intrinsics, self.labels)))

    def check(self) -> Route:
        """Itself.

        Raises:
            InputError: labels that are not those of the cameras; the network is told both and knows no contradiction.
        """
        expected = torch.from_numpy(path_labels(self.camera_to_world.numpy()))
        if not torch.equal(expected, self.labels):
            row, latent = (expected != self.labels).nonzero()[0].tolist()
            said, seen = int(self.labels[row, latent]), int(expected[row, latent])
            raise InputError(f"latent {latent} of row {row} has label {said}, but its camera moves by label {seen}")
        return self
