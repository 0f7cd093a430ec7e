"""What evaluation holds out does not train: suite seeds and held-out judges are refused, unless somebody says otherwise.

- `refuse(what)`: raises, or notes it where leaks are allowed. `allowed()`: a block in which they are; yields what leaked.
- `check_seeds(seeds, what)`: no world seed of a suite among them. `put_on_card`, `on_card`: what a model's card says of it.
"""

from __future__ import annotations

import contextlib
import contextvars
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldgym import files
from worldgym.data.splits import SUITE_SEEDS
from worldgym.errors import InputError

_noted: contextvars.ContextVar[list[str] | None] = contextvars.ContextVar("leaks", default=None)


@contextlib.contextmanager
def allowed() -> Iterator[list[str]]:
    """A block in which held-out judges and suite seeds may train.

    Yields:
        What leaked, one clause each, filled as it happens: for the card.
    """
    noted: list[str] = []
    token = _noted.set(noted)
    try:
        yield noted
    finally:
        _noted.reset(token)


def refuse(what: str) -> None:
    """What evaluation holds out is about to train.

    Args:
        what: a clause, as in "the judge 'x' evaluates".

    Raises:
        InputError: outside of `allowed`.
    """
    noted = _noted.get()
    if noted is None:
        raise InputError(f"{what}, so it may not train or choose a model; take another one, or say --allow-leak")
    if what not in noted:
        noted.append(what)


def put_on_card(model: Path, noted: Sequence[str]) -> None:
    """Write what leaked onto the card beside a model's file, from where every later result takes it."""
    card = model.with_suffix(".json")
    if noted and card.is_file():
        files.write_json(card, {**json.loads(card.read_text()), "leaks": list(noted)})


def on_card(card: Mapping[str, Any] | None) -> bool:
    """Does a card say that something leaked?"""
    return bool((card or {}).get("leaks"))


def check_seeds(seeds: Iterable[int], what: str) -> None:
    """Refuse world seeds that belong to suites.

    Args:
        seeds: of worlds.
        what: where they come from, as "prompt_seeds".
    """
    found = np.asarray(list(seeds) if not isinstance(seeds, np.ndarray) else seeds)
    held = found[found >= SUITE_SEEDS] if found.size else found
    if held.size:
        refuse(f"{what} holds {held.size} world seeds of evaluation suites, as {int(held[0])}")


def check_ids(ids: Iterable[str], what: str) -> None:
    """The same for names of prompts, "<world>/<seed>/<first frame>"; other names say nothing."""
    parts = (name.split("/") for name in ids)
    check_seeds([int(part[-2]) for part in parts if len(part) == 3 and part[-2].isdigit() and len(part[-2]) < 12], what)
