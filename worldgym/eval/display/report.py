"""The table on the terminal: metrics down, entries across, each value with its interval.

- `table(summary, metrics)`: text from the dictionary of a run's result.json, so that a file can be shown again later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from worldgym.eval.results.answers import Metric

ACROSS = 4
"""Entries side by side; more go into a further block."""


def table(result: Mapping[str, Any], metrics: Mapping[str, Metric]) -> str:
    """A plain-text table with a title, one block per four entries, and what the numbers mean.

    Args:
        result: the summary of a run.
        metrics: of the suite's protocol; say which metrics are shown group by group.
    """
    rows = result["entries"]
    blocks = [_block(rows, rows[i : i + ACROSS], metrics) for i in range(0, len(rows), ACROSS)]
    return "\n\n".join([_title(result), *blocks, _notes(result)]) + "\n"


def _title(result: Mapping[str, Any]) -> str:
    judges = f", judged by {' '.join(result['judges'])}" if result["judges"] else ""
    return f"{result['suite']['name']}   {result['clips']['count']} clips, seed {result['seed']}{judges}"


def _block(rows: Sequence[Mapping], shown: Sequence[Mapping], metrics: Mapping[str, Metric]) -> str:
    lines = [["", *(row["name"] for row in shown)]]
    for metric, about in rows[0]["scores"].items():
        lines.append([f"{metric} ({about['better']})", *(_cell(row["scores"][metric]) for row in shown)])
        if metric == "f1" and _ends(rows):
            lines.append(["  from floor to truth", *(_way(rows, row) for row in shown)])
        if metrics[metric].breakdown:
            lines += _groups(metric, rows, shown)
    return _aligned(lines)


def _groups(metric: str, rows: Sequence[Mapping], shown: Sequence[Mapping]) -> list[list[str]]:
    """One line per group; an entry that failed has none."""
    names = dict.fromkeys(group for row in rows for group in row["scores"][metric].get("groups", {}))
    return [[f"  {g}", *(_cell(row["scores"][metric].get("groups", {}).get(g)) for row in shown)] for g in names]


def _aligned(lines: Sequence[Sequence[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    texts = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join([texts[0], "-" * (sum(widths) + 2 * (len(widths) - 1)), *texts[1:]])


def _cell(score: Mapping[str, Any] | None) -> str:
    if score is None or score["value"] is None:
        return "-"
    value, low, high = (score[key] for key in ("value", "low", "high"))
    if low is None:
        return _digits(value)
    return f"{_digits(value)} [{_digits(low)}, {_digits(high)}]"


def _digits(value: float) -> str:
    """A short number: three places and no leading zero below 10, fewer places above."""
    text = f"{value:.3f}" if abs(value) < 10 else f"{value:.2f}" if abs(value) < 100 else f"{value:.1f}"
    return text.replace("0.", ".", 1) if text.lstrip("-").startswith("0.") else text


def _ends(rows: Sequence[Mapping]) -> tuple[float, float] | None:
    """F1 of the shuffled row (the floor) and of the truth, where both exist and differ."""
    ends = {row["kind"]: row["scores"]["f1"]["value"] for row in rows if row["kind"] in ("truth", "shuffled")}
    low, high = ends.get("shuffled"), ends.get("truth")
    return (low, high) if None not in (low, high) and low != high else None


def _way(rows: Sequence[Mapping], row: Mapping) -> str:
    """How far an entry's F1 lies on the way from the floor (0 %) to the truth (100 %)."""
    low, high = _ends(rows)
    value = row["scores"]["f1"]["value"]
    return "-" if value is None else f"{100 * (value - low) / (high - low):.0f} %"


def _notes(result: Mapping[str, Any]) -> str:
    boot, names = result["bootstrap"], [row["name"] for row in result["entries"]]
    notes = [
        f"[low, high]: {100 * boot['level']:.0f} % bootstrap intervals over clips ({boot['resamples']} resamples; "
        f"{boot['refits']} for the Frechet distance)."
    ]
    notes += ["truth: the real video (ceiling)."] if "truth" in names else []
    notes += ["shuffled: the real video judged against another clip's actions (floor)."] if "shuffled" in names else []
    return "\n".join([*notes, "-: says nothing here, a group that these clips never use, or an entry that failed on a clip."])
