"""Bars for everything that takes longer than a moment: `bar`."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def bar(items: Iterable[Any] | None, title: str, total: int | None = None) -> tqdm:
    """A progress bar over clips, in logs as well as in terminals; of several processes the first one shows it."""
    return tqdm(items, desc=title, total=total, unit="clip", disable=os.environ.get("RANK", "0") != "0")
