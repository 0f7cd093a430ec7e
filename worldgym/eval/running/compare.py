"""Two entries of one suite, clip by clip: paired bootstrap of the difference, and the probability of improvement.

- `compare(a, b)`: one `Difference` per metric, B minus A. `main(job)`: `python -m worldgym.eval --compare A.json B.json`, or
  two folders of entries, with all their seeds.

Both entries answered the same clips, so every resample draws the same clips for both, and how easy or hard a clip is cancels
in the difference. The probability of improvement is the share of clips on which B is better, ties counting one half
(Agarwal et al., arXiv 2108.13264, section 4.2, here in pairs).
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worldgym import files
from worldgym.errors import InputError
from worldgym.eval import protocols
from worldgym.eval.protocols.base import Protocol
from worldgym.eval.results import rows, schema, scores
from worldgym.eval.results import suite as suites
from worldgym.eval.results.answers import Row
from worldgym.eval.results.statistics import Bootstrap, Score, interval
from worldgym.eval.running.arguments import Job


@dataclasses.dataclass(frozen=True)
class Difference:
    """One metric of B against A.

    Attributes:
        metric: its name. better: "higher" or "lower".
        a, b: both values.
        difference: b - a with its paired interval.
        improvement: share of clips on which B is better, with interval; NaN where a metric has no value per clip.
    """

    metric: str
    better: str
    a: float
    b: float
    difference: Score
    improvement: Score

    @property
    def verdict(self) -> str:
        """ "better", "worse" or "no difference shown": whether the interval leaves 0 out, and on which side."""
        low, high = self.difference.low, self.difference.high
        if not low > 0 and not high < 0:
            return "no difference shown"
        return "better" if (low > 0) == (self.better == "higher") else "worse"


Result = Mapping[str, Any]


def compare(a: Result | Sequence[Result], b: Result | Sequence[Result], suite: str | None = None) -> list[Difference]:
    """B against A, per metric of the suite.

    Args:
        a, b: result files, as `schema.read` gives them; or the files of several seeds each, which are put together: every
            resample then draws as many clips from each.
        suite: path of a suite that is not shipped.

    Raises:
        InputError: they are not results of one suite on the same clips.
    """
    first, second = (_by_seed(results) for results in (a, b))
    seeds = [[one["seed"] for one in results] for results in (first, second)]
    if seeds[0] != seeds[1]:
        raise InputError(f"the two results have another seed: {seeds[0]} and {seeds[1]}; compare entries of the same seeds")
    for one, other in zip(first, second, strict=True):
        _same_clips(one, other)
    published = first[0]["suite"]
    protocol = protocols.load(suites.load(suite or published["name"]))
    if any(protocol.suite.sha256 != one["suite"]["sha256"] for one in first):
        raise InputError(f"the results are of another {published['name']!r} than the one that is published")
    bootstrap = scores.bootstrap_of(protocol, seeds[0], [len(one["rows"]) for one in first])
    both = [[row for one in results for row in one["rows"]] for results in (first, second)]
    pairs = [_scores(protocol, all_rows, bootstrap) for all_rows in both]
    per_clip = [_per_clip(protocol, all_rows) for all_rows in both]
    return [_difference(name, protocol, pairs, per_clip, bootstrap) for name in protocol.suite.metrics]


def _by_seed(results: Result | Sequence[Result]) -> list[Result]:
    return [results] if isinstance(results, Mapping) else sorted(results, key=lambda one: one["seed"])


def _same_clips(a: Result, b: Result) -> None:
    for key, value in (("suite", "suite"), ("seed", "seed"), ("clips", "test clips")):
        one, two = (result[key] if key != "clips" else result[key]["sha256"] for result in (a, b))
        if one != two:
            raise InputError(f"the two results have another {value}, so they cannot be compared clip by clip")


def _scores(protocol: Protocol, all_rows: Sequence[Row], bootstrap: Bootstrap) -> dict[str, Score]:
    """Scores with all resamples; entries with failed clips cannot be compared."""
    if scores.failed(all_rows):
        raise InputError(f"an entry failed on {len(scores.failed(all_rows))} clips, and a mean over a hole is none")
    return {name: scored.score for name, scored in protocol.scores(all_rows, bootstrap).items()}


def _per_clip(protocol: Protocol, all_rows: Sequence[Row]) -> dict[str, np.ndarray]:
    """Metric -> (N,) its value on each clip alone; NaN where one clip gives none."""
    alone = Bootstrap(np.zeros((2, 1), np.int64), refits=2)
    with np.errstate(all="ignore"):
        each = [protocol.scores([row], alone) for row in all_rows]
    return {name: np.array([one[name].score.value for one in each]) for name in protocol.suite.metrics}


def _difference(
    name: str,
    protocol: Protocol,
    pairs: Sequence[Mapping[str, Score]],
    per_clip: Sequence[Mapping[str, np.ndarray]],
    bootstrap: Bootstrap,
) -> Difference:
    better, (a, b) = protocol.metrics[name].better, (pair[name] for pair in pairs)
    difference = Score(b.value - a.value)
    if a.samples is not None and b.samples is not None:
        difference = Score(b.value - a.value, *interval(b.samples - a.samples, bootstrap.level))
    gain = per_clip[1][name] - per_clip[0][name]
    wins = np.where(gain == 0, 0.5, (gain > 0) == (better == "higher"))
    improvement = Score(np.nan) if np.isnan(gain).any() else bootstrap.mean(wins)
    return Difference(name, better, a.value, b.value, difference, improvement)


def table(differences: Sequence[Difference]) -> str:
    """Plain text, one line per metric."""
    lines = [["metric", "A", "B", "B - A", "", "P(B better on a clip)", "B is"]]
    for one in differences:
        spread = [_span(score) for score in (one.difference, one.improvement)]
        values = f"{one.a:.4g}", f"{one.b:.4g}", f"{one.difference.value:+.4g}", spread[0]
        chance = "-" if np.isnan(one.improvement.value) else f"{one.improvement.value:.2f} {spread[1]}"
        lines.append([f"{one.metric} ({one.better})", *values, chance, one.verdict])
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)).rstrip() for line in lines)


def _span(score: Score) -> str:
    return "" if np.isnan(score.low) else f"[{score.low:.4g}, {score.high:.4g}]"


def plot(differences: Sequence[Difference], title: str, path: str | os.PathLike) -> None:
    """A PNG: per metric the difference with its interval, each on its own scale, turned so that right is better."""
    shown = [one for one in differences if not np.isnan(one.difference.low)]
    row, left, width = 26, 230, 420
    canvas = Image.new("RGB", (left + width + 30, row * (len(shown) + 3)), (255, 255, 255))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(13)
    pen.text((10, 6), title, (20, 20, 20), font)
    middle = left + width // 2
    pen.line([(middle, row), (middle, row * (len(shown) + 2))], (150, 150, 150))
    for index, one in enumerate(shown):
        _bar(pen, font, one, row * (index + 1.5), middle, 0.48 * width)
    pen.text((left, row * (len(shown) + 2)), "A better", (110, 110, 110), font)
    pen.text((left + width - 56, row * (len(shown) + 2)), "B better", (110, 110, 110), font)
    with files.atomic_path(path) as temporary:
        canvas.save(temporary, format="PNG")


def _bar(pen: ImageDraw.ImageDraw, font: Any, one: Difference, y: float, middle: int, reach: float) -> None:
    """One metric: a line for the interval, a dot for the value."""
    score = one.difference
    scale = max(abs(score.low), abs(score.high), abs(score.value), 1e-12)
    place = [middle + reach * (v if one.better == "higher" else -v) / scale for v in (score.low, score.value, score.high)]
    colour = {"better": (0, 125, 45), "worse": (200, 25, 25)}.get(one.verdict, (90, 90, 90))
    pen.text((10, y - 8), f"{one.metric} {score.value:+.3g}", (20, 20, 20), font)
    pen.line([(place[0], y), (place[2], y)], colour, 3)
    pen.ellipse([place[1] - 5, y - 5, place[1] + 5, y + 5], colour)


def plain(differences: Sequence[Difference]) -> list[dict[str, Any]]:
    """The differences as JSON values; a missing value is null."""
    return [
        {
            **{"metric": one.metric, "better": one.better, "a": rows.number(one.a), "b": rows.number(one.b)},
            **{"difference": rows.plain(one.difference), "improvement": rows.plain(one.improvement), "verdict": one.verdict},
        }
        for one in differences
    ]


def main(job: Job) -> None:
    """Print the table; write compare.json and compare.png when a folder is given."""
    both = [_read(Path(path)) for path in job.compare]
    differences = compare(*both, job.suite if job.suite.endswith(".toml") else None)
    (a, *_), (b, *_) = both
    names, seeds = [one["entry"]["name"] for one in (a, b)], ", ".join(str(one["seed"]) for one in both[0])
    count = sum(one["clips"]["count"] for one in both[0])
    title = f"A = {names[0]}, B = {names[1]}; {a['suite']['name']}, {count} clips, seed {seeds}"
    print(f"{title}\n\n{table(differences)}\n\n[low, high]: paired bootstrap over clips, {a['bootstrap']['level']:.0%}")
    if job.out is None:
        return
    out = files.output_folder(Path(job.out))
    hashes = [one[0]["sha256"] if len(one) == 1 else [each["sha256"] for each in one] for one in both]
    about = {"what": "comparison", "a": hashes[0], "b": hashes[1], "names": names, "suite": a["suite"]["name"]}
    files.write_json(out / "compare.json", {**about, "metrics": plain(differences)})
    plot(differences, title, out / "compare.png")
    print(f"wrote {out / 'compare.json'}, {out / 'compare.png'}")


def _read(path: Path) -> list[Result]:
    """A result file, or all of an entry's folder, by seed."""
    paths = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not paths:
        raise InputError(f"{str(path)!r} holds no result; name a file, or a folder as leaderboards/<suite>/<entry>")
    return sorted((schema.read(one) for one in paths), key=lambda one: one["seed"])
