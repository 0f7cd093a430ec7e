"""Metrics about looks on published networks: FVD, LPIPS, VBench's imaging quality and dynamic degree.

- `METRICS`: by the names that suites use, with the files that each needs.
- `PublishedLooks`: the networks whose files are here; numbers per clip, None for a metric whose file is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch

from worldgym.errors import InputError
from worldgym.eval.results.answers import Metric
from worldgym.judges.published import fvd, lpips, musiq, raft
from worldgym.models.files import published_files

METRICS = {
    "fvd": Metric("lower", "Fréchet video distance (I3D), averaged over the first 10, 11, … 15 frames."),
    "lpips": Metric("lower", "LPIPS (AlexNet, v0.1) to the true frames."),
    "imaging_quality": Metric("higher", "VBench's imaging quality: MUSIQ (SPAQ) / 100."),
    "dynamic_degree": Metric("higher", "VBench's dynamic degree: share of clips in which RAFT sees motion."),
}
FILES = {
    "fvd": (fvd.NAME,),
    "lpips": ("alexnet-owt-7be5be79.pth", "lpips-alex.pth"),
    "imaging_quality": (musiq.NAME,),
    "dynamic_degree": (raft.NAME,),
}
_LOADERS: dict[str, Callable[[Any], Any]] = {
    "fvd": fvd.load,
    "lpips": lambda device: lpips.load("alex", device),
    "imaging_quality": musiq.load,
    "dynamic_degree": raft.load,
}


def files(names: Iterable[str]) -> tuple[str, ...]:
    """The published files that are here for these metrics, as names for `judges()`."""
    wanted = [file for name in names if name in FILES for file in FILES[name]]
    return tuple(published_files.PREFIX + file for file in wanted if published_files.present(file))


class PublishedLooks:
    """The networks.

    Args:
        names: metrics of the suite; those not in `METRICS` are not looked at.
        device: where the networks run.

    Attributes:
        networks: metric -> network, for those whose files are here. missing: metric -> what to type.
    """

    def __init__(self, names: Iterable[str], device: str):
        self.device = device
        self.networks: dict[str, Any] = {}
        self.missing: dict[str, str] = {}
        for name in names:
            if name not in METRICS:
                continue
            if all(published_files.present(file) for file in FILES[name]):
                self.networks[name] = _LOADERS[name](device)
                continue
            try:
                for file in FILES[name]:
                    published_files.locate(file)
            except InputError as error:
                self.missing[name] = str(error)

    @torch.no_grad()
    def features(self, frames: np.ndarray) -> np.ndarray | None:
        """(T, H, W, 3) uint8 -> (prefixes, 400) for FVD; None without its file."""
        return self.networks["fvd"](self._tensor(frames)[None])[0].cpu().numpy() if "fvd" in self.networks else None

    @torch.no_grad()
    def distance(self, frames: np.ndarray, truth: np.ndarray) -> float | None:
        """Mean LPIPS of frames (T, H, W, 3) uint8 to the true ones."""
        if "lpips" not in self.networks:
            return None
        return float(self.networks["lpips"](self._tensor(frames), self._tensor(truth)).mean())

    @torch.no_grad()
    def quality(self, frames: np.ndarray) -> float | None:
        """Mean MUSIQ score of frames (T, H, W, 3) uint8, divided by 100."""
        if "imaging_quality" not in self.networks:
            return None
        scores = [self.networks["imaging_quality"](picture[None]) for picture in self._tensor(frames)]
        return float(torch.cat(scores).mean()) / 100

    @torch.no_grad()
    def dynamic(self, frames: np.ndarray, fps: float) -> float | None:
        """1 when the clip (T, H, W, 3) uint8 is dynamic by VBench's rule, else 0."""
        if "dynamic_degree" not in self.networks:
            return None
        thin = self._tensor(frames)[:: max(1, round(fps / 8))]
        moved = [strongest(self.networks["dynamic_degree"](a[None], b[None])[0]) for a, b in zip(thin, thin[1:], strict=False)]
        limit = 6 * min(thin.shape[1:3]) / 256
        return float(sum(x > limit for x in moved) >= round(4 * len(thin) / 16))

    def _tensor(self, frames: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(frames)).to(self.device)


def strongest(flow: torch.Tensor) -> float:
    """Mean length of the longest 5 % of the vectors of a flow (2, H, W), pixels."""
    lengths = flow.square().sum(0).sqrt().flatten()
    return float(lengths.topk(int(0.05 * len(lengths))).values.mean())
