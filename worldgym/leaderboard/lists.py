"""Two lists: what can be made again here, which is ranked, and what is only reported.

- `standing(protocol, result)`: which list an entry is on, and why.
- `flags(scores, entry, truth, floor)`: what a reader should know beside the numbers.

*Reproduced*: whoever has this repository can make the clips again, from bundled weights or code whose hash the file gives.
*Reported*: the scores follow from the rows and every check passes, but nobody here can make the clips.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from worldgym.eval.protocols import entries, sources
from worldgym.eval.protocols.base import Protocol
from worldgym.eval.running import trust

REFERENCE, REPRODUCED, REPORTED = "reference", "reproduced", "reported"
CEILING = 30.0  # dB from which a video is the true one, perhaps through a codec; the best model has 20
HONEST = 0.12  # share of the way from last-frame to truth; of honest entries -.05 to .02, see docs/evaluation.md
STILL = 0.5  # share of clips in which something moves, below which a video that is read well is none


@dataclasses.dataclass(frozen=True)
class Standing:
    """Which list, and why."""

    list: str
    why: str


def standing(protocol: Protocol, result: Mapping[str, Any]) -> Standing:
    """The list of an entry; looks at names and hashes and runs nothing."""
    entry = result["entry"]
    origin = entry["origin"]
    if origin in protocol.references and entry["source"] == "reference" or _ceiling(protocol, entry):
        return Standing(REFERENCE, "a reference of the suite; not ranked")
    if entry["sampling"].get("leak"):
        return Standing(REPORTED, "made with what the suite holds out (--allow-leak); not ranked")
    if trust.is_bundled(protocol, origin):
        return Standing(REPRODUCED, "made again here from what is bundled") if _own(protocol, entry) else _other(origin)
    if entries.is_attribute(origin) and entry["source"] == "module":
        digest = sources.sha256(origin) if origin.startswith("baselines.") else None
        if digest == entry["weights_sha256"] and digest is not None and protocol.entrants == "model":
            return Standing(REPRODUCED, f"made again here from the code of {origin.partition(':')[0]}")
        return Standing(REPORTED, "its code is not in this repository, so nobody here can make the clips")
    if entry["source"] == "folder":
        return Standing(REPORTED, "finished videos were handed in; how they were made is not known here")
    return Standing(REPORTED, "its weights are not in this repository, so nobody here can make the clips")


def _ceiling(protocol: Protocol, entry: Mapping[str, Any]) -> bool:
    """A baseline that is told the answer, as "truth-aware"."""
    return entry["source"] == "baseline" and entry["name"] == entry["origin"] and entry["origin"] in protocol.ceilings


def _own(protocol: Protocol, entry: Mapping[str, Any]) -> bool:
    """Are weights or source those that are here?"""
    origin = entry["origin"]
    return trust.weights_here(protocol, origin) == entry["weights_sha256"]


def _other(origin: str) -> Standing:
    return Standing(REPORTED, f"its weights are not those of {origin!r} that are here")


def flags(scores: Mapping[str, Any], entry: Mapping[str, Any], truth: Mapping | None, floor: Mapping | None) -> list[str]:
    """What a reader should know, one sentence each.

    Args:
        scores: of the entry. entry: what its file says of it.
        truth, floor: scores of the reference "truth" and of "last-frame" on the same board, where there are any.
    """
    found = [
        text for rule in (_above, _ceiling_of_psnr, _reads_without_showing, _judges) for text in rule(scores, truth, floor)
    ]
    best = entry["sampling"].get("best_of")
    if isinstance(best, int) and best > 1:
        found.append(f"It declares to be the best of {best} tries per clip, chosen at test time.")
    if entry["sampling"].get("leak"):
        found.append("It was trained or chosen with what the suite holds out (--allow-leak).")
    return found


def _value(scores: Mapping | None, name: str, key: str = "value") -> float | None:
    score = (scores or {}).get(name)
    return None if score is None else score[key]


def _above(scores: Mapping, truth: Mapping | None, floor: Mapping | None) -> list[str]:
    """The metric that ranks lies above what the true videos reach."""
    name = next(iter(scores), "")
    own, ceiling = _value(scores, name), _value(truth, name)
    if own is None or ceiling is None or own == ceiling:
        return []
    better = own > ceiling if scores[name]["better"] == "higher" else own < ceiling
    return [f"Its {name} is above the truth's, so it speaks to the judge rather than show what happens."] if better else []


def _ceiling_of_psnr(scores: Mapping, truth: Mapping | None, floor: Mapping | None) -> list[str]:
    value = _value(scores, "psnr")
    return ["Its PSNR is that of the true video itself."] if value is not None and value >= CEILING else []


def _reads_without_showing(scores: Mapping, truth: Mapping | None, floor: Mapping | None) -> list[str]:
    """F1 like the truth's, pictures like the last frame's."""
    f1, psnr, moving = (_value(scores, name) for name in ("f1", "psnr", "dynamic_degree"))
    low, high = _value(truth, "f1", "low"), _value(floor, "psnr", "high")
    found = []
    if None not in (f1, psnr, low, high) and f1 >= low and psnr <= high:
        found.append("Its F1 is the truth's while its PSNR is that of the last frame repeated.")
    base = _value(floor, "f1", "high")
    if None not in (f1, moving, base) and f1 > base and moving < STILL:
        found.append("Actions are read from it although hardly anything moves.")
    return found


def _judges(scores: Mapping, truth: Mapping | None, floor: Mapping | None) -> list[str]:
    """Two judges of different families see different things."""
    one, two = _value(scores, "f1"), _value(scores, "f1_second")
    top = [_value(truth, name) for name in ("f1", "f1_second")]
    base = [_value(floor, name) for name in ("f1", "f1_second")]
    if None in (one, two, *top, *base) or top[0] == base[0] or top[1] == base[1]:
        return []
    shares = [(value - low) / (high - low) for value, low, high in zip((one, two), base, top, strict=True)]
    apart = shares[0] - shares[1]
    return [f"The two judges disagree: {shares[0]:.2f} and {shares[1]:.2f} of the way to the truth."] if apart > HONEST else []


def sentence(standing_: Standing, found: Sequence[str]) -> str:
    """Standing and flags in one line."""
    return " ".join([f"{standing_.list.capitalize()}: {standing_.why}.", *found])
