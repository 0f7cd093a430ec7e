"""Rewards as wrappers, the same class for single and batched environments."""

from worldgym.rewards.base import Reward
from worldgym.rewards.composite import CompositeReward
from worldgym.rewards.guards import Guards
from worldgym.rewards.idm import IDMReward
from worldgym.rewards.pixel import PixelReward

__all__ = ["CompositeReward", "Guards", "IDMReward", "PixelReward", "Reward"]
