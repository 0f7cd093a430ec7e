"""What evaluation holds out trains nothing: judges by their weights, suite seeds, stores that were rewritten."""

import json
import os

import numpy as np
import pytest
from trainer_toys import _store

from worldgym import zoo
from worldgym.data import leaks, store_hash
from worldgym.data.clips import ARRAYS, ClipStore, content_hash
from worldgym.data.prompt_source import find_prompts
from worldgym.data.prompts import store_prompts
from worldgym.data.splits import SUITE_SEEDS
from worldgym.errors import InputError
from worldgym.models.files import checkpoint
from worldgym.rewards.leaks import refuse_held_out


@pytest.fixture
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    _store(tmp_path / "store")
    return tmp_path / "store"


def test_a_held_out_judge_is_no_reward():
    with pytest.raises(InputError, match="is 'doom-rooms/idm-heldout', which evaluates"):
        refuse_held_out("doom-rooms/idm-heldout")
    with pytest.raises(InputError, match="evaluates"):
        refuse_held_out("doom-rooms/idm-reward+doom-rooms/idm-heldout")
    with pytest.raises(InputError, match="evaluates"):
        refuse_held_out(zoo.load("doom-rooms/quality-heldout"))


@pytest.mark.parametrize(
    "name", ["doom-rooms/idm-reward", "doom-rooms/camera-reward", "mean", "hf://a/b/c", "none/such", None, 3]
)
def test_the_honest_judge_is(name):
    refuse_held_out(name)


def test_a_copy_under_another_name_in_another_precision_is_known(tmp_path):
    config, kind, tensors, extra = checkpoint.read(zoo.locate("doom-rooms/idm-heldout"))
    path = tmp_path / "mine.safetensors"
    whole = {name: tensor.float() for name, tensor in tensors.items()}
    checkpoint.write_tensors(path, whole, {"kind": kind, "config": config, "format": 1})
    with pytest.raises(InputError, match="idm-heldout"):
        refuse_held_out(path)
    first = next(iter(whole))
    checkpoint.write_tensors(path, {**whole, first: whole[first] + 1}, {"kind": kind, "config": config, "format": 1})
    refuse_held_out(path)  # another network: nobody can know what it was made from


def test_a_reward_asks(tmp_path):
    """By the class that users write, not by this function alone; what only watches may be held out."""
    import env_toys

    from worldgym.rewards import Guards, IDMReward

    env = env_toys.denoise_env() if hasattr(env_toys, "denoise_env") else None
    if env is None:
        pytest.skip("no toy environment of the judge's size")
    with pytest.raises(InputError, match="evaluates"):
        IDMReward(env, judge="doom-rooms/idm-heldout")
    Guards(env, held_out={"idm": "doom-rooms/idm-heldout"})


def test_suite_seeds_are_no_prompts():
    with pytest.raises(InputError, match="prompt_seeds holds 1 world seeds of evaluation suites"):
        find_prompts("doom-rooms", [3, SUITE_SEEDS + 9], 16, 1)
    leaks.check_seeds([3, SUITE_SEEDS - 1], "mine")


def test_prompts_made_of_suite_clips_are_known_by_their_names(store):
    prompts = store_prompts(ClipStore(store), np.arange(2), np.zeros(2, int), 6, 1)
    find_prompts(prompts, None, 6, 1)
    import dataclasses

    with pytest.raises(InputError, match="prompts holds 1 world seeds"):
        find_prompts(dataclasses.replace(prompts, ids=("doom-rooms/900000019/0", "doom-rooms/7/0")), None, 6, 1)


def rewritten(store, seal):
    """The store with suite seeds in it; its hash computed again, or not."""
    seeds = np.load(store / "seeds.npy")
    seeds[0] = SUITE_SEEDS + 9
    np.save(store / "seeds.npy", seeds)
    if seal:
        manifest = json.loads((store / "manifest.json").read_text())
        manifest["sha256"] = content_hash({name: np.load(store / f"{name}.npy") for name in ARRAYS})
        (store / "manifest.json").write_text(json.dumps(manifest))


