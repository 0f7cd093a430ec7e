"""What a judge of looks must offer, so that a published one can replace the bundled one.

- `FrameQuality`: scores of frames, as HPSv3. `VideoPreference`: scores of clips, as VideoAlign. `BundledPreference`: a
  stand-in for the latter.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, stack

from worldgym.judges import motion
from worldgym.judges.quality import Quality

MOVING = 6 / 256  # of the shorter side, per frame: VBench's threshold of visible motion


@runtime_checkable
class FrameQuality(Protocol):
    """Scores single frames, as HPSv3 does (with one fixed prompt) and `Quality`.

    Optional attribute `range`: (lowest, highest) score; taken as unbounded when it is not there.
    """

    def __call__(self, frames: Tensor) -> Tensor:
        """(…, H, W, 3) uint8 RGB -> (…,) float, higher is better."""
        ...


@runtime_checkable
class VideoPreference(Protocol):
    """Scores clips as VideoAlign does.

    Attributes:
        name: what to call it in results.
    """

    name: str

    def preferences(self, frames: Tensor) -> Tensor:
        """(B, T, H, W, 3) uint8 RGB -> (B, 2) visual quality and motion quality, higher is better."""
        ...


class BundledPreference:
    """A stand-in for VideoAlign that was not trained on what people prefer.

    Visual quality is the mean quality of the frames. Motion quality is the mean over pairs of frames of
    consistency * min(1, strongest displacement / threshold): a frame must be explained by the one before it, moved (see
    `judges.motion`), and something must move (VBench's threshold). Both in [0, 1].

    Args:
        quality: a quality net.
        source: its name.
    """

    range = (0.0, 1.0)

    def __init__(self, quality: Quality, source: str):
        self.quality = quality
        self.name = f"stand-in: {source} and block matching"

    def preferences(self, frames: Tensor) -> Tensor:
        """(B, T, H, W, 3) uint8 -> (B, 2) in [0, 1]."""
        displacements, unexplained, variance = motion.flow(frames)
        threshold = MOVING * min(frames.shape[2:4])
        moving = (motion.strongest(displacements) / threshold).clamp(max=1)
        smooth = motion.consistency(unexplained, variance)
        return stack([self.quality(frames).mean(1), (smooth * moving).mean(1)], 1)
