"""Protocols: one file per kind of suite; a suite names its own by `protocol = "…"`.

- `load(suite, device)`: the protocol of a suite, ready to make tasks. `names()`: what there is.

A protocol says how test clips are made, which rows exist and how answers are scored; see `base` for what it must define.
"""

from __future__ import annotations

import importlib

from worldgym.errors import unknown
from worldgym.eval.protocols.base import Protocol
from worldgym.eval.results.suite import Suite

# By name, so that one protocol's needs are not loaded for another's suite.
PROTOCOLS = {
    "action-following": "worldgym.eval.protocols.action_following:ActionFollowing",
    "action-following-minecraft": "worldgym.eval.protocols.action_following_minecraft:ActionFollowingMinecraft",
    "interaction-following": "worldgym.eval.protocols.interaction_following:InteractionFollowing",
    "memory-drift": "worldgym.eval.protocols.memory_drift:MemoryDrift",
    "reward-ranking": "worldgym.eval.protocols.reward_ranking:RewardRanking",
}


def names() -> list[str]:
    """The protocols that suites can name."""
    return sorted(PROTOCOLS)


def find(name: str) -> type[Protocol]:
    """A protocol's class.

    Raises:
        InputError: there is none of this name.
    """
    if name not in PROTOCOLS:
        raise unknown("protocol", name, PROTOCOLS)
    module, _, attribute = PROTOCOLS[name].partition(":")
    return getattr(importlib.import_module(module), attribute)


def load(suite: Suite, device: str = "cpu") -> Protocol:
    """The protocol of a suite; loads no network.

    Raises:
        InputError: an unknown protocol, metric or option.
    """
    return find(suite.protocol)(suite, device)
