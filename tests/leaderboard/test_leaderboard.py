"""Ranks known on paper, the gate of a submission, and tables and page from result files alone."""

import dataclasses
import json
import re
import shutil
import sys

import numpy as np
import pytest
from eval_toys import SUITE as SUITE_OF_TOYS

from worldgym.errors import InputError
from worldgym.eval.results import record
from worldgym.eval.results.answers import Metric, ScoredMetric
from worldgym.leaderboard import __main__, entries, rank, site, tables
from worldgym.leaderboard.check import check

SUITE = "action-following-doom-rooms-v1"


def score(value, low=None, high=None):
    return {"value": value, "low": low, "high": high}


class Plain:
    """A protocol whose one metric is the mean of the rows' numbers."""

    metrics = {"points": Metric("higher")}

    def __init__(self, better="higher"):
        self.metrics = {"points": Metric(better)}
        self.suite = dataclasses.replace(SUITE_OF_TOYS, metrics=("points",))

    def scores(self, rows, bootstrap):
        return {"points": ScoredMetric(bootstrap.mean(np.array([row["points"] for row in rows], float)))}


def candidate(points, seeds=(0,)):
    rows = {seed: [{"points": value} for value in points] for seed in seeds}
    return rank.Candidate(None if points is None else float(np.mean(points)), rows)


def test_ranks_on_paper(monkeypatch):
    """B is better than A by 1 on each of 20 clips whose own values spread over 100: single intervals overlap, the paired one
    is exactly 1. C differs from B by +-5 in turns: no difference is shown."""
    monkeypatch.setattr(rank.protocols, "load", lambda suite: Plain(better))
    a = np.linspace(0, 100, 20)
    c = a + 1 + np.where(np.arange(20) % 2, 5, -5) * 1.0
    found = [candidate(a), candidate(a + 1), candidate(c), rank.Candidate(None, {0: [{"failure": "x"}]})]
    better = "higher"
    assert rank.ranks(found[:2], Plain()) == [2, 1]
    assert rank.ranks(found, Plain()) == [3, 1, 1, None]
    better = "lower"
    assert rank.ranks(found[:2], Plain("lower")) == [1, 2]
    other = [candidate(a, (0, 1)), candidate(a + 1, (1, 2))]  # seed 1 is what they share
    better = "higher"
    assert rank.ranks(other, Plain()) == [2, 1]
    assert rank.ranks([candidate(a, (0,)), candidate(a + 1, (2,))], Plain()) == [1, 1]  # nothing is shared: nothing is shown
    assert rank.order([0.8, 0.2, 0.5, None], "higher") == [0, 2, 1, 3]
    assert rank.order([0.8, 0.2, 0.5, None], "lower") == [1, 2, 0, 3]


def test_board_of_a_run(boards):
    board = entries.load(boards)[0]
    found = tables.ranked(board)
    assert [(place, entry.name) for place, entry in found] == [
        (None, "truth"),
        (None, "shuffled"),
        (1, "toy/good"),
        (1, "toy/sloppy"),
        (3, "last-frame"),
    ]
    assert [sorted(entry.films) for _, entry in found] == [[0], [], [0], [0], [0]]


def second_seed(boards, entry, change=lambda result: None):
    """The same rows as another seed's, for tests that never look at clips."""
    path = boards / SUITE / entry / "0.json"
    result = json.loads(path.read_text())
    result["seed"] = 1
    change(result)
    result["sha256"] = record.seal(result)
    path.with_name("1.json").write_text(json.dumps(result))


def test_seeds_are_put_together_by_strata(boards):
    def better(result):
        for row in result["rows"]:
            row["scores"]["psnr"] += 10

    before = next(e for e in entries.load(boards)[0].entries if e.name == "toy/good").scores["psnr"]
    second_seed(boards, "toy--good", better)
    entry = next(e for e in entries.load(boards)[0].entries if e.name == "toy/good")
    assert sorted(entry.results) == [0, 1]
    assert entry.scores["psnr"]["value"] == pytest.approx(before["value"] + 5)
    wide = entry.scores["psnr"]["high"] - entry.scores["psnr"]["low"]
    assert wide < before["high"] - before["low"]  # twice the clips; the 10 dB between seeds are no noise
    assert "| 1 | toy/good | 2 | 12 |" in tables.markdown(entries.load(boards))


def test_the_gate_lets_good_files_through(boards, monkeypatch, capsys):
    assert check(boards, sample=1) == []
    monkeypatch.setattr(sys, "argv", ["leaderboard", "check", str(boards)])
    with pytest.raises(SystemExit) as stop:
        __main__.main()
    assert stop.value.code == 0 and "5 result files, nothing wrong" in capsys.readouterr().out


def edit(boards, change, entry="toy--good"):
    path = boards / SUITE / entry / "0.json"
    result = json.loads(path.read_text())
    change(result)
    path.write_text(json.dumps(result))


def fewer(boards):
    def change(result):
        del result["rows"][-1]
        result["clips"]["count"] = 5

    edit(boards, change)


