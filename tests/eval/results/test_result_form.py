"""The form in which results are stored: one line per row; what is read does not depend on it."""

import copy
import json
import shutil
import sys
from pathlib import Path

import pytest

from worldgym.eval.results import record, schema

COMMITTED = Path(__file__).parents[3] / "leaderboards/reward-doom-rooms-v1/random/0.json"


@pytest.fixture(scope="module")
def result():
    return schema.read(COMMITTED)


def test_a_row_is_a_line(result):
    """ "{", a line per field, one more for the end of the rows, a line per row, and "}"; what it holds is what went in."""
    changed = copy.deepcopy(result)
    changed["rows"][3]["id"] = 'line\n"break" {} ✓'
    one, other = record.text(result), record.text(changed)
    assert json.loads(one) == result and json.loads(other) == changed
    assert len(one.splitlines()) == 1 + len(result) + 1 + len(result["rows"]) + 1
    assert sum(a != b for a, b in zip(one.splitlines(), other.splitlines(), strict=True)) == 1
    with pytest.raises(ValueError, match="not JSON compliant"):
        record.text({"rows": [{"value": float("nan")}]})


def test_no_rows_are_valid_json_too():
    assert json.loads(record.text({"rows": [], "seed": 0})) == {"rows": [], "seed": 0}


def test_both_forms_read_alike(result, tmp_path):
    """Indented as older versions wrote it, and a line per row: one value, one seal."""
    (tmp_path / "old.json").write_text(json.dumps(result, indent=2, sort_keys=True))
    old, new = schema.read(tmp_path / "old.json"), schema.read(record.write(result, tmp_path))
    assert old == new == result and record.seal(old) == record.seal(new) == result["sha256"]
    assert json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)  # 1 and 1.0 are equal to Python alone


# --- benchmarks/compare_results.py -------------------------------------------------------------------------------------------


@pytest.fixture
def compare(program, tmp_path, monkeypatch):
    """Two checkouts of one result each, the old one indented; `compare(change)` edits the new one and compares."""
    module = program("benchmarks/compare_results.py")
    place = "leaderboards/reward-doom-rooms-v1/random"
    for name in ("old", "new"):
        (tmp_path / name / place).mkdir(parents=True)
    (tmp_path / "old" / place / "0.json").write_text(json.dumps(schema.read(COMMITTED), indent=1))

    def run(change=lambda result: None):
        result = schema.read(COMMITTED)
        change(result)
        record.write(result, tmp_path / "new/leaderboards/reward-doom-rooms-v1")
        monkeypatch.setattr(sys, "argv", ["compare_results", str(tmp_path / "old"), str(tmp_path / "new")])
        with pytest.raises(SystemExit) as stop:
            module.main()
        return stop.value.code

    return run


def test_the_comparison_of_checkouts_sees_equality(compare, capsys):
    assert compare() == 0
    shown = capsys.readouterr().out
    assert "| together | 1 | 48 | 1 | 1 | 1 | 1 | 1 |" in shown and "1 result files, no difference" in shown


def one_more_digit(result):
    score = next(iter(result["scores"].values()))
    score["value"] += 1e-9


CHANGES = {
    "a row": (lambda r: r["rows"][7].update(task_sha256="0" * 64), "differs in rows, sealed, all"),
    "a digit": (one_more_digit, "differs in scores, sealed, all"),
    "a broken seal": (lambda r: r["run"]["versions"].update(torch="2.0"), "has a seal that does not hold"),
}


@pytest.mark.parametrize("case", CHANGES)
def test_the_comparison_of_checkouts_sees_a_change(compare, capsys, case):
    change, sentence = CHANGES[case]
    assert compare(change) == 1
    assert f"reward-doom-rooms-v1/random/0 {sentence}" in capsys.readouterr().out


def test_an_entry_that_was_made_again_is_named_and_let_through(compare, capsys):
    def again(result):
        result["run"]["commit"], result["time"]["total_s"] = "0" * 40, -1.0
        result["sha256"] = record.seal(result)

    assert compare(again) == 0
    assert "random/0 was made again: equal rows and scores, another run, sha256, time" in capsys.readouterr().out


def test_the_comparison_of_checkouts_sees_what_is_missing(compare, tmp_path, capsys):
    shutil.copytree(tmp_path / "old/leaderboards/reward-doom-rooms-v1/random", tmp_path / "old/leaderboards/x/y")
    assert compare() == 1
    assert "x/y/0 is only in" in capsys.readouterr().out
