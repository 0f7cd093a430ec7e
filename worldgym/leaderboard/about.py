"""What a reader of a leaderboard wants to know of an entry beside its scores: size, data, licence, link.

- `about(entry)`: the columns of one entry. `about_problems(path)`: what is wrong with a file `about.json` beside results.

What is bundled has a card; others may put `about.json` beside their results: {"parameters": 4176228, "training_data": "…",
"licence": "MIT", "link": "https://…"}. It is the submitter's word, and shown as such.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldgym import zoo
from worldgym.errors import InputError
from worldgym.eval.results import schema

ABOUT = "about.json"
KEYS = ("parameters", "training_data", "licence", "link")
LONGEST = 300  # characters


def about_problems(path: Path) -> list[str]:
    """What is wrong with a file, one sentence each."""
    try:
        found = schema.read_json(path)
    except InputError as error:
        return [str(error)]
    if not isinstance(found, dict) or set(found) - set(KEYS):
        return [f"{path} must be an object with some of {', '.join(KEYS)}"]
    return [
        f"{path} has {key} {str(value)[:40]!r}, which is not {WANTED[key]}" for key, value in found.items() if _bad(key, value)
    ]


WANTED = {
    "parameters": "a whole number",
    "training_data": f"a text of at most {LONGEST} characters",
    "licence": f"a text of at most {LONGEST} characters",
    "link": "an address that begins with https://",
}


def _bad(key: str, value: Any) -> bool:
    if key == "parameters":
        return isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 10**15
    if not isinstance(value, str) or not value.isprintable() or len(value) > LONGEST:
        return True
    return key == "link" and not re.fullmatch(r"https://[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+", value)


def about(result: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Parameters, training data, licence and link, as far as they are known; None where they are not."""
    found: dict[str, Any] = dict.fromkeys(KEYS)
    origin = result["entry"]["origin"]
    if origin in zoo.names():
        card = zoo.card(zoo.WEIGHTS / f"{origin}.safetensors") or {}
        found |= {"parameters": card.get("parameters"), "training_data": card.get("world"), "licence": "MIT"}
    elif result["entry"]["source"] in ("baseline", "reward", "reference"):
        found |= {"licence": "MIT"}
    path = folder / ABOUT
    if path.is_file() and not path.is_symlink() and not about_problems(path):
        found |= schema.read_json(path)
    return found
