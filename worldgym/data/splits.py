"""Which split a world seed belongs to: its last digit decides, so that all frames of a clip are in one split.

Of ten consecutive seeds eight are for training, one for validation, one for tests: seed % 10 in 0…7, 8, 9.
"""

from __future__ import annotations

from worldgym.errors import unknown

SUITE_SEEDS = 900_000_000  # world seeds from here on belong to suites; no data set reaches them (see worldgym.data.record)
SPLITS = {"train": tuple(range(8)), "validation": (8,), "test": (9,)}


def split_of_seed(seed: int) -> str:
    """ "train", "validation" or "test"."""
    return next(name for name, digits in SPLITS.items() if seed % 10 in digits)


def seeds(split: str, start: int, count: int) -> list[int]:
    """The first `count` seeds of a split that are at least `start`."""
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    digits = SPLITS[split]
    chosen, seed = [], start
    while len(chosen) < count:
        if seed % 10 in digits:
            chosen.append(seed)
        seed += 1
    return chosen
