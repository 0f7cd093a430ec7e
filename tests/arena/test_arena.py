"""The arena: blind, balanced, every vote kept, and shares known on paper."""

import json
import sys
import threading
import urllib.error
import urllib.request

import numpy as np
import pytest

from worldgym.arena import __main__, pairs, votes
from worldgym.arena.server import Arena, serve
from worldgym.arena.votes import Votes, report, table
from worldgym.errors import InputError


@pytest.fixture
def folders(tmp_path):
    """Twenty grey clips of A and B (dark and bright) and of the truth."""
    found = {}
    for name, level in (("a", 40), ("b", 200), ("truth", 120)):
        found[name] = tmp_path / name
        found[name].mkdir()
        for number in range(20):
            np.save(found[name] / f"clip{number:02}.npy", np.full((3, 8, 12, 3), level, np.uint8))
    return found


def test_order_and_sides_are_random_and_repeatable(folders):
    one, again, other = (pairs.pairs(folders["a"], folders["b"], seed) for seed in (0, 0, 1))
    assert one == again != other
    assert sorted(pair.clip for pair in one) == [f"clip{i:02}" for i in range(20)] != [pair.clip for pair in one]
    sides = [pair.left for seed in range(50) for pair in pairs.pairs(folders["a"], folders["b"], seed)]
    assert 0.44 < np.mean([side == "a" for side in sides]) < 0.56  # 1,000 coins: four standard errors
    assert len(pairs.pairs(folders["a"], folders["b"], 0, 5)) == 5


def test_votes_are_about_models_not_about_sides(folders, tmp_path):
    """Somebody who always takes the left one gives A exactly the pairs on which A was left."""
    asked = pairs.pairs(folders["a"], folders["b"])
    arena = Arena(folders, asked, Votes(tmp_path / "votes.jsonl"))
    for number in range(20):
        arena.vote(number, "actions", "left")
    found = report(arena.votes.read())["actions"]
    assert found["votes"] == 20 and found["a"][0] == np.mean([pair.left == "a" for pair in asked])
    assert arena.about()["open"] == list(range(20))  # the other question is still open
    for number in range(20):
        arena.vote(number, "quality", "tie")
    assert arena.about()["open"] == [] and report(arena.votes.read())["quality"]["tie"] == [1, 1, 1]


def test_shares_on_paper(tmp_path):
    """6 of 10 for A, 3 ties, 1 for B; a second vote on a pair replaces the first."""
    stored = Votes(tmp_path / "votes.jsonl")
    for number, answer in enumerate("aaaaaa"):
        stored.add(f"c{number}", "quality", answer)
    stored.add("c6", "quality", "a")
    for number in range(6, 9):
        stored.add(f"c{number}", "quality", "tie")
    stored.add("c9", "quality", "b")
    found = report(stored.read())["quality"]
    assert [found[x][0] for x in ("a", "tie", "b")] == [0.6, 0.3, 0.1] and found["votes"] == 10
    assert all(found[x][1] <= found[x][0] <= found[x][2] for x in ("a", "tie", "b"))
    text = table(report(stored.read()), "me", "you")
    assert "A wins 60%" in text and "A = me, B = you" in text and "none yet" in text


@pytest.fixture
def address(folders, tmp_path):
    arena = Arena(folders, pairs.pairs(folders["a"], folders["b"]), Votes(tmp_path / "votes.jsonl"))
    server = serve(arena)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", arena
    server.shutdown()
    server.server_close()


def get(url, content=None, kind="application/json"):
    request = urllib.request.Request(url, content, {"Content-Type": kind} if content else {})
    with urllib.request.urlopen(request) as reply:
        return reply.read()


def test_the_page_is_blind(address):
    """Nothing that the page can ask for names a model; left and right show what the pair says."""
    url, arena = address
    known = get(url + "/") + get(url + "/about")
    assert b'"a"' not in known and str(arena.folders["a"]).encode() not in known
    from worldgym.eval.protocols.videos import read

    for side in ("left", "right", "truth"):
        path = arena.votes.path.with_name(f"{side}.webm")
        path.write_bytes(get(f"{url}/clip/0/{side}"))
        level = read(path, 3, (32, 48)).mean()
        who = side if side == "truth" else arena.pairs[0].left if side == "left" else "ba"["ab".index(arena.pairs[0].left)]
        assert abs(level - {"a": 40, "b": 200, "truth": 120}[who]) < 8


def test_votes_by_the_page(address):
    url, arena = address
    left = json.loads(get(url + "/vote", json.dumps({"pair": 3, "question": "quality", "side": "right"}).encode()))
    assert left["pairs"] == 20
    other = {"a": "b", "b": "a"}[arena.pairs[3].left]
    assert arena.votes.read() == {(arena.pairs[3].clip, "quality"): other}