def test_a_store_that_holds_suite_seeds(store):
    ClipStore(store)
    rewritten(store, seal=True)
    with pytest.raises(InputError, match="holds 1 world seeds of evaluation suites"):
        ClipStore(store)
    with leaks.allowed() as noted:
        ClipStore(store)
    assert len(noted) == 1 and "evaluation suites" in noted[0]
    with pytest.raises(InputError):
        ClipStore(store)


def test_a_store_whose_seeds_were_rewritten(store):
    """Before it was ever opened, and after."""
    rewritten(store, seal=False)
    with pytest.raises(InputError, match="was changed after it was recorded"):
        ClipStore(store)
    _store(store)
    ClipStore(store)
    rewritten(store, seal=False)
    with pytest.raises(InputError, match="was changed after it was recorded"):
        ClipStore(store)


def test_what_was_checked_is_remembered_and_not_beside_the_store(store, monkeypatch):
    ClipStore(store)
    before = sorted(os.listdir(store))
    hashed = []
    monkeypatch.setattr("worldgym.data.clips.content_hash", lambda arrays: hashed.append(1) or content_hash(arrays))
    ClipStore(store)
    assert not hashed and sorted(os.listdir(store)) == before == sorted(["manifest.json", *(f"{a}.npy" for a in ARRAYS)])
    os.utime(store / "frames.npy", ns=(1, 1))
    ClipStore(store)
    assert hashed == [1]


def test_a_store_that_cannot_be_written_is_checked_too(store, monkeypatch, tmp_path):
    """Neither in it nor in the cache can anything be noted: then every opening looks."""
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert not store_hash._cache().exists()
    ClipStore(store)
    rewritten(store, seal=False)
    with pytest.raises(InputError, match="was changed"):
        ClipStore(store)


def test_a_leak_is_on_the_card_and_in_every_later_result(tmp_path, monkeypatch):
    """--allow-leak trains, writes a card that says so, and results are reported and flagged."""
    from types import SimpleNamespace

    from worldgym.eval.protocols import entries
    from worldgym.eval.results.answers import Entrant
    from worldgym.leaderboard import lists
    from worldgym.train import __main__ as train
    from worldgym.train import run

    path = tmp_path / "model.safetensors"
    path.write_bytes(b"weights")
    said = []

    def trained(config, command):
        said.append(command)
        refuse_held_out("doom-rooms/idm-heldout")
        path.with_suffix(".json").write_text(json.dumps({"name": "mine", "sha256": zoo.sha256(path)}))
        return path

    monkeypatch.setattr(train, "read", lambda words: said.append(words))
    monkeypatch.setattr(run, "train", trained)
    with pytest.raises(SystemExit):
        train.main(["grpo", "--iterations", "1"])
    assert not path.with_suffix(".json").exists()
    train.main(["grpo", "--iterations", "1", "--allow-leak"])
    assert "--allow-leak" not in said[-2] and said[-1].endswith("--allow-leak")  # the command is on the card as it was typed
    assert "idm-heldout" in json.loads(path.with_suffix(".json").read_text())["leaks"][0]
    assert entries._leaked(str(path)) and not entries._leaked("doom-rooms/token-nano")
    entrant = Entrant("mine", "token", None, {"top_p": 0.8}, leaked=True)
    assert entrant.declared == {"top_p": 0.8, "leak": True} and dict(entrant.sampling) == {"top_p": 0.8}
    protocol = SimpleNamespace(references=(), ceilings=())
    said_of_it = {"entry": {"origin": "x", "source": "zoo", "name": "mine", "sampling": entrant.declared}}
    assert lists.standing(protocol, said_of_it).list == lists.REPORTED
    assert any("holds out" in flag for flag in lists.flags({}, said_of_it["entry"], None, None))
    assert lists.flags({}, {"sampling": {}}, None, None) == []
