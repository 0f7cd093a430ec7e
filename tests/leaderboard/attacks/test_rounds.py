"""A sealed round end to end: two honest entrants, one who has everything but the secret, and all that is refused."""

import datetime
import json

import numpy as np
import pytest

from worldgym.errors import InputError
from worldgym.eval.protocols import sealed
from worldgym.eval.results import suite as suites
from worldgym.leaderboard import rounds

CLIPS, DEADLINE = 4, "2030-01-01T12:00:00+00:00"
SUITE = "action-following-doom-rooms-v1"


class Clock:
    """The organiser's."""

    def __init__(self, monkeypatch):
        self.now = datetime.datetime(2029, 12, 31, tzinfo=datetime.timezone.utc)
        monkeypatch.setattr(rounds, "_now", lambda: self.now)

    def after(self):
        self.now = datetime.datetime(2030, 1, 2, tzinfo=datetime.timezone.utc)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        Clock(patch)
        out = tmp_path_factory.mktemp("rounds") / "one"
        rounds.new(out, SUITE, DEADLINE, CLIPS)
    return out


@pytest.fixture
def out(made_once, tmp_path, clock):
    """A round of four questions; every test has its own copy."""
    import shutil

    return shutil.copytree(made_once, tmp_path / "round")


def answers(out, folder, model):
    """What an entrant makes of the public folder alone."""
    folder.mkdir()
    for path in sorted((out / "public").glob("*.npz")):
        with np.load(path) as asked:
            np.save(folder / f"{path.stem}.npy", model(asked["prefix"], asked["actions"]))
    return folder


def still(prefix, actions):
    return np.repeat(prefix[:1], len(actions) + 1, 0)


def noise(prefix, actions):
    frames = np.random.default_rng(0).integers(0, 256, (len(actions) + 1, *prefix.shape[1:]), dtype=np.uint8)
    frames[:1] = prefix
    return frames


def test_a_round_from_end_to_end(out, tmp_path, clock):
    public = sorted(path.name for path in (out / "public").iterdir())
    assert public == [*(f"q{i:05}.npz" for i in range(CLIPS)), "round.json"]
    with np.load(out / "public" / "q00000.npz") as asked:
        assert set(asked.files) == {"prefix", "actions"} and asked["prefix"].shape == (1, 56, 96, 3)  # no truth
    rounds.enter(out, "still", answers(out, tmp_path / "a", still))
    rounds.enter(out, "lab/noise", answers(out, tmp_path / "b", noise))
    with pytest.raises(InputError, match="is in already"):
        rounds.enter(out, "still", tmp_path / "b")
    with pytest.raises(InputError, match="is open until"):
        rounds.reveal(out)
    clock.after()
    table = rounds.reveal(out)
    assert set(table) == {"truth", "shuffled", "still", "lab/noise"}
    assert table["truth"]["f1"]["value"] > max(table[name]["f1"]["value"] for name in ("still", "lab/noise"))
    assert len(rounds.verify(out)) == CLIPS
    told = json.loads((out / "public" / "revealed.json").read_text())["secret"]
    assert len(told) * 4 >= 128 and json.loads((out / "secret.json").read_text())["secret"] == told


def test_who_has_the_questions_and_the_engine_cannot_replay_them(out):
    """Ids are numbers from 0; as world seeds they are other clips, and so are all that other secrets give."""
    from worldgym.data.prompts import record_prompts

    seeds = list(range(CLIPS))
    with np.load(out / "public" / "q00000.npz") as asked:
        first, actions = asked["prefix"], asked["actions"]
    replayed = record_prompts("doom-rooms", seeds, 16)
    assert not any((replayed.prefix[i] == first).all() or (replayed.actions[i] == actions).all() for i in seeds)
    other = sealed.questions(suites.load(SUITE), bytes(32), 1)[0]
    assert not (other.prefix == first).all()
    text = (out / "public" / "round.json").read_text()
    secret = json.loads((out / "secret.json").read_text())["secret"]
    assert secret not in text and not any(word in text for word in ("seed", "start"))


def test_a_wrong_secret(out):
    with pytest.raises(InputError, match="the commitment does not follow"):
        rounds.verify(out, bytes(32))


@pytest.mark.parametrize(
    "change", [{"deadline": "2031-01-01T12:00:00+00:00"}, {"clips": 3}, {"private_judge_sha256": "0" * 64}]
)
def test_terms_that_were_changed_afterwards(out, clock, change):
    path = out / "public" / "round.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    clock.now = datetime.datetime(2032, 1, 1, tzinfo=datetime.timezone.utc)
    with pytest.raises(InputError, match="the commitment does not follow"):
        rounds.reveal(out)


def test_a_suite_that_changed(out, monkeypatch, tmp_path):
    changed = tmp_path / "suites"
    changed.mkdir()
    (changed / f"{SUITE}.toml").write_text((suites.FOLDER / f"{SUITE}.toml").read_text() + "\n# changed\n")
    monkeypatch.setattr(suites, "FOLDER", changed)
    with pytest.raises(InputError, match="it changed after the round began"):
        rounds.verify(out, bytes(32))


def test_late_missing_and_wrong_answers(out, tmp_path, clock):
    folder = answers(out, tmp_path / "a", still)
    for name in ("truth", "../x", "a\u200bb", "a" * 80):
        with pytest.raises(InputError, match="is not plain"):
            rounds.enter(out, name, folder)
    np.save(folder / "q00001.npy", np.zeros((3, 56, 96, 3), np.uint8))
    with pytest.raises(InputError, match="holds uint8"):
        rounds.enter(out, "mine", folder)
    np.save(folder / "q00001.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(InputError, match="is not a readable"):
        rounds.enter(out, "mine", folder)
    (folder / "q00001.npy").unlink()
    with pytest.raises(InputError, match="holds no video"):
        rounds.enter(out, "mine", folder)
    assert not (out / "entries").exists() or not list((out / "entries").iterdir())
    clock.after()
    with pytest.raises(InputError, match="is late"):
        rounds.enter(out, "mine", answers(out, tmp_path / "c", still))


def test_an_entry_that_was_changed_after_it_came(out, tmp_path, clock):
    place = rounds.enter(out, "mine", answers(out, tmp_path / "a", still))
    np.save(place / "q00000.npy", noise(np.zeros((1, 56, 96, 3), np.uint8), np.zeros((15, 8))))
    clock.after()
    with pytest.raises(InputError, match="came late or was changed"):
        rounds.reveal(out)


def test_another_judge_than_the_one_committed_to(out, clock):
    clock.after()
    with pytest.raises(InputError, match="the judge is not the one"):
        rounds.reveal(out, judge="doom-rooms/idm-reward")


def test_what_is_no_round(tmp_path, clock):
    with pytest.raises(InputError, match="is no date"):
        rounds.new(tmp_path / "x", SUITE, "tomorrow")
    with pytest.raises(InputError, match="offset from UTC"):
        rounds.new(tmp_path / "x", SUITE, "2030-01-01")
    with pytest.raises(InputError, match="is past"):
        rounds.new(tmp_path / "x", SUITE, "2020-01-01T00:00:00+00:00")
    with pytest.raises(InputError, match="rounds are of protocol"):
        rounds.new(tmp_path / "x", "reward-doom-rooms-v1", DEADLINE)
    assert not (tmp_path / "x").exists()
    with pytest.raises(InputError, match="at least 128"):
        sealed.questions(suites.load(SUITE), b"short", 1)
