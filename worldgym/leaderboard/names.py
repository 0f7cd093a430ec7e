"""Names of entries: plain, short, nobody else's.

- `problems(result, protocol)`: what is wrong with one entry's name. `twice(names)`: names that differ in nothing that is seen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from worldgym import zoo
from worldgym.eval.protocols import entries, reward_ranking
from worldgym.eval.protocols.base import Protocol
from worldgym.eval.results.record import PLAIN

LONGEST = 70
WORDS = ("truth", "shuffled", "reference", "reproduced", "reported")
WORLDS = ("doom-rooms", "minecraft", "worldgym")  # what stands before a slash in names of bundled models


def reserved() -> set[str]:
    """Names, in small letters, that only what bears them by right may have."""
    known = [*WORDS, *entries.BASELINES, *reward_ranking.BASELINES, *reward_ranking.bundled(), *zoo.names()]
    return {name.casefold() for name in known}


def problems(result: Mapping[str, Any], protocol: Protocol) -> list[str]:
    """What is wrong, one sentence each."""
    entry = result["entry"]
    name, origin = entry["name"], entry["origin"]
    shown = ascii(name[:60])
    if not re.fullmatch(PLAIN, name) or len(name) > LONGEST or "--" in name:
        return [f"the name {shown} is not plain: letters, digits, '.', '_', '-' and '/', at most {LONGEST}, no '--'"]
    rightful = name == origin and entry["source"] not in ("module", "folder")
    if name in protocol.references and entry["source"] != "reference":
        return [f"the name {shown} belongs to a reference of {protocol.suite.name}"]
    if rightful and (name in protocol.references or name.casefold() not in reserved() or name in _exact()):
        return [] if name.partition("/")[0] not in WORLDS or name in _exact() else [_taken(shown)]
    if name.casefold() in reserved() or name.casefold().partition("/")[0] in WORLDS:
        return [_taken(shown)]
    return []


def _exact() -> set[str]:
    return {*entries.BASELINES, *reward_ranking.BASELINES, *reward_ranking.bundled(), *zoo.names()}


def _taken(shown: str) -> str:
    return f"the name {shown} is reserved for what is bundled; label yours by --models your-name=…"


def twice(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of different names that are the same in small letters."""
    seen: dict[str, str] = {}
    found = []
    for name in names:
        first = seen.setdefault(name.casefold(), name)
        if first != name:
            found.append((first, name))
    return found
