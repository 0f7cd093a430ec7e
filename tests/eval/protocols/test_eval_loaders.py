"""Files from strangers: malformed results, suites and video folders give one sentence, never a traceback."""

import copy
import json
import re

import jsonschema
import numpy as np
import pytest
from eval_toys import SUITE, clips_of

from worldgym.errors import InputError
from worldgym.eval.protocols import entries, videos
from worldgym.eval.results import schema, suite
from worldgym.eval.results.answers import Entrant
from worldgym.eval.running.verify import verify

SENTENCE = re.compile(r"[^\n]{10,600}")


def one_sentence(action):
    """The InputError's text, which is one line."""
    with pytest.raises(InputError) as error:
        action()
    assert SENTENCE.fullmatch(str(error.value)), str(error.value)
    return str(error.value)


@pytest.fixture(scope="module")
def result(finished_once):
    return json.loads((finished_once / "out" / "toy--good" / "0.json").read_text())


def test_published_schema_is_a_schema_and_results_fit_it(finished):
    validator = jsonschema.Draft202012Validator(schema.published())
    validator.check_schema(schema.published())
    paths = sorted((finished / "out").glob("*/0.json"))
    assert len(paths) == 5
    for path in paths:
        validator.validate(json.loads(path.read_text()))
        assert schema.read(path)["what"] == "result"


