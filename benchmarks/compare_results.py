"""Whether two checkouts hold the same results: every result file of both leaderboards, as canonical JSON.

    git worktree add /tmp/old COMMIT
    python benchmarks/compare_results.py /tmp/old .

For a change that must leave numbers alone. Files are matched by suite, entry and seed, in whatever form they are stored. The
exit status is 1 if rows or scores of any differ in a digit, a file is missing, or its seal does not hold; what else differs
(commit, hash of a reward's source, times) is listed: such an entry was made again. Stands alone: it imports neither checkout.
"""

from __future__ import annotations

import argparse
import collections
import hashlib
import json
from pathlib import Path
from typing import Any

Key = tuple[str, str, str]
PARTS = ("rows", "scores", "sealed", "all")  # "sealed": all but "time" and "sha256"


def read(checkout: Path) -> dict[Key, tuple[dict[str, Any], int]]:
    """(suite, entry, seed) -> the result, and the bytes of its file."""
    found = {}
    for path in sorted(checkout.glob("leaderboards/*/*/[0-9]*.json")):
        content = path.read_bytes()
        found[(*path.parts[-3:-1], path.stem)] = json.loads(content), len(content)
    if not found:
        raise SystemExit(f"{str(checkout)!r} holds no leaderboards/<suite>/<entry>/<seed>.json; name a checkout")
    return found


def digests(result: dict[str, Any]) -> dict[str, str]:
    """Part -> sha256 of its canonical JSON."""
    sealed = {name: value for name, value in result.items() if name not in ("time", "sha256")}
    parts = {"rows": result["rows"], "scores": result["scores"], "sealed": sealed, "all": result}
    return {name: hashlib.sha256(canonical(part)).hexdigest() for name, part in parts.items()}


def canonical(value: Any) -> bytes:
    """Sorted keys, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def compare(
    old: dict[Key, tuple[dict[str, Any], int]], new: dict[Key, tuple[dict[str, Any], int]]
) -> tuple[dict[str, collections.Counter], list[str]]:
    """Suite -> what was counted, and a sentence per problem."""
    counts: dict[str, collections.Counter] = collections.defaultdict(collections.Counter)
    problems = [
        f"{'/'.join(key)} is only in the {'old' if key in old else 'new'} one" for key in sorted(old.keys() ^ new.keys())
    ]
    for key in sorted(old.keys() & new.keys()):
        (before, bytes_before), (after, bytes_after) = old[key], new[key]
        one, other = digests(before), digests(after)
        differing = [part for part in PARTS if one[part] != other[part]]
        counts[key[0]].update(part for part in PARTS if part not in differing)
        counts[key[0]].update(files=1, clips=len(after["rows"]), before=bytes_before, after=bytes_after)
        counts[key[0]]["seals hold"] += other["sealed"] == after["sha256"]
        if {"rows", "scores"} & set(differing):
            problems.append(f"{'/'.join(key)} differs in {', '.join(differing)}")
        elif differing:
            print(f"{'/'.join(key)} was made again: equal rows and scores, another {_others(before, after)}")
        if other["sealed"] != after["sha256"]:
            problems.append(f"{'/'.join(key)} has a seal that does not hold")
    return counts, problems


def _others(before: dict[str, Any], after: dict[str, Any]) -> str:
    return ", ".join(name for name in sorted({*before, *after}) if before.get(name) != after.get(name))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    asked = parser.parse_args()
    old, new = read(asked.old), read(asked.new)
    counts, problems = compare(old, new)
    columns = ("files", "clips", *PARTS, "seals hold", "before", "after")
    print("| suite | files | rows compared | equal: rows | scores | all but time | all | seals hold | bytes before | after |")
    print("| --- " * (len(columns) + 1) + "|")
    for suite, count in [*sorted(counts.items()), ("together", sum(counts.values(), collections.Counter()))]:
        print(f"| {suite} | " + " | ".join(str(count[name]) for name in columns) + " |")
    print("\n".join(problems) or f"{len(new)} result files, no difference")
    raise SystemExit(1 if problems else 0)


if __name__ == "__main__":
    main()
