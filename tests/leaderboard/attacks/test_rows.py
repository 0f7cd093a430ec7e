"""Attacks by numbers: rows that were never measured, slack that adds up, models that are somebody else's."""

import copy
import json

import numpy as np
import pytest
from attack_toys import SUITE, again, read, sealed, stranger, write
from eval_finished import Sloppy

from worldgym.eval.results import limits, schema
from worldgym.eval.running import remade
from worldgym.eval.running.remade import Remade
from worldgym.eval.running.verify import accepted, verify
from worldgym.leaderboard import entries, lists, tables
from worldgym.leaderboard.check import check


def board_of(boards):
    return entries.load(boards)[0]


def entry_of(boards, name):
    return next(entry for entry in board_of(boards).entries if entry.name == name)


# --- what nobody measured ----------------------------------------------------------------------------------------------------


def test_perfect_rows_from_a_folder_that_is_not_here_are_reported(boards):
    """predicted = given, everything that follows computed again: it may stand there, below, without a rank, and flagged."""
    found = stranger(read(boards))
    for row in found["rows"]:
        row["predicted"] = dict(row["given"])
        row["scores"]["psnr"] = 100.0
    write(boards, again(found))
    assert check(boards) == []
    entry = entry_of(boards, "mine")
    assert entry.standing.list == lists.REPORTED and "handed in" in entry.standing.why
    assert any("PSNR is that of the true video" in flag for flag in entry.flags)
    order = [(place, entry.name) for place, entry in tables.ranked(board_of(boards))]
    assert order[-1] == (None, "mine") and (1, "toy/good") in order
    text = tables.markdown(entries.load(boards))
    assert text.index("Reported\n") < text.index("| – | mine |") and "- mine: Reported: finished videos" in text


def test_the_honest_stranger_is_reported_without_a_flag(boards):
    write(boards, stranger(read(boards)))
    assert check(boards) == []
    entry = entry_of(boards, "mine")
    assert entry.standing.list == lists.REPORTED and not entry.flags


def test_what_is_here_is_reproduced(boards):
    for name in ("toy/good", "toy/sloppy", "last-frame"):
        assert entry_of(boards, name).standing.list == lists.REPRODUCED
    assert entry_of(boards, "truth").standing.list == lists.REFERENCE


@pytest.mark.parametrize(
    ("metric", "value"),
    [
        ("psnr", 999.0),
        ("psnr", -1.0),
        ("ssim", 1.5),
        ("image_quality", 2.0),
        ("dynamic_degree", 1.049),
        ("revisit_error", -5.0),
    ],
)
def test_a_number_out_of_its_range(boards, metric, value):
    found = read(boards)
    found["rows"][0]["scores"][metric] = value
    path = write(boards, sealed(found))
    problems = check(boards)
    assert any(str(path) in problem and "out of range" in problem for problem in problems), problems


def test_every_metric_has_a_range():
    """Of all protocols; so a new metric needs one before it can be published."""
    from worldgym.eval import protocols

    known = limits.ranges()
    for name in protocols.names():
        assert set(protocols.find(name).metrics) <= known.keys(), name
    assert all(low < high for low, high in known.values())


