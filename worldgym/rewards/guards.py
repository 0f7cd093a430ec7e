"""Numbers to watch beside a reward, never trained on: `Guards`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.judges.inverse_dynamics import InverseDynamics
from worldgym.judges.quality import Quality
from worldgym.rewards.base import Reward, Scored
from worldgym.rewards.reading import rows
from worldgym.zoo import load_judge

HeldOut = Callable[[Tensor, Tensor], Tensor]


class Guards(Reward):
    """Reports how far a video has drifted and what judges say that are not trained on; adds nothing to the reward.

    info["reward_terms"] gets "brightness_drift" and "contrast_drift", the change of the mean and of the standard deviation
    of the pixels from the first frame to the last, in [-1, 1]; "frozen", the share of generated frames that are equal to
    the one before them but for `still`; and one term "heldout/<name>" per held-out judge. A reward that rises while a
    held-out judge falls is being cheated. No judge is held out by default: whoever names one here looks at it during
    training, and should evaluate with yet another.

    Known way to cheat: none, as long as nothing is trained or chosen by these numbers.

    Args:
        env: a world-model environment, wrapped or not.
        still: mean absolute change, pixels in [0, 1], below which a frame counts as frozen.
        held_out: name -> zoo name or path of a judge, or a judge: an inverse dynamics model (share of the actions that it
            reads back), a quality net (mean quality), or a function of frames (B, T, H, W, 3) uint8 and actions
            (B, T-1, A) to (B,).
        due: as in `Reward`.

    Example:
        >>> env = Guards(IDMReward(env), held_out={"idm": "doom-rooms/idm-heldout"})           # doctest: +SKIP
    """

    name = "frozen"
    range = (0.0, 1.0)

    def __init__(
        self,
        env: Any,
        still: float = 0.002,
        held_out: Mapping[str, str | torch.nn.Module | HeldOut] | None = None,
        due: str = "episode",
    ):
        super().__init__(env, 0.0, due, still=still, held_out=dict(held_out or {}))
        self.still = still
        self.held_out = {f"heldout/{name}": _scorer(judge, self.core.device) for name, judge in (held_out or {}).items()}

    def score(self, frames: Tensor, actions: Tensor, truth: Tensor | None, given: int) -> Scored:
        """See the class."""
        unit = frames.float() / 255
        change = (unit[:, given:] - unit[:, given - 1 : -1]).abs().mean((2, 3, 4))
        first, last = unit[:, 0].flatten(1), unit[:, -1].flatten(1)
        drifts = {"brightness_drift": last.mean(1) - first.mean(1), "contrast_drift": last.std(1) - first.std(1)}
        scores = {name: judge(frames[:, given - 1 :], actions[:, given - 1 :]) for name, judge in self.held_out.items()}
        frozen = (change < self.still).float()
        return Scored(frozen.mean(1), frozen, {**drifts, **scores})


def _scorer(judge: Any, device: torch.device) -> HeldOut:
    judge = load_judge(judge, torch.nn.Module, device) if isinstance(judge, str) else judge
    if isinstance(judge, InverseDynamics):
        judge = judge.to(device)
        return lambda frames, actions: (rows(judge.labels, frames) == actions).float().mean((1, 2))
    if isinstance(judge, Quality):
        judge = judge.to(device)
        return lambda frames, actions: rows(judge, frames[:, 1:]).mean(1)
    if isinstance(judge, torch.nn.Module) or not callable(judge):
        raise InputError(
            f"a held-out judge is an inverse dynamics model, a quality net or a function of frames and actions, "
            f"but got {type(judge).__name__}"
        )
    return judge
