"""Rewards with a gradient: which way would a judge want a picture changed?

- `Objective`: the weighted rewards around an environment as one differentiable score of pictures.
- `SMOOTH`: for each reward that has one, its differentiable relative.

`env.step` gives numbers, which is all that GRPO and NFT need. The bundled judges are networks, so their gradient is there
for trainers that follow it (`worldgym.train.draft`). Judges look through the augmentations of their own training, drawn
anew every time: a change that pleases the judge under one tint, blur or contrast alone is no change for the better.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.judges.camera_motion import CameraMotion
from worldgym.judges.committee import COMMITTEES
from worldgym.judges.inverse_dynamics import InverseDynamics, augment
from worldgym.judges.quality import Quality
from worldgym.judges.soft_labels import soft_agreement
from worldgym.models.codecs.codec import as_shown
from worldgym.rewards.base import Reward
from worldgym.rewards.idm import IDMLikelihoodReward, IDMReward
from worldgym.rewards.interaction_following import InteractionFollowingReward
from worldgym.rewards.pixel import PixelReward
from worldgym.rewards.visual_quality import VisualQualityReward

# (reward, pictures as judges see them, pictures, actions, truth in [0, 1] or None) -> (B, T-1)
Smooth = Callable[[Reward, Tensor, Tensor, Tensor, "Tensor | None"], Tensor]


def log_likelihood(reward: IDMReward, seen: Tensor, pictures: Tensor, actions: Tensor, truth: Tensor | None) -> Tensor:
    """Mean over the reward's columns of log p(a_i | video): (B, T-1), at most 0."""
    logits = reward.judge.logits_of(seen)
    asked = actions[..., None].unbind(-2)
    found = torch.cat([x.log_softmax(-1).gather(-1, a) for x, a in zip(logits, asked, strict=True)], -1)
    return found[..., reward._columns].mean(-1)


def followed(
    reward: InteractionFollowingReward, seen: Tensor, pictures: Tensor, actions: Tensor, truth: Tensor | None
) -> Tensor:
    """The soft agreement of the camera's motion with what is commanded: (B, T-1) in (0, 1)."""
    return soft_agreement(reward.judge.motion_of(seen), reward.target(actions), reward.rules).float()


def looks(reward: VisualQualityReward, seen: Tensor, pictures: Tensor, actions: Tensor, truth: Tensor | None) -> Tensor:
    """The judge's quality of every frame, without views, which would spoil what is judged: (B, T-1) in [0, 1]."""
    return reward.judge.quality_of(pictures[:, 1:])


def near(reward: PixelReward, seen: Tensor, pictures: Tensor, actions: Tensor, truth: Tensor | None) -> Tensor:
    """The L1 part of the pixel reward: (B, T-1), at most 0."""
    return -(pictures - truth)[:, 1:].abs().mean((2, 3, 4))


SMOOTH: dict[type[Reward], tuple[Smooth, type | None]] = {  # with the judge that it needs
    IDMReward: (log_likelihood, InverseDynamics),
    IDMLikelihoodReward: (log_likelihood, InverseDynamics),
    InteractionFollowingReward: (followed, CameraMotion),
    VisualQualityReward: (looks, Quality),
    PixelReward: (near, None),
}


class Objective:
    """The weighted sum of the rewards around an environment, differentiable in the pictures.

    Attributes:
        parts: by reward name: the reward, its weight, its differentiable relative.

    Args:
        env: a world-model environment in rewards.
        weights: by reward name; what weighs 0 or is not named is left out.
        views: judges look through the augmentations of their training.

    Raises:
        InputError: a reward that counts has no gradient, or a judge of another kind.
    """

    def __init__(self, env: Any, weights: Mapping[str, float], views: bool = True):
        self.views = views
        found = {reward.name: reward for reward in _rewards(env)}
        missing = [name for name, weight in weights.items() if weight and name not in found]
        if missing:
            raise InputError(f"no reward {missing[0]!r} around this environment; there are: {', '.join(found) or 'none'}")
        self.parts = {name: (found[name], weight, _smooth(found[name])) for name, weight in weights.items() if weight}
        for reward, *_ in self.parts.values():
            if isinstance(getattr(reward, "judge", None), torch.nn.Module):
                reward.judge.requires_grad_(False)

    def __call__(
        self, pictures: Tensor, actions: Tensor, truth: Tensor, given: int, seeds: Sequence[int]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Score videos.

        Args:
            pictures: (B, T, H, W, 3) float, about [0, 1], with gradient; the given frames included.
            actions: (B, T-1, A) int64.
            truth: (B, T, H, W, 3) uint8, what truly happened.
            given: the first frames, which are not scored.
            seeds: B integers, of the rows' augmentations.

        Returns:
            The weighted score of every generated frame (B, T - given), and the terms by name, (B, T - given) each.
        """
        pictures = as_shown(pictures)
        seen = views(pictures, seeds) if self.views else pictures
        truth = truth.to(pictures.dtype) / 255
        terms = {
            name: smooth(reward, seen, pictures, actions, truth)[:, given - 1 :]
            for name, (reward, _, smooth) in self.parts.items()
        }
        return sum(weight * terms[name] for name, (_, weight, _) in self.parts.items()), terms


def views(pictures: Tensor, seeds: Sequence[int]) -> Tensor:
    """Every row (T, H, W, 3) through an augmentation of its own seed, whatever its neighbours: same shape."""
    found = []
    with torch.random.fork_rng(devices=[pictures.device] if pictures.is_cuda else []):
        for row, seed in zip(pictures, seeds, strict=True):
            torch.manual_seed(seed)
            kinds = augment(row.expand(4, *row.shape))  # of four one is softened, one tinted, one noisy
            found.append(kinds[int(torch.randint(4, ()))])
    return torch.stack(found)


def _smooth(reward: Reward) -> Smooth:
    if reward._public not in SMOOTH:  # a subclass means something of its own
        known = sorted({cls.name for cls in SMOOTH})
        raise InputError(f"the reward {reward.name!r} has no gradient; those that have one: {', '.join(known)}")
    smooth, judge = SMOOTH[reward._public]
    if judge is not None and type(reward.judge) not in (judge, COMMITTEES.get(judge)):
        raise InputError(
            f"the gradient of {reward.name!r} needs a judge of kind {judge.__name__}, not {type(reward.judge).__name__}"
        )
    return smooth


def _rewards(env: Any) -> list[Reward]:
    """Rewards around an environment, outermost first."""
    found = []
    while env is not None:
        if isinstance(env, Reward):
            found.append(env)
        env = getattr(env, "env", None)
    return found