BAD = {
    "missing key": (lambda r: r.pop("rows"), "at /: 'rows' is missing"),
    "foreign key": (lambda r: r.update(extra=1), "at /: 'extra' is unknown"),
    "foreign schema": (lambda r: r.update(schema=3), "has schema '3', but this version reads schema 2"),
    "other thing": (lambda r: r.update(what="card"), "at /what: 'card' is not one of"),
    "no number": (lambda r: r["scores"]["f1"].update(value="high"), "at /scores/f1/value: it is a string, but number or null"),
    "truth value": (lambda r: r["clips"].update(failed=True), "at /clips/failed: it is true or false, but integer"),
    "no hash": (lambda r: r.update(frames_sha256="abc"), "at /frames_sha256: 'abc' does not have the form"),
    "path trick": (lambda r: r["suite"].update(name="../../etc/passwd-v1"), "at /suite/name: '../../etc/passwd-v1' does not"),
    "no rows": (lambda r: r.update(rows=[]), "at /rows: it has length 0"),
    "row of another kind": (lambda r: r["rows"].__setitem__(1, []), "at /rows/1: it is an array, but object"),
    "negative seed": (lambda r: r.update(seed=-1), "at /seed: -1 is out of range"),
    "long name": (lambda r: r["entry"].update(name="x" * 500), "at /entry/name: it has length 500"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_malformed_result_says_where(result, tmp_path, case):
    change, sentence = BAD[case]
    found = copy.deepcopy(result)
    change(found)
    path = tmp_path / "0.json"
    path.write_text(json.dumps(found))
    assert sentence in one_sentence(lambda: schema.read(path))
    assert not jsonschema.Draft202012Validator(schema.published()).is_valid(found)


NOT_JSON = {
    "empty": (b"", "is not JSON"),
    "cut off": (b'{"what": "result", ', "is not JSON"),
    "no text": (b"\xff\xfe\x00", "is not JSON"),
    "half a character": (b'{"a": "\\ud800"}', "is not JSON"),
    "NaN": (b'{"a": NaN}', "holds NaN, which is not JSON; a hole is null"),
    "infinite": (b'{"a": -Infinity}', "holds -Infinity"),
    "overflow": (b'{"what": "result", "schema": 2, "seed": 1e999}', "does not fit the schema"),
    "long number": (b"1" * 100_000, "is not JSON"),
    "twice": (b'{"a": 1, "a": 2}', "holds a key twice"),
    "deep": (b"[" * 100_000, "is nested too deeply"),
    "rather deep": (b"[" * 100 + b"]" * 100, "is nested too deeply"),
    "a list": (b"[]", "it is an array, but object is needed"),
}


@pytest.mark.parametrize("case", NOT_JSON)
def test_what_is_not_json_says_so(tmp_path, case):
    content, sentence = NOT_JSON[case]
    path = tmp_path / "0.json"
    path.write_bytes(content)
    assert sentence in one_sentence(lambda: schema.read(path))


def test_huge_missing_and_folders(tmp_path, monkeypatch):
    monkeypatch.setattr(schema, "LARGEST", 10)
    (tmp_path / "0.json").write_text('{"a": "0123456789"}')
    assert "has 19 bytes; at most 10 are read" in one_sentence(lambda: schema.read(tmp_path / "0.json"))
    assert "does not exist" in one_sentence(lambda: schema.read(tmp_path / "1.json"))
    assert "is not a file" in one_sentence(lambda: schema.read(tmp_path))


# --- fuzz: bytes, and values of well-formed JSON -------------------------------------------------------------------------


def mutate_bytes(content, rng):
    """Flip, cut, insert, repeat."""
    content, kind = bytearray(content), rng.integers(4)
    place = int(rng.integers(len(content)))
    if kind == 0:
        for at in rng.integers(len(content), size=int(rng.integers(1, 20))):
            content[at] = int(rng.integers(256))
    elif kind == 1:
        del content[place : place + int(rng.integers(1, 4000))]
    elif kind == 2:
        content[place:place] = rng.bytes(int(rng.integers(1, 50)))
    else:
        content[place:place] = content[place : place + 500] * int(rng.integers(1, 4))
    return bytes(content)


VALUES = [None, True, -1, 10**30, 1e308, "", "../../x", "\x00", "a" * 3000, [], {}, [[]], {"value": 1}, "1 2 3", "<script>"]


def mutate_value(value, rng):
    """Replace, remove, rename or double something somewhere in a JSON value."""
    value = copy.deepcopy(value)
    place = value
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = keys[int(rng.integers(len(keys)))]
        inside = place[key]
        if isinstance(inside, (dict, list)) and inside and rng.random() < 0.75:
            place = inside
            continue
        kind = rng.integers(4)
        if kind == 0 or isinstance(place, list) and kind == 2:
            place[key] = VALUES[int(rng.integers(len(VALUES)))]
        elif kind == 1:
            del place[key]
        elif kind == 2:
            place[f"{key}x"] = place.pop(key)
        else:
            place[key] = copy.deepcopy(next(iter(value.values())))
        return value


def snapshot(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*")}


def test_fuzz_results(result, finished, tmp_path):
    """1,000 mutated result files: read, checked and scored again; every problem is a sentence or a finding, and our own check
    of the schema says what jsonschema says."""
    rng = np.random.default_rng(0)
    content, validator = json.dumps(result).encode(), jsonschema.Draft202012Validator(schema.published())
    path, outside = tmp_path / "in" / "0.json", snapshot(finished)
    path.parent.mkdir()
    rejected = 0
    for turn in range(1000):
        changed = mutate_bytes(content, rng) if turn % 2 else json.dumps(mutate_value(result, rng)).encode()
        path.write_bytes(changed)
        try:
            verified = verify(path, suite=str(finished / "toy-v1.toml"), sample=0)
            rejected += any(finding.agrees is False for finding in verified) or changed == content
        except InputError as error:
            assert SENTENCE.fullmatch(str(error)), str(error)
            rejected += 1
        if turn % 2 == 0:
            value = json.loads(changed)
            fits = not schema._problem(value, schema.published(), "")
            assert fits == validator.is_valid(value), changed
    assert rejected > 950  # the rest changed "time", which no hash covers, or nothing
    assert [p.name for p in tmp_path.rglob("*")] == ["in", "0.json"] and snapshot(finished) == outside


def test_fuzz_suites(tmp_path):
    """300 mutated suite files."""
    rng, path = np.random.default_rng(1), tmp_path / "mine-v1.toml"
    content = (suite.FOLDER / f"{SUITE.name}.toml").read_bytes()
    broken = 0
    for _ in range(300):
        path.write_bytes(mutate_bytes(content, rng))
        try:
            suite.load(str(path))
        except InputError as error:
            broken += 1
            assert SENTENCE.fullmatch(str(error)), str(error)
    assert broken > 150


def test_a_huge_or_missing_suite(tmp_path):
    (tmp_path / "big-v1.toml").write_bytes(b"#" * (suite.LARGEST + 1))
    assert "bytes; at most" in one_sentence(lambda: suite.load(str(tmp_path / "big-v1.toml")))
    with pytest.raises(FileNotFoundError):  # one sentence by the door of every program
        suite.load(str(tmp_path / "none-v1.toml"))
    assert "unknown suite '../../x'" in one_sentence(lambda: suite.load("../../x"))


# --- folders of finished videos --------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    """Finished videos of two toy clips, lossless."""
    place = tmp_path / "videos"
    place.mkdir()
    for task in clips_of(2):
        np.save(place / f"{videos.file_of(task.id)}.npy", task.truth)
    return place


def answers(folder, tasks=None):
    entrant = Entrant("v", "videos", videos.Folder(folder), source="folder")
    return entries.generate_or_fail(entrant, tasks or clips_of(2), [0, 1])


def test_finished_videos_are_an_entry(folder):
    found = answers(folder)
    assert all((made == task.truth).all() for made, task in zip(found, clips_of(2), strict=True))
    one = entries.load(str(folder), SUITE, "cpu")
    assert one.source == "folder" and one.kind == "videos" and len(one.weights) == 64
    first = folder / "toy--0--0.npy"
    np.save(first, np.load(first) // 2)
    assert entries.load(str(folder), SUITE, "cpu").weights != one.weights
    assert "cannot answer anything else" in one_sentence(lambda: one.player.generate(None, None, None))


@pytest.mark.parametrize("kind", ["mp4", "webm"])
def test_videos_that_are_compressed(folder, kind):
    """A smooth picture survives compression, and the first frame is put back exactly."""
    task = clips_of(1)[0]
    ramp = np.linspace(0, 200, 24).astype(np.uint8)[None, None, :, None]
    smooth = np.broadcast_to(ramp + np.arange(0, 48, 8, dtype=np.uint8)[:, None, None, None], (6, 16, 24, 3)).copy()
    (folder / "toy--0--0.npy").unlink()
    videos.encode(list(smooth), 6.0, folder / f"toy--0--0.{kind}", kind)
    made = answers(folder, [task])[0]
    assert (made[0] == task.prefix[0]).all()
    assert np.abs(made[1:].astype(int) - smooth[1:]).mean() < 6


def rewrite(change):
    def apply(folder):
        path = folder / "toy--0--0.npy"
        np.save(path, change(np.load(path)), allow_pickle=True)

    return apply


def cut(folder):
    path = folder / "toy--0--0.npy"
    path.write_bytes(path.read_bytes()[:-100])


def linked(folder):
    (folder / "toy--0--0.npy").rename(folder.parent / "elsewhere.npy")
    (folder / "toy--0--0.npy").symlink_to(folder.parent / "elsewhere.npy")


def as_mp4(change):
    def apply(folder):
        path = folder / "toy--0--0.npy"
        videos.encode(list(change(np.load(path))), 6.0, path.with_suffix(".mp4"), "mp4")
        path.unlink()

    return apply


def half_mp4(folder):
    as_mp4(lambda f: f)(folder)
    path = folder / "toy--0--0.mp4"
    path.write_bytes(path.read_bytes()[:300])


WRONG = {
    "missing": (
        lambda f: (f / "toy--0--0.npy").unlink(),
        "holds no video of clip 'toy/0/0'; exactly one is needed: toy--0--0",
    ),
    "two": (lambda f: (f / "toy--0--0.mp4").write_bytes(b""), "holds two videos of clip 'toy/0/0'"),
    "short": (rewrite(lambda f: f[:-1]), "holds uint8 [5, 16, 24, 3], but uint8 [6, 16, 24, 3]"),
    "size": (rewrite(lambda f: f[:, ::2]), "holds uint8 [6, 8, 24, 3], but"),
    "float": (rewrite(lambda f: f.astype(np.float32)), "holds float32 [6, 16, 24, 3], but"),
    "pickle": (rewrite(lambda f: np.array([{}], object)), "is not a readable .npy array"),
    "cut": (cut, "is not a readable .npy array"),
    "no array": (lambda f: (f / "toy--0--0.npy").write_bytes(b"\x93NUMPY\x01\x00v\x00{'descr': '|u1'}"), "is not a readable"),
    "link": (linked, "is not a plain file inside its folder"),
    "folder": (lambda f: ((f / "toy--0--0.npy").unlink(), (f / "toy--0--0.npy").mkdir()), "is not a plain file"),
    "mp4 too long": (as_mp4(lambda f: np.concatenate([f, f])), "has more than 6 frames"),
    "mp4 too short": (as_mp4(lambda f: f[:4]), "has 4 frames, but 6 are needed"),
    "mp4 of another size": (as_mp4(lambda f: f[:, :, :20]), "has frames of 16x20 pixels, but 16x24 are needed"),
    "half an mp4": (half_mp4, "cannot be decoded: it is damaged or no video"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_video_is_one_sentence_and_costs_no_other_clip(folder, case):
    change, sentence = WRONG[case]
    change(folder)
    first, second = answers(folder)
    assert isinstance(first, str) and sentence in first and SENTENCE.fullmatch(first), first
    assert isinstance(second, np.ndarray)


def test_names_of_clips_stay_inside_their_folder():
    for name in ("../../etc/passwd", "/etc/passwd", "..", "a\\..\\b", "c:/x", "x\x00y"):
        found = videos.file_of(name)
        assert "/" not in found and "\\" not in found and not found.startswith("."), found


def test_fuzz_videos(folder):
    """200 mutated arrays and 40 mutated MP4s: frames or a sentence."""
    rng, path = np.random.default_rng(2), folder / "toy--0--0.npy"
    content, before = path.read_bytes(), sorted(p.name for p in folder.parent.rglob("*"))
    for _ in range(200):
        path.write_bytes(mutate_bytes(content[:400], rng) + content[400:])
        made = answers(folder, clips_of(1))[0]
        assert isinstance(made, np.ndarray) or SENTENCE.fullmatch(made), made
    assert sorted(p.name for p in folder.parent.rglob("*")) == before
    path.write_bytes(content)
    as_mp4(lambda f: f)(folder)
    path = path.with_suffix(".mp4")
    content = path.read_bytes()
    for _ in range(40):
        path.write_bytes(mutate_bytes(content, rng))
        made = answers(folder, clips_of(1))[0]
        assert isinstance(made, np.ndarray) or SENTENCE.fullmatch(made), made
