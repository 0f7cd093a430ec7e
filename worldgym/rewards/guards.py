"""Numbers to watch beside a reward, never trained on: `Guards`."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from worldgym.rewards.base import Reward, Scored


class Guards(Reward):
    """Reports how far a video has drifted; adds nothing to the reward.

    info["reward_terms"] gets "brightness_drift" and "contrast_drift", the change of the mean and of the standard deviation
    of the pixels from the first frame to the last, in [-1, 1]; and "frozen", the share of generated frames that are equal to
    the one before them but for `still`.

    Args:
        env: a world-model environment, wrapped or not.
        still: mean absolute change, pixels in [0, 1], below which a frame counts as frozen.
        due: as in `Reward`.
    """

    name = "frozen"
    range = (0.0, 1.0)

    def __init__(self, env: Any, still: float = 0.002, due: str = "episode"):
        super().__init__(env, 0.0, due, still=still)
        self.still = still

    def score(self, frames: Tensor, actions: Tensor, truth: Tensor | None, given: int) -> Scored:
        """See the class."""
        unit = frames.float() / 255
        change = (unit[:, given:] - unit[:, given - 1 : -1]).abs().mean((2, 3, 4))
        first, last = unit[:, 0].flatten(1), unit[:, -1].flatten(1)
        drifts = {"brightness_drift": last.mean(1) - first.mean(1), "contrast_drift": last.std(1) - first.std(1)}
        frozen = (change < self.still).float()
        return Scored(frozen.mean(1), frozen, drifts)
