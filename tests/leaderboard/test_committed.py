"""The result files that are committed: malformed, edited or outdated ones cannot stay."""

import json
from pathlib import Path

import jsonschema
import pytest

from worldgym.eval import protocols
from worldgym.eval.results import record, schema, scores
from worldgym.eval.results import suite as suites
from worldgym.eval.running.verify import _apart
from worldgym.leaderboard import entries, tables
from worldgym.leaderboard.check import check

FOLDER = Path(__file__).parent.parent.parent / "leaderboards"
FILES = entries.result_files(FOLDER)


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_committed_result_is_whole(path):
    """Its schema, its seal, its place, the suite as published (which therefore can't change), its scores from its rows."""
    result = schema.read(path)
    jsonschema.Draft202012Validator(schema.published()).validate(result)
    entries.check_place(path, result)
    assert record.seal(result) == result["sha256"]
    suite = suites.load(result["suite"]["name"])
    assert suite.sha256 == result["suite"]["sha256"], "a published suite never changes: add a new version"
    again = scores.of_rows(protocols.load(suite), {result["seed"]: result["rows"]})
    assert [place for name in again for place in _apart(result["scores"][name], again[name], name)] == []
    assert result["clips"]["count"] == suite.clips


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_committed_result_was_made_by_what_is_here(path):
    """Who edits a reward's file, if only a comment, or a model's weights, makes its entries again; or none can be verified."""
    result = schema.read(path)
    entrant = protocols.load(suites.load(result["suite"]["name"])).enter(result["entry"]["origin"])
    assert entrant.weights == result["entry"]["weights_sha256"], "changed since: make the entry again (leaderboards/make.py)"


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_committed_result_has_a_line_per_row(path):
    assert path.read_text() == record.text(schema.read(path))


def test_tables_are_those_of_the_files():
    """An empty leaderboard has none."""
    path = FOLDER / "README.md"
    assert path.is_file() or not FILES
    if FILES:
        assert path.read_text() == tables.markdown(entries.load(FOLDER))


@pytest.mark.long
def test_the_whole_gate():
    """With a clip of every entry made again."""
    assert check(FOLDER, sample=1) == []


def test_nobody_publishes_where_they_live():
    for path in FILES:
        run = json.loads(path.read_text())["run"]
        assert not any(word.startswith("/") for word in run["command"].split()), path
