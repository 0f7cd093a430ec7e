"""Suites: every shipped one loads, and a broken one says what is wrong."""

import hashlib

import pytest

from worldgym import actions
from worldgym.errors import InputError
from worldgym.eval import protocols
from worldgym.eval.protocols.base import Protocol
from worldgym.eval.results import suite as suites

GOOD = (suites.FOLDER / "action-following-doom-rooms-v1.toml").read_text()


@pytest.mark.parametrize("name", suites.names())
def test_every_shipped_suite_loads(name):
    suite = suites.load(name)
    protocol = protocols.load(suite)
    assert set(suite.metrics) <= set(protocol.metrics) and all(metric.about for metric in protocol.metrics.values())
    actions.spec(suite.spec)
    assert suite.name == name and suite.version >= 1
    assert suite.sha256 == hashlib.sha256((suites.FOLDER / f"{name}.toml").read_bytes()).hexdigest()


def test_the_protocol_of_version_1():
    """One frame and 15 actions -> 16 frames; MineWorld's and NFD's sampling."""
    suite = suites.load("action-following-doom-rooms-v1")
    assert (suite.prefix, suite.frames, suite.size, suite.judge) == (1, 16, (56, 96), "doom-rooms/idm-heldout")
    assert suite.sampling == {"token": {"top_p": 0.8, "temperature": 1.0}, "diffusion": {"sampler": "dpm++", "steps": 18}}


def test_unknown_name_says_the_nearest():
    with pytest.raises(
        InputError, match="unknown suite 'action-folowing-doom'; did you mean 'action-following-doom-rooms-v2'"
    ):
        suites.load("action-folowing-doom")


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('name = "', "name = ", "is not TOML"),
        ("prefix = 1 ", "", "lacks field 'prefix'"),
        ("prefix = 1 ", "prefix = 16 ", "prefix 16 must be at least 1 and less than frames 16"),
        ("prefix = 1 ", 'prefix = "one" ', "is not a suite"),
        ("clips = 64", "clips = 1", "clips 1 must be at least 2"),
        ("clips = 64", "clips = 64\nextra = 1", "has the unknown field 'extra'"),
        ("[56, 96]", "[56]", "must be \\[height, width\\]"),
        ("level = 0.95", "level = 95", "level must lie in"),
        ("level = 0.95", "depth = 95", "is not a suite"),
        ("[sampling.token]", "[sampled.token]", "has the unknown field 'sampled'"),
        ('rooms-v1"', 'rooms"', "must end in its version"),
        ("prefix = 1 ", 'split = "validate"\nprefix = 1 ', "unknown split 'validate'; did you mean 'validation'"),
        ("prefix = 1 ", "split = []\nprefix = 1 ", "is not a suite"),
        ("prefix = 1 ", 'protocol = "action-folowing"\nprefix = 1 ', "did you mean 'action-following'"),
        ("prefix = 1 ", "protocol_options = {a = 1}\nprefix = 1 ", "unknown option of protocol 'action-following' 'a'"),
        ("prefix = 1 ", "protocol_options = 3\nprefix = 1 ", "is not a suite"),
        ('"f1"', '"f2"', "unknown metric of protocol 'action-following' 'f2'; did you mean 'f1'"),
    ],
)
def test_a_broken_file_says_what_is_wrong(tmp_path, old, new, sentence):
    path = tmp_path / "mine-v1.toml"
    path.write_text(GOOD)
    assert suites.load(str(path)).frames == 16
    path.write_text(GOOD.replace(old, new))
    with pytest.raises(InputError, match=sentence):
        protocols.load(suites.load(str(path)))


def test_a_suite_without_a_protocol_is_action_following_and_one_names_its_own(tmp_path):
    """Version 1 was published before there were other kinds, and a published version never changes."""
    assert "protocol" not in GOOD and suites.load("action-following-doom-rooms-v1").protocol == "action-following"
    path = tmp_path / "mine-v1.toml"
    path.write_text(GOOD.replace("prefix = 1 ", 'protocol = "memory-drift"\nprefix = 1 '))
    assert suites.load(str(path)).protocol == "memory-drift"


def test_every_protocol_is_there():
    for name in protocols.names():
        found = protocols.find(name)
        assert issubclass(found, Protocol) and found.metrics and found.entrants in ("model", "reward")


def test_seeds_are_different_stable_and_reserved():
    suite = suites.load("action-following-doom-rooms-v1")
    split = lambda seed: "test" if seed % 10 == 9 else "train"  # noqa: E731
    many, few = suites.suite_seeds(suite, 0, 200, split), suites.suite_seeds(suite, 0, 50, split)
    assert len(set(many)) == 200 and many[:50] == few
    assert all(split(seed) == "test" and suites.FIRST_SEED <= seed < 2**31 for seed in many)
    assert suites.suite_seeds(suite, 1, 50, split) != few
    assert suites.suite_seeds(suite, 0, 50) == few  # the library's own rule


def test_a_copy_for_validation_has_clips_of_its_own(tmp_path):
    """seed % 10 is 8 for validation and 9 for tests (worldgym/data/splits.py), so no clip of a test is seen in it."""
    path = tmp_path / "mine-v1.toml"
    path.write_text(GOOD.replace("prefix = 1 ", 'split = "validation"\nprefix = 1 '))
    copy, suite = suites.load(str(path)), suites.load("action-following-doom-rooms-v1")
    assert {seed % 10 for seed in suites.suite_seeds(copy, 0, 50)} == {8}
    assert {seed % 10 for seed in suites.suite_seeds(suite, 0, 50)} == {9}
    assert copy.sha256 != suite.sha256  # so the leaderboard takes no result of it
