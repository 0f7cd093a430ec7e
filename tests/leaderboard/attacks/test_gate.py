"""The gate of a pull request: one function for tests, CONTRIBUTING and the command; and `leaderboard add`."""

import json
import shutil
import sys

import pytest
from attack_toys import SUITE, again, committed, git, read, sealed, stranger, write

from worldgym.errors import InputError
from worldgym.leaderboard import __main__, changes, entries
from worldgym.leaderboard.add import add
from worldgym.leaderboard.check import check


@pytest.fixture
def repository(boards):
    """The boards, committed."""
    committed(boards.parent)
    return boards


def gate(boards):
    return check(boards, changed_since="HEAD")


def test_nothing_changed(repository, monkeypatch):
    """And nothing is asked for: no question is made again."""
    from worldgym.eval.protocols import action_following

    monkeypatch.setattr(action_following, "record", lambda *a: pytest.fail("a game was played"))
    assert gate(repository) == []


def test_an_honest_outsider_passes_and_is_reported(repository):
    """Their model is not in the repository; that is no fault."""
    write(repository, stranger(read(repository)))
    assert gate(repository) == []
    entry = next(e for e in entries.load(repository)[0].entries if e.name == "mine")
    assert entry.standing.list == "reported"


def test_a_changed_entry_of_a_bundled_model_is_made_again(repository):
    found = read(repository, "toy--sloppy")
    for row in found["rows"]:
        row["predicted"] = dict(row["given"])
    write(repository, again(found))
    assert any("sample" in problem for problem in gate(repository))
    git(repository, "commit", "-qam", "theirs")
    assert any("sample" in problem for problem in check(repository, changed_since="HEAD~1"))


def test_rows_of_others_are_not_rewritten(repository):
    """Somebody's published result can be replaced by nobody who cannot make it."""
    write(repository, stranger(read(repository)))
    git(repository, "add", "-A")
    git(repository, "commit", "-qm", "a stranger")
    found = read(repository, "mine")
    for row in found["rows"]:
        row["scores"]["psnr"] -= 1
    write(repository, again(found))
    assert any("was published before and cannot be made again here" in problem for problem in gate(repository))


def test_a_published_result_that_is_gone(repository):
    (repository / SUITE / "toy--good" / "0.json").unlink()
    (repository / SUITE / "toy--good" / "0.webm").unlink()
    assert any("was published and is gone" in problem for problem in gate(repository))


def test_only_the_film_changed(repository):
    """A film is part of an entry: its result is looked at again."""
    shutil.copy(repository / SUITE / "toy--good" / "0.webm", repository / SUITE / "toy--sloppy" / "0.webm")
    touched = changes.since(repository, "HEAD")
    assert touched.touches(repository / SUITE / "toy--sloppy" / "0.json")


@pytest.mark.parametrize("ref", ["--output=x", "no-such-ref", "HEAD; touch x", ""])
def test_a_ref_is_a_commit_and_no_option(repository, ref):
    if ref:
        assert "git does not know" in check(repository, changed_since=ref)[0]
    assert not (repository / "x").exists() and not (repository.parent / "x").exists()


def test_the_command_is_the_function(repository, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["leaderboard", "check", str(repository), "--changed-since", "HEAD", "--lists"])
    with pytest.raises(SystemExit) as stop:
        __main__.main()
    out = capsys.readouterr().out
    assert stop.value.code == 0 and "5 result files, nothing wrong" in out
    assert f"{SUITE} toy/good: Reproduced: made again here from what is bundled." in out
    monkeypatch.setenv("GITHUB_BASE_REF", "no-such-branch")
    assert changes.base(repository) == "HEAD"


@pytest.mark.parametrize(
    "content",
    [b"", b"\xff\xfe", b"[]", b"null", b'{"what": "result"}', b"[" * 100_000, b'{"schema": 2, "schema": 2}', b"\0" * 1000],
)
def test_one_bad_file_costs_one_line(repository, content):
    (repository / SUITE / "toy--good" / "0.json").write_bytes(content)
    later = read(repository, "toy--sloppy")
    later["scores"]["f1"]["value"] = 0.123
    write(repository, later)
    problems = gate(repository)
    assert sum("toy--good" in problem for problem in problems) == 1
    assert any("toy--sloppy" in problem for problem in problems)
    assert all(len(problem) < 400 and "\n" not in problem for problem in problems)


def test_an_error_of_ours_costs_one_line_too(repository, monkeypatch):
    from worldgym.eval.running import verify

    monkeypatch.setattr(verify, "verify", lambda path, **_: 1 / 0)
    problems = gate(repository)
    assert len(problems) == 5 and all("cannot be checked: ZeroDivisionError" in problem for problem in problems)


def test_a_command_that_tells_where_somebody_lives(repository):
    found = stranger(read(repository))
    found["run"]["command"] = "python -m worldgym.eval --models /home/me/secret/model.safetensors"
    write(repository, sealed(found))
    assert any("where somebody lives" in problem for problem in gate(repository))


def test_a_card_beside_results(repository):
    write(repository, stranger(read(repository)))
    path = repository / SUITE / "mine" / "about.json"
    path.write_text(
        json.dumps({"parameters": 7_000_000, "licence": "MIT", "link": "https://example.org/m", "training_data": "VPT"})
    )
    assert gate(repository) == []
    for wrong in (
        {"link": "javascript:alert(1)"},
        {"link": "https://a b"},
        {"parameters": 1e9},
        {"licence": "a\nb"},
        {"x": 1},
        [],
    ):
        path.write_text(json.dumps(wrong))
        assert len([p for p in gate(repository) if "about.json" in p]) == 1, wrong


# --- add -----------------------------------------------------------------------------------------------------------------


def test_add_overwrites_nobody(boards, finished):
    before = {path: path.read_bytes() for path in boards.rglob("*") if path.is_file()}
    assert len(add(finished / "out", boards)) == 5  # the same results: nothing is lost
    other = read(boards, "toy--good")
    other["run"]["command"] = "another run"
    write(boards, sealed(other))
    with pytest.raises(InputError, match="is there already; take another name .* or say --replace"):
        add(finished / "out", boards)
    add(finished / "out", boards, replace=True)
    assert {path: path.read_bytes() for path in boards.rglob("*") if path.is_file()} == before


def test_add_refuses_fewer_clips_and_names_of_others_before_it_writes(boards, finished, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(finished / "out", run)
    found = json.loads((run / "toy--sloppy" / "0.json").read_text())
    found["rows"].pop()
    (run / "toy--sloppy" / "0.json").write_text(json.dumps(again(found)))
    with pytest.raises(InputError, match="has 5 clips, but suite .* has 6; run it without --clips"):
        add(run, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    found = stranger(read(boards), name="TRUTH")
    (run / "toy--sloppy" / "0.json").write_text(json.dumps(found))
    with pytest.raises(InputError, match="reserved"):
        add(run, tmp_path / "new")


def test_add_follows_no_link(boards, finished, tmp_path):
    place = boards / SUITE / "toy--good"
    shutil.move(place, tmp_path / "elsewhere")
    place.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="is a link"):
        add(finished / "out", boards, replace=True)
