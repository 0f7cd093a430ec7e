"""Rewards as wrappers, the same class for single and batched environments."""

from worldgym.rewards.base import Reward
from worldgym.rewards.composite import CompositeReward
from worldgym.rewards.drift import DriftReward
from worldgym.rewards.guards import Guards
from worldgym.rewards.idm import IDMLikelihoodReward, IDMReward
from worldgym.rewards.interaction_following import InteractionFollowingReward
from worldgym.rewards.pixel import PixelReward
from worldgym.rewards.preference import PreferenceReward
from worldgym.rewards.visual_quality import VisualQualityReward

__all__ = [
    "CompositeReward",
    "DriftReward",
    "Guards",
    "IDMLikelihoodReward",
    "IDMReward",
    "InteractionFollowingReward",
    "PixelReward",
    "PreferenceReward",
    "Reward",
    "VisualQualityReward",
]
