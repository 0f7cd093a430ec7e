"""The gate of a pull request, on the result files that are committed."""

from pathlib import Path

import jsonschema
import pytest

from worldgym.eval.results import record, schema
from worldgym.leaderboard import changes, entries, tables
from worldgym.leaderboard.check import check

FOLDER = Path(__file__).parent.parent.parent / "leaderboards"
FILES = entries.result_files(FOLDER)


def test_the_gate():
    """Every committed file by itself, and in depth what the change under review touches."""
    assert check(FOLDER, changed_since=changes.base(FOLDER)) == []


def test_the_published_schema_fits():
    """As another reader of JSON Schema sees it; one file per suite, for the package is slow."""
    validator = jsonschema.Draft202012Validator(schema.published())
    for path in {path.parts[-3]: path for path in entries.result_files(FOLDER)}.values():
        validator.validate(schema.read(path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: "/".join(path.parts[-3:]))
def test_a_committed_result_has_a_line_per_row(path):
    assert path.read_text() == record.text(schema.read(path))


def test_tables_are_those_of_the_files():
    assert (FOLDER / "README.md").read_text() == tables.markdown(entries.load(FOLDER))


@pytest.mark.long
def test_the_whole_gate():
    """Every question again, and a clip of every entry that can be made here."""
    assert check(FOLDER, sample=1) == []