WRONG = {
    "a changed number": (lambda b: edit(b, lambda r: r["scores"]["f1"].update(value=0.99)), "toy--good/0.json: scores: "),
    "another name": (lambda b: edit(b, lambda r: r["entry"].update(name="me")), "it must lie there"),
    "fewer clips": (fewer, "has 5 clips, but suite action-following-doom-rooms-v1 has 6; run it without --clips"),
    "no JSON": (lambda b: (b / SUITE / "toy--good" / "0.json").write_text("{"), "is not JSON"),
    "wrong place": (lambda b: shutil.copy(b / SUITE / "truth" / "0.json", b / "0.json"), "is not in its place"),
    "wrong folder": (lambda b: (b / SUITE / "truth").rename(b / SUITE / "true"), "it must lie there"),
    "a script": (lambda b: (b / SUITE / "truth" / "x.html").write_text("<script>"), "is neither a result"),
    "a link": (lambda b: (b / SUITE / "truth" / "2.webm").symlink_to("/etc/passwd"), "is a link"),
    "a film alone": (
        lambda b: (b / SUITE / "truth" / "0.webm").rename(b / SUITE / "truth" / "7.webm"),
        "has no result beside it",
    ),
    "no film": (lambda b: (b / SUITE / "truth" / "0.webm").write_text("<html>"), "is not a WebM file"),
    "a huge film": (lambda b: (b / SUITE / "truth" / "0.webm").write_bytes(bytes(3 << 20)), "at most 2097152 are published"),
    "no such suite": (lambda b: edit(b, lambda r: r["suite"].update(name="other-v1")), "it must lie there"),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_gate_names_what_is_wrong(boards, case):
    change, sentence = WRONG[case]
    change(boards)
    problems = check(boards)
    assert any(sentence in problem for problem in problems), problems
    assert all("\n" not in problem for problem in problems)


def test_other_test_clips_than_everybody(boards):
    def change(result):
        result["clips"]["sha256"] = "0" * 64

    edit(boards, change, "truth")
    assert any("has other test clips than" in problem for problem in check(boards))


# --- texts of strangers ------------------------------------------------------------------------------------------------------

NASTY = [
    "</script><script>window.hacked=1</script>",
    "<img src=x onerror=window.hacked=1>",
    "<!--<script>",
    "javascript:alert(1)",
    "]]>&lt;b&amp;",
    "a|b `c` [d](http://e) \n# f",
    "\u2028\u2029\u202e",
]


def nasty(boards):
    """Submissions whose every text is an attack."""
    for number, text in enumerate(NASTY):
        result = json.loads((boards / SUITE / "toy--sloppy" / "0.json").read_text())
        result["entry"].update(name=text, kind=text, origin=text, sampling={text: text})
        result["run"].update(command=text, versions={text: text}, hardware={text: text})
        result["shown"] = [text]
        if number == 1:
            result["rows"][0] = {"id": text, "task_sha256": "0" * 64, "failure": text}
            result["scores"] = {name: {**score(None), "better": s["better"]} for name, s in result["scores"].items()}
        place = boards / SUITE / record.slug(text)
        place.mkdir()
        (place / "0.json").write_text(json.dumps(result))
        shutil.copy(boards / SUITE / "toy--sloppy" / "0.webm", place / "0.webm")
    return boards


def test_the_page_has_two_scripts_whatever_names_say(boards, tmp_path):
    path = site.build(entries.load(nasty(boards)), tmp_path / "site")
    text = path.read_text()
    assert len(re.findall(r"<script", text, re.I)) == 2 == len(re.findall(r"</script", text, re.I))
    data = text.partition('id="data">')[2].partition("</script>")[0]
    assert not re.search(r"[<>&\u2028\u2029]", data)
    names = {entry["name"] for board in json.loads(data) for entry in board["entries"]}
    assert set(NASTY) <= names
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", text)
    written = {p.relative_to(tmp_path / "site").as_posix() for p in (tmp_path / "site").rglob("*") if p.is_file()}
    assert all(
        re.fullmatch(r"index\.html|clips/[A-Za-z0-9._-]+/[A-Za-z0-9][A-Za-z0-9._-]*/\d+\.webm", name) for name in written
    )


def test_cost_per_clip_on_paper():
    for seconds, wanted in ((6.0, 1.5), ("6", None), (None, None), ({}, None)):
        assert site._per_clip({"time": {"entry_s": seconds}, "clips": {"count": 4}}) == wanted


def test_tables_keep_their_columns(boards):
    text = tables.markdown(entries.load(nasty(boards)))
    rows = [line for line in text.splitlines() if line.startswith("|")]
    columns = {len(re.findall(r"(?<!\\)\|", row)) for row in rows}
    assert len(rows) == 2 + 5 + 2 + len(NASTY) and len(columns) == 1
    assert "<" not in re.sub(r"\\<|&lt;", "", text) and "(http://" not in text


def test_what_cannot_be_built_says_why(boards, tmp_path, monkeypatch, capsys):
    with pytest.raises(InputError, match="there is no folder"):
        entries.load(tmp_path / "none")
    edit(boards, lambda r: r["suite"].update(sha256="0" * 64))
    with pytest.raises(InputError, match="another 'action-following-doom-rooms-v1' than the published one"):
        entries.load(boards)
    monkeypatch.setattr(sys, "argv", ["leaderboard", "add", str(tmp_path / "suites")])
    with pytest.raises(SystemExit) as stop:
        __main__.main()
    assert stop.value.code == 2 and "holds no result files" in capsys.readouterr().err


def test_same_files_same_page(boards, tmp_path):
    one, two = (site.build(entries.load(boards), tmp_path / name).read_bytes() for name in ("a", "b"))
    assert one == two
