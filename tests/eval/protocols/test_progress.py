"""No long silence: every stage of making clips has a bar, in a log as in a terminal, and one process shows it."""

import pytest

from worldgym.eval import protocols
from worldgym.eval.results import suite as suites
from worldgym.eval.results.progress import bar

STAGES = {
    "reward-doom-rooms-v1": ("playing the test clips", "playing other actions", "reconstructing", "playing doom-rooms/"),
    "action-following-doom-rooms-v1": ("playing the test clips",),
    "memory-drift-doom-rooms-v1": ("playing the test clips",),
}


@pytest.mark.parametrize("name", [name for name in STAGES if name in suites.names()])
def test_every_stage_has_its_bar_where_there_is_no_terminal(name: str, capsys):
    protocols.load(suites.load(name), "cpu").tasks(0, 2)
    said = capsys.readouterr().err
    for stage in STAGES[name]:
        assert stage in said and "2/2" in said.split(stage)[-1]


@pytest.mark.parametrize(("rank", "shown"), [(None, True), ("0", True), ("1", False)])
def test_one_process_shows_it(rank, shown: bool, monkeypatch, capsys):
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert list(bar([1, 2, 3], "counting")) == [1, 2, 3]
    assert ("counting" in capsys.readouterr().err) == shown
