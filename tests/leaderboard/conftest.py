"""A folder of result files from a run of the toy suite, which passes for the published one."""

import pytest
from eval_finished import finished, finished_once  # noqa: F401


@pytest.fixture
def boards(finished, tmp_path, monkeypatch):  # noqa: F811
    """leaderboards/ with five entries of one seed."""
    from worldgym.eval.results import suite as suites
    from worldgym.leaderboard import films
    from worldgym.leaderboard.add import add

    published = tmp_path / "suites"
    published.mkdir()
    name = "action-following-doom-rooms-v1"
    (published / f"{name}.toml").write_text((finished / "toy-v1.toml").read_text())
    monkeypatch.setattr(suites, "FOLDER", published)
    monkeypatch.setattr(films, "GIVEN", 3.0)  # the toys' frames are noise, which no film keeps
    monkeypatch.setattr(films, "APART", 99.0)
    add(finished / "out", tmp_path / "leaderboards")
    return tmp_path / "leaderboards"
