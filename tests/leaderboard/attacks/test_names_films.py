"""Attacks by names and films, and what honest people call themselves."""

import numpy as np
import pytest
from attack_toys import SUITE, read, sealed, stranger, write

from worldgym.eval.protocols import videos
from worldgym.eval.results.answers import Question
from worldgym.leaderboard import films
from worldgym.leaderboard.check import check

ZERO = "\u200b"
TAKEN = {
    "a zero-width copy": f"toy/good{ZERO}",
    "a zero-width copy inside": f"toy/{ZERO}good",
    "turned around": "doog/yot\u202e",
    "a line break": "mine\n",
    "a line break inside": "mi\nne",
    "another alphabet": "t\u043ey/good",
    "a full-width letter": "ｍine",
    "a combining mark": "mine\u0301",
    "capital truth": "TRUTH",
    "the truth": "truth",
    "shuffled": "Shuffled",
    "a baseline": "Last-Frame",
    "a bundled model": "Toy/Good",
    "a world's own": "doom-rooms/token-nano-v9",
    "a reward": "idm",
    "a list": "reproduced",
    "a path": "../../etc",
    "a hidden folder": ".git",
    "the slash of a folder": "toy--good2",
    "empty": " ",
    "much too long": "a" * 200,
    "markup": "<b>mine</b>",
    "a column": "a|b",
    "an option": "--help",
}


@pytest.mark.parametrize("case", TAKEN)
def test_a_name_that_is_not_ones_own(boards, case):
    found = stranger(read(boards), name=TAKEN[case])
    write(boards, sealed(found))
    problems = check(boards)
    assert problems and all("\n" not in problem and ZERO not in problem and len(problem) < 400 for problem in problems)
    assert any("not plain" in p or "reserved" in p or "belongs to a reference" in p or "does not fit" in p for p in problems)


@pytest.mark.parametrize("name", ["mine", "lab/model-7B", "A.b_c-1", "guided2", "truth-seeker", "token-nano"])
def test_a_plain_name_passes(boards, name):
    write(boards, stranger(read(boards), name=name))
    assert check(boards) == []


def test_names_that_differ_in_case_alone(boards):
    write(boards, stranger(read(boards), name="mine"))
    other = stranger(read(boards), name="Mine", weights_sha256="5" * 64)
    for place, row in enumerate(other["rows"]):
        row["frames_sha256"] = f"{place + 50:064x}"
    from attack_toys import again

    write(boards, again(other))
    assert any("which nobody tells apart" in problem for problem in check(boards))


# --- films -------------------------------------------------------------------------------------------------------------------


def smooth(seed, frames=16, size=(56, 96)):
    """(T, H, W, 3) uint8 of soft shapes, which a film keeps."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]] / 10
    a, b, c, speed = rng.random(4) * 4
    stills = [[np.sin(a * y + b * x + c * k + speed * t / 4) for k in range(3)] for t in range(frames)]
    return np.ascontiguousarray((np.array(stills).transpose(0, 2, 3, 1) * 100 + 120).astype(np.uint8))


@pytest.fixture
def shown(tmp_path):
    """Two questions, an answer to them with its film, and what a result says of it."""
    from worldgym.eval.metrics.psnr import psnr

    tasks, rows, stills = [], [], []
    for number in range(2):
        truth = smooth(number)
        made = np.concatenate([truth[:1], np.repeat(truth[:1], 15, 0)])
        made[1:] = made[1:] // 2 + truth[1:] // 2
        tasks.append(Question(f"w/{number}/0", truth[:1], np.zeros((15, 8), int), truth))
        rows.append({"id": f"w/{number}/0", "scores": {"psnr": float(psnr(made[None, 1:], truth[None, 1:])[0])}})
        stills += list(made)
    path = tmp_path / "0.webm"
    videos.encode(stills, 6.0, path, "webm")
    return path, {"shown": [task.id for task in tasks], "rows": rows, "entry": {"source": "zoo"}}, tasks


def test_an_honest_film(shown):
    path, result, tasks = shown
    assert films.shape_problems(path) == [] and films.belongs(path, result, tasks) == []


def test_a_film_of_other_rows(shown):
    """The better model's film beside the worse one's rows: the true video, or one twice as far from it."""
    path, result, tasks = shown
    videos.encode([still for task in tasks for still in task.truth], 6.0, path, "webm")
    assert "belongs to other rows" in films.belongs(path, result, tasks)[0]
    assert films.belongs(path, {**result, "entry": {"source": "reference"}}, tasks) == []  # where it is the right one


def test_a_film_of_other_clips(shown):
    path, result, tasks = shown
    videos.encode([still for number in (5, 6) for still in smooth(number)], 6.0, path, "webm")
    assert "does not begin clip w/0/0 with the given frames" in films.belongs(path, result, tasks)[0]


def test_a_film_that_is_too_short_or_shows_what_is_not_asked(shown):
    path, result, tasks = shown
    assert "none of the suite's" in films.belongs(path, {**result, "shown": ["w/9/0"]}, tasks)[0]
    videos.encode(list(tasks[0].truth), 6.0, path, "webm")
    assert "does not hold the frames of the 2 shown clips" in films.belongs(path, result, tasks)[0]


DAMAGE = {
    "markup after it": lambda content: content + b"<script>alert(1)</script>",
    "markup inside": lambda content: (
        content.replace(b"\x1a\x45\xdf\xa3", b"\x1a\x45\xdf\xa3", 1)[:-60] + b"<ScRiPt src=x></script>" + b" " * 37
    ),
    "something after it": lambda content: content + b"\0" * 100,
    "cut off": lambda content: content[: len(content) // 2],
    "only a head": lambda content: content[:4],
    "a head and nonsense": lambda content: content[:4] + b"\xff" * 200,
    "another file": lambda content: b"GIF89a" + content,
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_film_that_is_none(shown, case):
    path, _, _ = shown
    path.write_bytes(DAMAGE[case](path.read_bytes()))
    assert len(films.shape_problems(path)) == 1


def test_a_film_behind_a_link(boards):
    place = boards / SUITE / "toy--good"
    (place / "0.webm").rename(place.parent / "elsewhere")
    (place / "0.webm").symlink_to(place.parent / "elsewhere")
    assert any("is a link" in problem for problem in check(boards))
