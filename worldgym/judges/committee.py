"""Several judges as one: a mistake that one of them makes is outvoted by the others.

- `InverseDynamicsCommittee`: mean log-probabilities. `CameraMotionCommittee`: mean motion.
- `committee(members)`: the one that fits the members.

A model that is trained against a judge learns what the judge mistakes for good as well as what is good. Ensembles of reward
models put that off (Coste et al., arXiv 2310.02743). Members of different architecture share the fewest mistakes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import torch
from torch import nn

from worldgym.errors import InputError
from worldgym.judges.camera_motion import CameraMotion
from worldgym.judges.inverse_dynamics import InverseDynamics


class InverseDynamicsCommittee(InverseDynamics):
    """Inverse dynamics models as one: logits are the mean of their log-probabilities.

    Args:
        members: at least two, of one resolution and action spec.
    """

    def __init__(self, members: Sequence[InverseDynamics]):
        nn.Module.__init__(self)
        self.members, self.config, self.spec = nn.ModuleList(members), members[0].config, members[0].spec

    @property
    def steps_alone(self) -> bool:
        """False: members read whole clips."""
        return False

    def logits_of(self, unit: torch.Tensor) -> list[torch.Tensor]:
        """Pictures (B, T, H, W, 3) float in [0, 1] -> A tensors (B, T-1, n_k), with a gradient for the pictures."""
        columns = zip(*(member.logits_of(unit) for member in self.members), strict=True)
        return [torch.stack([logits.log_softmax(-1) for logits in column]).mean(0) for column in columns]

    def _seen(self, unit: torch.Tensor) -> NoReturn:
        raise InputError("a committee of judges has no features of its own; ask one of its members")


class CameraMotionCommittee(CameraMotion):
    """Camera motion models as one: the motion is the mean of theirs.

    Args:
        members: at least two, of one resolution.
    """

    def __init__(self, members: Sequence[CameraMotion]):
        nn.Module.__init__(self)
        self.members, self.config = nn.ModuleList(members), members[0].config

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Camera motion of every step: (B, T, H, W, 3) uint8 -> (B, T-1, 5); see `CameraMotion.forward`."""
        return torch.stack([member(frames) for member in self.members]).mean(0)

    def motion_of(self, unit: torch.Tensor) -> torch.Tensor:
        """Pictures (B, T, H, W, 3) float in [0, 1] -> (B, T-1, 5), with a gradient for the pictures."""
        return torch.stack([member.motion_of(unit) for member in self.members]).mean(0)

    def _features(self, unit: torch.Tensor) -> NoReturn:
        raise InputError("a committee of judges has no features of its own; ask one of its members")


COMMITTEES: dict[type[nn.Module], type[nn.Module]] = {
    InverseDynamics: InverseDynamicsCommittee,
    CameraMotion: CameraMotionCommittee,
}


def committee(members: Sequence[nn.Module]) -> nn.Module:
    """Judges as one.

    Args:
        members: at least two, all `InverseDynamics` or all `CameraMotion`.

    Raises:
        InputError: they are of other or several kinds, or for other frames or actions.
    """
    kinds = {type(member) for member in members}
    if len(members) < 2 or len(kinds) > 1 or not kinds <= set(COMMITTEES):
        got = ", ".join(type(member).__name__ for member in members) or "none"
        known = " or ".join(f"{kind.__name__} judges" for kind in COMMITTEES)
        raise InputError(f"a committee is made of several {known}, all of one kind; got {got}")
    frames = {(member.config.height, member.config.width, getattr(member.config, "spec", "")) for member in members}
    if len(frames) > 1:
        got = ", ".join(f"{height}x{width} {spec}".strip() for height, width, spec in sorted(frames))
        raise InputError(f"members of a committee must read the same frames and actions; got {got}")
    return COMMITTEES[kinds.pop()](members).eval()
