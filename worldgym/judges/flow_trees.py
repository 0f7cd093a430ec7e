"""A second opinion on actions: boosted trees on statistics of block motion. It is no network and has no gradient.

- `FlowTrees`: frames (B, T, H, W, 3) to labels of every action group. `features(frames)`: what the trees see.
- `from_boosting(columns)`: the module that scikit-learn's fitted classifiers amount to.

What a network reads from two grey levels of noise, these trees mostly do not; where the two judges part, somebody speaks to
one of them. Camera columns are left at "no turn": the suites' F1 is over groups.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym.actions import ActionSpec, spec
from worldgym.judges import motion

BANDS, SECTORS = 3, 4  # rows and columns of the coarse grid for the steps around a step
AROUND = (-2, -1, 1, 2)  # those steps
# Of every node: what it asks, where it leads (counted from the tree's first node), and what a leaf says
ARRAYS = {"feature": torch.int16, "threshold": torch.float64, "left": torch.int16, "right": torch.int16}
ARRAYS |= {"value": torch.float32, "leaf": torch.bool}


@dataclasses.dataclass(frozen=True)
class FlowTreesConfig:
    """How many trees for what.

    Attributes:
        spec: name of the action spec.
        columns: names of the columns that are read.
        trees: of all columns together. nodes: of all trees together. depth: of the deepest tree.
        height, width: of a frame, pixels.
    """

    spec: str
    columns: tuple[str, ...]
    trees: int
    nodes: int
    depth: int
    height: int = 56
    width: int = 96


class FlowTrees(nn.Module):
    """Labels by boosted trees: per column and class a sum of trees, the largest wins (logit 0 stands for a lone class)."""

    def __init__(self, config: FlowTreesConfig):
        super().__init__()
        self.config = config
        self.spec: ActionSpec = spec(config.spec)
        for name, dtype in ARRAYS.items():
            self.register_buffer(name, torch.zeros(config.nodes, dtype=dtype))
        for name in ("start", "column", "label"):  # per tree: first node; column and class it votes for
            self.register_buffer(name, torch.zeros(config.trees, dtype=torch.int64))
        widest = max(group.size for group in self.spec.groups)
        self.register_buffer("base", torch.zeros(len(config.columns), widest, dtype=torch.float64))

    @torch.no_grad()
    def labels(self, frames: Tensor) -> Tensor:
        """(B, T-1, A) int64 labels; columns that are not read are null.

        Args:
            frames: (B, T, H, W, 3) uint8.
        """
        seen = torch.cat([features(clip[None]) for clip in frames])  # one by one: a batch equals its singles
        votes = self.votes(seen.flatten(0, 1).double().cpu())
        batch, steps = seen.shape[:2]
        found = torch.tensor(self.spec.null).repeat(batch, steps, 1)
        for index, name in enumerate(self.config.columns):
            size = self.spec.sizes[self.spec.column(name)]
            found[..., self.spec.column(name)] = votes[:, index, :size].argmax(-1).unflatten(0, (batch, steps))
        return found.to(frames.device)

    def votes(self, seen: Tensor) -> Tensor:
        """(N, D) float64 features -> (N, columns, classes) float64 sums of trees; logit 0 for the first of two classes."""
        arrays = {name: getattr(self, name).cpu().numpy() for name in (*ARRAYS, "start", "column", "label")}
        found = np.repeat(self.base.cpu().numpy()[None], len(seen), 0)
        rows, values = np.arange(len(seen)), seen.numpy()
        for tree in range(self.config.trees):
            node = np.full(len(seen), arrays["start"][tree])
            for _ in range(self.config.depth):
                left = values[rows, arrays["feature"][node]] <= arrays["threshold"][node]
                below = arrays["start"][tree] + np.where(left, arrays["left"][node], arrays["right"][node])
                node = np.where(arrays["leaf"][node], node, below)
            found[:, arrays["column"][tree], arrays["label"][tree]] += arrays["value"][node]
        return torch.from_numpy(found)


@torch.no_grad()
def features(frames: Tensor) -> Tensor:
    """What the trees see of every step.

    Displacements of blocks in three bands of the frame, what they leave unexplained, the change of every block's brightness,
    and the same on a coarse grid for two steps before and after (zeros beyond the clip).

    Args:
        frames: (B, T, H, W, 3) uint8, H and W multiples of 8.

    Returns:
        (B, T-1, D) float32.
    """
    displacements, unexplained, _ = motion.flow(frames)
    grey = F.avg_pool2d(frames.float().mean(-1) / 255, motion.BLOCK)
    change = grey[:, 1:] - grey[:, :-1]
    planes = torch.cat([displacements, 100 * unexplained[:, :, None], 10 * change[:, :, None]], 2)  # (B, T-1, 4, h, w)
    batch, steps = planes.shape[:2]
    flat = planes.flatten(0, 1)
    own = [F.adaptive_avg_pool2d(flat[:, :3], (BANDS, planes.shape[-1])), flat[:, 3:]]
    coarse = F.adaptive_avg_pool2d(flat, (BANDS, SECTORS)).flatten(1).unflatten(0, (batch, steps))
    parts = [part.flatten(1).unflatten(0, (batch, steps)) for part in own]
    for shift in AROUND:
        moved = torch.zeros_like(coarse)
        if shift < 0:
            moved[:, -shift:] = coarse[:, :shift]
        else:
            moved[:, :-shift] = coarse[:, shift:]
        parts.append(moved)
    return torch.cat(parts, -1)


def from_boosting(columns: Mapping[str, Any], name: str = "doom") -> FlowTrees:
    """The trees of scikit-learn's fitted `HistGradientBoostingClassifier`s, as arrays.

    Args:
        columns: name of a column -> its classifier; classes must be 0, 1, ….
        name: of the action spec.
    """
    kept: dict[str, list] = {key: [] for key in (*ARRAYS, "start", "column", "label")}
    base, nodes, deepest = {}, 0, 0
    for index, fitted in enumerate(columns.values()):
        binary = len(fitted.classes_) == 2
        first = np.asarray(fitted._baseline_prediction).ravel()
        base[index] = {1: first[0]} if binary else dict(enumerate(first))
        for stage in fitted._predictors:
            for label, tree in enumerate(stage):
                own = tree.nodes
                kept["start"].append(nodes)
                kept["column"].append(index)
                kept["label"].append(1 if binary else label)
                for key, field in zip(
                    ARRAYS, ("feature_idx", "num_threshold", "left", "right", "value", "is_leaf"), strict=True
                ):
                    kept[key].append(own[field])
                nodes, deepest = nodes + len(own), max(deepest, int(own["depth"].max()))
    module = FlowTrees(FlowTreesConfig(name, tuple(columns), len(kept["start"]), nodes, deepest))
    for key, dtype in ARRAYS.items():
        getattr(module, key).copy_(torch.from_numpy(np.concatenate(kept[key]).astype(np.float64)).to(dtype))
    for key in ("start", "column", "label"):
        getattr(module, key).copy_(torch.tensor(kept[key]))
    for index, values in base.items():
        for label, value in values.items():
            module.base[index, label] = float(value)
    return module.eval()
