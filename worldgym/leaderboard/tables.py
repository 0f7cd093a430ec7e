"""Markdown tables, generated: `markdown(boards)`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from worldgym.leaderboard import rank
from worldgym.leaderboard.entries import Board, Entry

HEAD = """# Leaderboards

Generated from the result files beside this one by `python -m worldgym.leaderboard tables leaderboards`; not edited by hand.
Values with percentile-bootstrap intervals over clips (several seeds: stratified). Entries whose intervals overlap tie.
"""


def markdown(boards: Sequence[Board]) -> str:
    """One table per suite."""
    return "\n".join([HEAD, *(_board(board) for board in boards)])


def ranked(board: Board) -> list[tuple[int | None, Entry]]:
    """Entries with their ranks by the suite's first metric, best first; references are not ranked and come first."""
    metric = board.protocol.suite.metrics[0]
    better = board.protocol.metrics[metric].better
    known = board.protocol.references
    references = sorted((e for e in board.entries if e.is_reference), key=lambda e: known.index(e.name))
    others = [entry for entry in board.entries if not entry.is_reference]
    scores = [entry.scores[metric] for entry in others]
    places = rank.ranks(scores, better)
    return [(None, entry) for entry in references] + [(places[i], others[i]) for i in rank.order(scores, better)]


def _board(board: Board) -> str:
    suite, metrics = board.protocol.suite, board.protocol.metrics
    head = ["rank", "entry", "seeds", "clips", *(f"{name} ({metrics[name].better})" for name in suite.metrics)]
    lines = [head, ["---"] * len(head)]
    for place, entry in ranked(board):
        clips = sum(result["clips"]["count"] for result in entry.results.values())
        values = [_cell(entry.scores.get(name)) for name in suite.metrics]
        lines.append([str(place or "–"), safe(entry.name), str(len(entry.results)), str(clips), *values])
    text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"## {suite.name}\n{suite.about}\n\n{text}\n"


def _cell(score: Mapping[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return "–"
    span = "" if score["low"] is None else f" [{score['low']:.3g}, {score['high']:.3g}]"
    return f"{score['value']:.3g}{span}"


def safe(text: str) -> str:
    """Somebody's name in Markdown: nothing that makes a tag, a link, a column or a line."""
    return (
        re.sub(r"([\\`*_{}\[\]<>()#+!|&~$])", r"\\\1", " ".join(text.split())).replace("<", "&lt;").replace("://", ":\u200b//")
    )
