"""Markdown tables, generated: `markdown(boards)`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from worldgym.leaderboard import lists, rank
from worldgym.leaderboard.entries import Board, Entry

HEAD = f"""# Leaderboards

Generated from the result files beside this one by `python -m worldgym.leaderboard tables leaderboards`; not edited by hand.
Values with percentile-bootstrap intervals over clips (several seeds: stratified).
{rank.RULE}

*Reproduced* entries can be made again here and are ranked; references are not. *Reported* ones pass all checks, but nobody
here can make their clips: they stand below, in an order of their own (docs/evaluation.md, "What an attacker can do").
Secondary metrics: `python -m worldgym.leaderboard tables leaderboards --all-metrics`, and the page.
"""
SHOWN = 4  # metrics of a suite in the table, where not all are asked for
ABOUT = ("parameters", "s / clip", "data", "licence", "date")


def markdown(boards: Sequence[Board], all_metrics: bool = False) -> str:
    """One table per suite."""
    return "\n".join([HEAD, *(_board(board, all_metrics) for board in boards)])


def ranked(board: Board) -> list[tuple[int | None, Entry]]:
    """References, which come first; reproduced entries with their ranks, best first; then reported ones, best first."""
    metric = board.protocol.suite.metrics[0]
    better = board.protocol.metrics[metric].better
    known = [*board.protocol.references, *board.protocol.ceilings]
    references = sorted((e for e in board.entries if e.is_reference), key=lambda e: known.index(e.name))
    found = [(None, entry) for entry in references]
    for name in (lists.REPRODUCED, lists.REPORTED):
        own = [entry for entry in board.entries if entry.standing.list == name]
        candidates = [_candidate(entry, metric) for entry in own]
        places = rank.ranks(candidates, board.protocol) if name == lists.REPRODUCED else [None] * len(own)
        found += [(places[i], own[i]) for i in rank.order([one.value for one in candidates], better)]
    return found


def _candidate(entry: Entry, metric: str) -> rank.Candidate:
    rows = {seed: result["rows"] for seed, result in entry.results.items()}
    return rank.Candidate(entry.scores[metric]["value"], rows)


def _board(board: Board, all_metrics: bool) -> str:
    suite, metrics = board.protocol.suite, board.protocol.metrics
    shown = suite.metrics if all_metrics else suite.metrics[:SHOWN]
    head = ["rank", "entry", "seeds", "clips", *(f"{name} ({metrics[name].better})" for name in shown), *ABOUT]
    parts = [f"## {suite.name}\n{suite.about}\n"]
    found = ranked(board)
    groups = {
        "": [pair for pair in found if pair[1].standing.list != lists.REPORTED],
        "Reported": [pair for pair in found if pair[1].standing.list == lists.REPORTED],
    }
    for title, own in groups.items():
        if own:
            lines = [head, ["---"] * len(head), *(_line(place, entry, shown) for place, entry in own)]
            text = "\n".join(f"| {' | '.join(line)} |" for line in lines)
            parts.append(f"{title}\n\n{text}\n" if title else f"{text}\n")
    notes = [f"- {safe(entry.name)}: {lists.sentence(entry.standing, entry.flags)}" for _, entry in found if _noted(entry)]
    return "\n".join([*parts, *(["\n".join(notes) + "\n"] if notes else [])])


def _noted(entry: Entry) -> bool:
    """What the table's own place does not say."""
    return bool(entry.flags) or entry.standing.list == lists.REPORTED


def _line(place: int | None, entry: Entry, shown: Sequence[str]) -> list[str]:
    clips = sum(result["clips"]["count"] for result in entry.results.values())
    mark = str(place) if place else "–"
    name, link = safe(entry.name), entry.about.get("link")
    cells = [mark, f"[{name}]({link})" if link else name, str(len(entry.results)), str(clips)]
    return [*cells, *(_cell(entry.scores.get(metric)) for metric in shown), *_about(entry)]


def _about(entry: Entry) -> list[str]:
    own, seconds = entry.about, entry.seconds_per_clip
    parameters = own.get("parameters")
    size = "–" if parameters is None else f"{parameters / 1e6:.3g} M"
    return [
        size,
        "–" if seconds is None else f"{seconds:.2g}",
        *(_text(own.get(k)) for k in ("training_data", "licence")),
        _text(entry.date),
    ]


def _text(text: Any) -> str:
    return safe(str(text)) if text else "–"


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