@pytest.mark.parametrize(
    ("path", "content", "status"),
    [
        ("/clip/99/left", None, 400),
        ("/clip/0/../../a", None, 404),
        ("/etc/passwd", None, 404),
        ("/vote", b"{", 400),
        ("/vote", b"[]", 400),
        ("/vote", b'{"pair": -1, "question": "quality", "side": "left"}', 400),
        ("/vote", b'{"pair": 1, "question": "taste", "side": "left"}', 400),
        ("/vote", b'{"pair": 1, "question": "quality", "side": "up"}', 400),
        ("/elsewhere", b"{}", 400),
    ],
)
def test_bad_requests_are_answered(address, path, content, status):
    with pytest.raises(urllib.error.HTTPError) as error:
        get(address[0] + path, content)
    assert error.value.code == status and not address[1].votes.path.exists()


def test_a_form_of_another_page_cannot_vote(address):
    with pytest.raises(urllib.error.HTTPError):
        get(address[0] + "/vote", b'{"pair": 1, "question": "quality", "side": "left"}', "text/plain")


def test_bad_folders_and_votes_say_why(folders, tmp_path, monkeypatch, capsys):
    with pytest.raises(InputError, match="there is no folder"):
        pairs.pairs(folders["a"], tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="share no clip"):
        pairs.pairs(folders["a"], tmp_path / "empty")
    (folders["a"] / "clip00.npy").write_bytes(b"x")
    with pytest.raises(InputError, match="is not a readable"):
        pairs.load(folders["a"], "clip00")
    (tmp_path / "votes.jsonl").write_text('{"clip": "x"}\n')
    with pytest.raises(InputError, match="line 1 of .* is no vote"):
        Votes(tmp_path / "votes.jsonl").read()
    whose = pairs.sides(folders["a"], folders["b"])
    (tmp_path / "votes.jsonl").unlink()
    Votes(tmp_path / "votes.jsonl", whose).add("x", "actions", "b")
    arguments = [str(folders["a"]), str(folders["b"]), "--report", "--votes", str(tmp_path / "votes.jsonl")]
    monkeypatch.setattr(sys, "argv", ["arena", *arguments])
    __main__.main()
    assert "B wins 100%" in capsys.readouterr().out
    assert votes.QUESTIONS == ("actions", "quality")


# --- whose votes, and what may happen to them -------------------------------------------------------------------------------


def test_votes_say_whose_they_are(folders, tmp_path):
    """The same file for another pair of models is refused, also when only one clip changed or the sides are swapped."""
    path, whose = tmp_path / "votes.jsonl", pairs.sides(folders["a"], folders["b"])
    Votes(path, whose).add("clip00", "quality", "a")
    assert Votes(path, pairs.sides(folders["a"], folders["b"])).read() == {("clip00", "quality"): "a"}
    for a, b in (("b", "a"), ("a", "truth")):
        with pytest.raises(InputError, match="a vote between other clips"):
            Votes(path, pairs.sides(folders[a], folders[b])).read()
    np.save(folders["a"] / "clip00.npy", np.zeros((3, 8, 12, 3), np.uint8))
    with pytest.raises(InputError, match="a vote between other clips"):
        Votes(path, pairs.sides(folders["a"], folders["b"])).read()
    path.write_text('{"clip": "clip00", "question": "quality", "answer": "a"}\n')
    with pytest.raises(InputError, match="a vote between other clips"):
        Votes(path, whose).read()


@pytest.mark.parametrize("junk", [b'{"clip": "c1", "que', b"\xff\xfe\x00", b"", b"{", b"[" * 100_000])
def test_a_line_that_was_cut_off_costs_itself_alone(tmp_path, junk):
    """A kill in the middle of a line, bytes that are no text: votes before and after it count."""
    path = tmp_path / "votes.jsonl"
    stored = Votes(path)
    stored.add("c0", "quality", "a")
    with open(path, "ab") as file:
        file.write(junk)
    Votes(path).add("c2", "quality", "b")
    assert stored.read() == {("c0", "quality"): "a", ("c2", "quality"): "b"} and stored.broken == bool(junk)


def test_a_file_that_cannot_be_written_is_said(address):
    url, arena = address
    arena.votes.path.mkdir()
    with pytest.raises(urllib.error.HTTPError) as error:
        get(url + "/vote", b'{"pair": 1, "question": "quality", "side": "left"}')
    assert error.value.code == 500 and b"could not be written" in error.value.read()
    arena.votes.path.rmdir()
    assert json.loads(get(url + "/vote", b'{"pair": 1, "question": "quality", "side": "left"}'))["pairs"] == 20


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "example.org"}, 403),  # a name that somebody points at this machine
        ({"Host": "127.0.0.1"}, 403),
        ({"Origin": "http://example.org"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "https://127.0.0.1:PORT"}, 403),
        ({"Origin": "http://127.0.0.1:PORT"}, 200),
        ({"Host": "localhost:PORT"}, 200),
    ],
)
def test_only_the_page_itself_is_answered(address, headers, status):
    url, _ = address
    port = url.rpartition(":")[2]
    headers = {key: value.replace("PORT", port) for key, value in headers.items()}
    for path, content in (("/about", None), ("/vote", b'{"pair": 1, "question": "quality", "side": "left"}')):
        request = urllib.request.Request(url + path, content, {"Content-Type": "application/json", **headers})
        try:
            found = urllib.request.urlopen(request).status
        except urllib.error.HTTPError as error:
            found = error.code
        assert found == status
