"""Metrics of looks (quality, drift, perceptual distance, motion) for any protocol over world models.

- `METRICS`: by the names that suites use. `Looks`: the held-out quality net and the distance behind them; numbers per clip.
- `networks(judge, net)`: what must be hashed.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from worldgym.eval.metrics.drift import quality_drift
from worldgym.eval.metrics.dynamic_degree import dynamic
from worldgym.eval.metrics.image_quality import image_quality, qualities, visual_quality
from worldgym.eval.metrics.perceptual import perceptual
from worldgym.eval.results.answers import Metric
from worldgym.judges.perceptual import LPIPS_TRUNKS
from worldgym.judges.quality import Quality
from worldgym.zoo import load_judge, perceptual_distance

JUDGE = "doom-rooms/quality-heldout"
# The codec of the distance: features of the quality net describe sharpness above all, so that a sharp frame of another place
# would be nearer than a blurred frame of the same place.
DISTANCE = "doom-rooms/latent-codec"
METRICS = {
    "image_quality": Metric("higher", "Mean quality of the generated frames, by the held-out quality net, in [0, 1]."),
    "vq": Metric("higher", "WorldCompass' VQ: the same over every fourth frame (there with HPSv3)."),
    "perceptual": Metric("lower", "Mean distance to the true frames on the latent codec's features, in [0, 1], or LPIPS."),
    "dynamic_degree": Metric("higher", "Share of clips in which something moves: VBench's rule on block matching."),
    "quality_drift": Metric("lower", "Mean change of quality from the first frame to the last 16, in [0, 1]."),
}
AGAINST_TRUTH = ("perceptual",)


def networks(judge: str, net: str) -> tuple[str, ...]:
    """Names of the networks behind a judge and a distance, for their hashes; LPIPS is a package and has none here."""
    return (judge,) if net in LPIPS_TRUNKS else (judge, net)


class Looks:
    """The networks behind the metrics.

    Args:
        judge: held-out quality net, by zoo name or path.
        net: which perceptual distance, as `worldgym.zoo.perceptual_distance` names them.
        device: where they run.
    """

    def __init__(self, judge: str = JUDGE, net: str = DISTANCE, device: str = "cpu"):
        self.device = device
        self.judge = load_judge(judge, Quality, device)
        self.distance = perceptual_distance(net, DISTANCE, device)

    def measure(
        self, names: Iterable[str], frames: np.ndarray, truth: np.ndarray | None, given: int, fps: float
    ) -> dict[str, np.ndarray]:
        """One number per clip for every name that is a metric of looks.

        Args:
            names: metrics of the suite; others are left out.
            frames: (N, T, H, W, 3) uint8, the given ones included.
            truth: the same of the true clips; None where the frames are the true ones, which leaves out comparisons.
            given: P, frames that were given and are not scored.
            fps: frames per second.
        """
        wanted = [name for name in names if name in METRICS and (truth is not None or name not in AGAINST_TRUTH)]
        measured: dict[str, np.ndarray] = {}
        if {"image_quality", "vq", "quality_drift"} & set(wanted):
            quality = qualities(frames, self.judge, self.device)
            made = quality[:, given:]
            measured = {
                "image_quality": image_quality(made),
                "vq": visual_quality(made),
                "quality_drift": quality_drift(quality),
            }
        if "perceptual" in wanted:
            measured["perceptual"] = perceptual(frames[:, given:], truth[:, given:], self.distance, self.device)
        if "dynamic_degree" in wanted:
            measured["dynamic_degree"] = dynamic(frames, fps)
        return {name: measured[name] for name in wanted}