HOSTILE = {
    "1e999": ('"psnr": 1e999', "out of range|too large|JSON|null"),
    "10**400": (f'"psnr": {10**400}', "out of range"),
    "10**5000": (f'"psnr": {"1" * 5000}', "not JSON"),
    "NaN": ('"psnr": NaN', "not JSON"),
    "a text": ('"psnr": "9"', "is a string"),
    "true": ('"psnr": true', "true or false"),
    "an array": ('"psnr": [1]', "an array"),
    "twice": ('"psnr": 1, "psnr": 2', "twice"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_number_costs_one_line(boards, case):
    """And the file after it is checked all the same."""
    import re

    text, sentence = HOSTILE[case]
    path = boards / SUITE / "last-frame" / "0.json"
    path.write_text(re.sub(r'"psnr": ?[0-9.]+', text, path.read_text(), count=1))
    later = read(boards, "toy--sloppy")
    later["scores"]["f1"]["value"] = 0.123
    write(boards, later)
    problems = check(boards)
    assert sum("last-frame" in problem for problem in problems) == 1 and re.search(sentence, problems[0]), problems
    assert any("toy--sloppy/0.json: seal" in problem for problem in problems)
    assert all(len(problem) < 400 and "\n" not in problem for problem in problems)


LABELS = ["4000000000", "100000000000000000000", "999", "-1", "1e3", "0x1", "٣", "0  0", "", "0 " * 5 + "0"]


@pytest.mark.parametrize("label", LABELS)
def test_a_label_that_does_not_exist(boards, label):
    """4e9 asked for 29.8 GiB; now nothing is asked for."""
    found = read(boards)
    words = found["rows"][0]["predicted"]["move"].split()
    found["rows"][0]["predicted"]["move"] = " ".join([label, *words[1:]]) if label else ""
    path = write(boards, sealed(found))
    problems = check(boards)
    assert any(str(path) in problem for problem in problems) and all(len(problem) < 400 for problem in problems)


@pytest.mark.parametrize("value", ["AAB8", "AHwAfAB8", "AP4=", "A", "é"])
def test_features_that_are_no_numbers(boards, value):
    """float16 infinity and NaN, half a number, no base64."""
    found = read(boards)
    found["rows"][0]["features"] = value
    assert any("toy--sloppy" in problem for problem in check(write(boards, sealed(found)).parents[2]))


# --- slack -------------------------------------------------------------------------------------------------------------------


def rows_of(boards, entry="toy--sloppy"):
    """As they are made: without the question's hash, which the job adds."""
    return [{key: value for key, value in row.items() if key != "task_sha256"} for row in read(boards, entry)["rows"]]


def moved(row, labels, frames=True):
    """The row as an attacker writes it: that many wrong labels set right, the frames' hash another one."""
    row = copy.deepcopy(row)
    if frames:
        row["frames_sha256"] = "8" * 64
    for key in sorted(row["predicted"]):
        read, given = row["predicted"][key].split(), row["given"][key].split()
        for place, (a, b) in enumerate(zip(read, given, strict=True)):
            if labels and a != b:
                read[place], labels = b, labels - 1
        row["predicted"][key] = " ".join(read)
    return row


def test_drift_in_one_direction_is_no_rounding(boards):
    """One label in each clip, always for the better: each is within rounding, together they are not."""
    many = [row for _ in range(2) for row in rows_of(boards)]
    wide = [
        dict(row, **{key: {c: " ".join([v] * 4) for c, v in row[key].items()} for key in ("given", "predicted")})
        for row in many
    ]
    attack = [Remade(moved(row, 1), row) for row in wide]
    assert not attack[0].places()  # one of 160
    assert any("no rounding" in text for text in remade.problems(attack, "diffusion", lambda row: 0.0))
    honest = [
        Remade(*((moved(row, 1), row) if i % 2 else (row | {"frames_sha256": "9" * 64}, moved(row, 1))))
        for i, row in enumerate(wide)
    ]
    assert remade.problems(honest, "diffusion", lambda row: 0.0) == []
    bits = [Remade(moved(row, 1, frames=False), row) for row in wide]
    assert remade.problems(bits, "diffusion", lambda row: 0.0)  # the frames' true hash buys no slack either


def test_a_clip_that_diverged_is_one_in_six_and_of_a_token_model(boards):
    """A late digit changes a draw, and with it the rest of the clip: then labels go up as often as down."""
    rows = [row for _ in range(2) for row in rows_of(boards)]
    other = copy.deepcopy(rows[0])
    other["frames_sha256"] = "9" * 64
    other["predicted"]["pitch"] = rows[1]["predicted"]["pitch"]
    other["predicted"]["yaw"] = " ".join(reversed(rows[0]["predicted"]["yaw"].split()))
    other["scores"]["psnr"] -= 2
    one, same = Remade(rows[0], other), [Remade(row, row) for row in rows[1:]]
    assert remade.problems([one, *same], "token", lambda row: 0.0) == []
    assert remade.problems([one, *same], "diffusion", lambda row: 0.0)
    assert remade.problems([one] * 3 + same[:9], "token", lambda row: 0.0)


def test_numbers_have_no_slack_of_five_percent(boards):
    rows = rows_of(boards)
    better = copy.deepcopy(rows)
    for row in better:
        row["scores"]["psnr"] *= 1.05
        row["frames_sha256"] = "8" * 64
    assert remade.problems([Remade(a, b) for a, b in zip(better, rows, strict=True)], "diffusion", lambda row: 0.0)


def test_another_processor_is_forgiven_what_was_measured(boards):
    rows = rows_of(boards)
    rounded = copy.deepcopy(rows)
    for row in rounded:
        row["scores"]["psnr"] += 1e-5
        row["frames_sha256"] = "8" * 64
    assert remade.problems([Remade(a, b) for a, b in zip(rounded, rows, strict=True)], "diffusion", lambda row: 0.0) == []


def test_every_hash_changed_and_all_that_may_be_spent(boards):
    """The attack that moved last-frame from .363 to .567 under the old tolerance: refused at every sample."""
    found = read(boards, "last-frame")
    for place, row in enumerate(found["rows"]):
        found["rows"][place] = moved(row, 2)
        found["rows"][place]["frames_sha256"] = f"{place:064x}"
        found["rows"][place]["scores"]["psnr"] *= 1.04
    path = write(boards, again(found))
    for sample in (1, 2, 6):
        assert [f.what for f in verify(path, sample=sample) if f.agrees is False] == ["sample"]


def test_slack_does_not_depend_on_what_the_file_says(boards):
    """Kind, batch, instruction set: what a file says of itself changes no tolerance."""
    found = read(boards, "last-frame")
    found["run"]["batch"] = 1000
    found["run"]["hardware"]["instructions"] = "AVX512"
    for place, row in enumerate(found["rows"]):
        found["rows"][place] = moved(row, 2)
    for place, row in enumerate(found["rows"]):
        row["frames_sha256"] = f"{place:064x}"
    assert not accepted(verify(write(boards, again(found)), sample=2))
    found["entry"]["kind"] = "token"
    assert {"weights"} <= {f.what for f in verify(write(boards, again(found)), sample=2) if f.agrees is False}


def test_instructions_and_threads_are_on_record(boards):
    hardware = read(boards)["run"]["hardware"]
    assert hardware["instructions"] and hardware["threads"] >= 1
    found = read(boards)
    found["run"]["hardware"]["threads"] = 99
    assert [f.what for f in verify(write(boards, found), sample=0) if f.agrees is False] == ["seal"]


# --- whose rows -----------------------------------------------------------------------------------------------------------


def problems_with(boards, found, film=None):
    path = write(boards, found, film)
    return [problem for problem in check(boards) if str(path.parent) in problem]


def test_the_rows_of_another_entry(boards):
    found = read(boards, "toy--sloppy")
    found["entry"] = {**stranger(found)["entry"], "name": "mine"}
    assert any("has the answers of" in problem for problem in problems_with(boards, sealed(found)))


def test_the_rows_of_another_entry_under_other_hashes(boards):
    found = read(boards, "toy--sloppy")
    found["entry"] = stranger(found)["entry"]
    for place, row in enumerate(found["rows"]):
        row["frames_sha256"] = f"{place + 1:064x}"
    assert any("has the answers of" in problem for problem in problems_with(boards, again(found)))


def test_the_truth_submitted_as_a_folder(boards):
    truth = read(boards, "truth")
    found = stranger(read(boards))
    for row, true in zip(found["rows"], truth["rows"], strict=True):
        row["frames_sha256"] = true["frames_sha256"]
    assert any("has the answers of" in problem and "truth" in problem for problem in problems_with(boards, again(found)))


def test_a_model_under_two_names(boards):
    found = stranger(read(boards), name="one")
    assert problems_with(boards, found) == []
    twin = stranger(read(boards), name="two", weights_sha256=found["entry"]["weights_sha256"])
    for place, row in enumerate(twin["rows"]):
        row["frames_sha256"] = f"{place + 100:064x}"
        row["predicted"]["yaw"] = " ".join(reversed(row["predicted"]["yaw"].split()))
    assert any("under another name" in problem for problem in problems_with(boards, again(twin)))
    twin["entry"]["weights_sha256"] = "6" * 64
    assert not any("under another name" in problem for problem in problems_with(boards, again(twin)))


def test_a_seed_that_another_model_answered(boards):
    write(boards, stranger(read(boards)))
    other = stranger(read(boards, "toy--good"), weights_sha256="5" * 64)
    other["seed"] = 1
    assert any("seeds of one entry share them" in problem for problem in problems_with(boards, again(other)))


def test_rows_of_another_seed(boards):
    """Seed 0's rows as seed 1's: other questions."""
    found = read(boards, "toy--sloppy")
    found["seed"] = 1
    assert any("questions" in problem for problem in problems_with(boards, again(found)))


def test_the_judges_view_of_the_truth_is_everybodys(boards):
    """Features of the truth set to one's own: a Fréchet distance of 0."""
    found = stranger(read(boards))
    for row in found["rows"]:
        row["truth_features"] = row["features"]
    assert any("other features of the true clips" in problem for problem in problems_with(boards, again(found)))


def test_one_answer_to_all_questions(boards):
    found = stranger(read(boards))
    for row in found["rows"]:
        row["frames_sha256"] = "4" * 64
    assert any("clips come twice" in problem for problem in problems_with(boards, again(found)))


def test_a_bundled_models_name_and_weights_over_other_rows(boards):
    """Only remaking tells: the gate of a pull request does."""
    found = read(boards, "toy--sloppy")
    for row in found["rows"]:
        row["predicted"] = dict(row["given"])
    write(boards, again(found))
    assert any("toy--sloppy/0.json: sample" in problem for problem in check(boards, sample=2))


def test_a_model_that_changed_since(boards, monkeypatch):
    """The honest twin of it: the same model is accepted, another behaviour under its name is not."""
    path = boards / SUITE / "toy--sloppy" / "0.json"
    assert accepted(verify(path, sample=2))
    whole = Sloppy.generate
    monkeypatch.setattr(Sloppy, "generate", lambda self, *a, **k: whole(self, *a, **k) ^ 64)
    assert not accepted(verify(path, sample=2))


# --- the reader's flags ------------------------------------------------------------------------------------------------------


def said(**values):
    return {
        name: {"better": "higher", "value": value, "low": value - 0.02, "high": value + 0.02} for name, value in values.items()
    }


TRUTH, FLOOR = (
    said(f1=0.86, psnr=99.0, dynamic_degree=1.0, f1_second=0.7),
    said(f1=0.36, psnr=17.3, dynamic_degree=0.0, f1_second=0.3),
)
FLAGS = {
    "above the truth": (said(f1=0.876, psnr=17.0, dynamic_degree=1.0), "is above the truth's"),
    "psnr at the ceiling": (said(f1=0.7, psnr=72.0, dynamic_degree=1.0), "PSNR is that of the true video"),
    "the truth through a codec": (said(f1=0.84, psnr=31.0, dynamic_degree=1.0), "PSNR is that of the true video"),
    "read but not shown": (said(f1=0.85, psnr=17.2, dynamic_degree=1.0), "PSNR is that of the last frame"),
    "a still that is read": (said(f1=0.6, psnr=17.2, dynamic_degree=0.1), "hardly anything moves"),
    "one judge only": (said(f1=0.8, psnr=18.0, dynamic_degree=1.0, f1_second=0.4), "two judges disagree"),
}


@pytest.mark.parametrize("case", FLAGS)
def test_flags(case):
    scores, sentence = FLAGS[case]
    found = lists.flags(scores, {"sampling": {}}, TRUTH, FLOOR)
    assert any(sentence in flag for flag in found), found


def test_an_honest_entry_has_none():
    scores = said(f1=0.826, psnr=19.0, dynamic_degree=1.0, f1_second=0.66)
    assert lists.flags(scores, {"sampling": {"top_p": 0.8}}, TRUTH, FLOOR) == []
    assert lists.flags(scores, {"sampling": {"best_of": 1}}, TRUTH, FLOOR) == []


def test_the_best_of_many_is_said():
    assert "best of 8" in lists.flags(said(f1=0.7), {"sampling": {"best_of": 8}}, TRUTH, FLOOR)[0]


def test_the_published_schema_is_what_the_interpreter_holds(boards):
    """Both refuse what is out of range; so does any other reader of the schema."""
    import jsonschema

    found = read(boards)
    validator = jsonschema.Draft202012Validator(schema.published())
    assert validator.is_valid(found)
    found["scores"]["f1"]["value"] = 1.2
    assert not validator.is_valid(found) and schema._problem(found, schema.published(), "")
    assert json.loads(schema.FILE.read_text()) == schema.published()
    assert np.isfinite([x for pair in limits.ranges().values() for x in pair]).all()
