"""The page: one folder of plain files that opens from the file system, without a server and without any request elsewhere.

- `build(boards, out)`: writes index.html (style, script and data inside) and the clips.

Names and texts of submissions are only ever data: they lie in a JSON block in which no tag can begin, the script writes
them as text, and the page's own policy forbids every script and style but these two.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from worldgym import files
from worldgym.leaderboard.entries import Board, Entry
from worldgym.leaderboard.rank import RULE
from worldgym.leaderboard.tables import ranked

PAGE = Path(__file__).parent / "page"
PROVENANCE = ("command", "commit", "batch")


def build(boards: Sequence[Board], out: Path) -> Path:
    """Write the page; the path of index.html.

    Args:
        boards: what to show.
        out: folder; made if needed. Files of an earlier page are replaced.

    Raises:
        InputError: the folder cannot be written.
    """
    out = files.output_folder(out)
    for board in boards:
        for entry in board.entries:
            _films(board, entry, out)
    files.write_bytes(out / "index.html", page([_board(board) for board in boards]).encode())
    return out / "index.html"


def page(data: Any) -> str:
    """The whole HTML with data inside."""
    style, script = ((PAGE / name).read_text(encoding="utf-8") for name in ("style.css", "script.js"))
    policy = (
        f"default-src 'none'; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "media-src 'self' file:; img-src 'self' data:; base-uri 'none'; form-action 'none'"
    )
    text = (PAGE / "page.html").read_text(encoding="utf-8")
    parts = {"POLICY": html.escape(policy), "STYLE": style, "DATA": embedded(data), "SCRIPT": script}
    for name, part in parts.items():
        before, _, after = text.partition(f"<!--{name}-->")
        text = before + part + after
    return text


def embedded(data: Any) -> str:
    """JSON in which no tag, comment or entity can begin, whatever the texts in it are."""
    text = json.dumps(data, allow_nan=False, sort_keys=True, separators=(",", ":"))  # ASCII: line separators are escaped too
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _film(board: Board, entry: Entry, seed: int) -> str:
    """Where a film lies in the page's folder; made of names that are safe by construction."""
    return f"clips/{board.name}/{entry.slug}/{seed}.webm"


def _films(board: Board, entry: Entry, out: Path) -> None:
    for seed, path in entry.films.items():
        target = out / _film(board, entry, seed)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)


def _board(board: Board) -> dict[str, Any]:
    suite, metrics = board.protocol.suite, board.protocol.metrics
    return {
        "name": suite.name,
        "about": suite.about,
        "entrants": board.protocol.entrants,
        "clips": suite.clips,
        "sha256": suite.sha256,
        "judges": list(board.protocol.judges()),
        "level": suite.bootstrap.level,
        "rule": RULE,
        "metrics": [{"name": n, "better": metrics[n].better, "about": metrics[n].about} for n in suite.metrics],
        "entries": [_entry(board, entry, place) for place, entry in ranked(board)],
    }


def _entry(board: Board, entry: Entry, place: int | None) -> dict[str, Any]:
    return {
        "name": entry.name,
        "slug": entry.slug,
        "kind": entry.kind,
        "reference": entry.is_reference,
        "rank": place,
        "list": entry.standing.list,
        "why": entry.standing.why,
        "flags": list(entry.flags),
        "about": {**entry.about, "date": entry.date, "seconds_per_clip": entry.seconds_per_clip},
        "failed": entry.failed,
        "scores": dict(entry.scores),
        "runs": [_run(board, entry, seed, result) for seed, result in entry.results.items()],
    }


def _run(board: Board, entry: Entry, seed: int, result: Mapping[str, Any]) -> dict[str, Any]:
    about, run = result["entry"], result["run"]
    return {
        "seed": seed,
        "film": _film(board, entry, seed) if seed in entry.films else None,
        "shown": result["shown"],
        "clips": result["clips"]["count"],
        "failures": [row["failure"] for row in result["rows"] if "failure" in row][:5],
        "facts": {
            "result sha256": result["sha256"],
            "weights sha256": about["weights_sha256"],
            "made from": about["origin"],
            "sampling": json.dumps(about["sampling"], sort_keys=True),
            "frames sha256": result["frames_sha256"],
            "test clips sha256": result["clips"]["sha256"],
            "judges": json.dumps(result["judges"], sort_keys=True),
            **{name: run[name] for name in PROVENANCE},
            "versions": json.dumps(run["versions"], sort_keys=True),
            "hardware": json.dumps(run["hardware"], sort_keys=True),
            "seconds": result["time"].get("entry_s"),
            "seconds per clip": _per_clip(result),
            "list": entry.standing.list,
            "why": entry.standing.why,
        },
    }


def _per_clip(result: Mapping[str, Any]) -> float | None:
    """What an answer costs: of a reward, all versions of a clip."""
    seconds, clips = result["time"].get("entry_s"), result["clips"]["count"]
    return round(seconds / clips, 4) if isinstance(seconds, float) and clips else None  # the schema leaves "time" open
