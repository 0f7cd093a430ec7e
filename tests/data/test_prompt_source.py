"""The one resolver: prompts that a run chose are found again, by folder or by the game, and proven by their hash."""

import json
import shutil

import numpy as np
import pytest
import recording_toys

from worldgym.actions import DOOM
from worldgym.data import prompt_source
from worldgym.data.clips import ClipStore, content_hash
from worldgym.data.prompt_recipe import PromptRecipe, digest
from worldgym.data.prompt_source import choose_prompts, find_prompts, prompt_arguments, prompt_folder
from worldgym.data.record import record
from worldgym.data.splits import split_of_seed
from worldgym.errors import InputError
from worldgym.types import Prompts


@pytest.fixture(autouse=True)
def forgetful():
    """Nothing is remembered from another test."""
    prompt_source._again.cache_clear()


def again(arguments, frames=3, prefix=1, **changes):
    """What an environment of these arguments is prompted with, after a way through JSON."""
    arguments = json.loads(json.dumps({**arguments, **changes}))
    return find_prompts(arguments["prompts"], None, frames, prefix, arguments["prompt_recipe"])


def same(one: Prompts, other: Prompts) -> bool:
    arrays = [(getattr(one, name), getattr(other, name)) for name in ("prefix", "actions", "truth")]
    return one.ids == other.ids and all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in arrays)


@pytest.mark.parametrize("player", ["scripted", "mixed"])
def test_windows_of_a_recorded_store_are_played_again_when_it_is_gone(player, tmp_path):
    record("doom-rooms", 12, 3, str(tmp_path / "store"), 1, 8, player)
    chosen = choose_prompts(tmp_path / "store", 9, 3, 2, seed=5)
    assert {name.split("/")[2] for name in chosen.ids} == {"0", "3"}  # two windows of 3 in a clip of 8
    arguments = prompt_arguments(tmp_path / "store", chosen)
    assert same(again(arguments, prefix=2), chosen)
    prompt_source._again.cache_clear()
    shutil.rmtree(tmp_path / "store")
    assert same(again(arguments, prefix=2), chosen)


def test_prompts_of_a_world_are_recorded_once_beside_the_run(tmp_path):
    folder = prompt_folder("doom-rooms", 4, 3, tmp_path)
    assert folder.parent == tmp_path and len(ClipStore(folder)) == 6
    assert prompt_folder("doom-rooms", 4, 3, tmp_path) == folder == prompt_folder(str(folder), 4, 3, tmp_path / "else")
    chosen = choose_prompts(folder, 4, 3, 1, seed=0)
    assert {split_of_seed(int(name.split("/")[1])) for name in chosen.ids} == {"train"}
    arguments = prompt_arguments(folder, chosen)
    shutil.rmtree(folder)
    assert same(again(arguments), chosen)
    recipe = PromptRecipe.read(arguments["prompt_recipe"])
    assert (recipe.game.world, recipe.game.frames, recipe.game.player) == ("doom-rooms", 3, "scripted")
    assert "vizdoom" in recipe.game.versions


def test_another_game_is_noticed(tmp_path):
    """A hash that the game here does not reproduce: as if an older engine had recorded."""
    folder = prompt_folder("doom-rooms", 2, 2, tmp_path)
    arguments = prompt_arguments(folder, choose_prompts(folder, 2, 2, 1, seed=0))
    shutil.rmtree(folder)
    other = {**arguments["prompt_recipe"], "sha256": "0" * 64}
    with pytest.raises(InputError, match="is missing.* and the game plays their world seeds differently here .*vizdoom"):
        again(arguments, frames=2, prompt_recipe=other)


def toy_store(folder, clips=20, seed=0, frames=6):
    """Clips that no game made, of world seeds 0, 1, …"""
    random = np.random.default_rng(seed)
    arrays = {
        "frames": random.integers(0, 256, (clips, frames, 8, 8, 3), np.uint8),
        "actions": np.stack([random.integers(size, size=(clips, frames - 1)) for size in DOOM.sizes], -1),
        "poses": np.zeros((clips, frames, 6)),
        "lead": np.zeros((clips, 1, len(DOOM.sizes)), np.int64),
        "seeds": np.arange(clips),
        "starts": np.zeros(clips, np.int64),
        "visible": np.ones(clips, bool),
    }
    folder.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", array)
    manifest = {"format": 1, "world": "toy", "spec": "doom", "clips": clips, "sha256": content_hash(arrays)}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_store_that_no_game_made_is_found_elsewhere_or_missed_in_one_sentence(tmp_path):
    store = toy_store(tmp_path / "store")
    chosen, sha256 = choose_prompts(store, 8, 3, 1, seed=1), ClipStore(store).sha256
    arguments = prompt_arguments(store, chosen)
    shutil.move(store, tmp_path / "moved")
    with pytest.raises(InputError) as missed:
        again(arguments)
    assert str(missed.value) == (
        f"the 8 prompts of the recipe cannot be had again: the clip store with sha256 {sha256[:12]}… is missing, it is not at "
        f"'{store}', and no game of this library made it, so it cannot be played again; put the folder back, or say where it "
        "is now, as in make_vec(recipe, prompts='/new/folder')"
    )
    assert same(again(arguments, prompts=str(tmp_path / "moved")), chosen)


def test_a_changed_store_and_another_one_are_no_substitute(tmp_path):
    store = toy_store(tmp_path / "store")
    arguments = prompt_arguments(store, choose_prompts(store, 8, 3, 1, seed=1))
    ids = ["toy/99/0", *arguments["prompt_recipe"]["ids"][1:]]
    with pytest.raises(InputError, match="was changed after"):  # no clip of seed 99
        again(arguments, prompt_recipe={**arguments["prompt_recipe"], "ids": ids})
    np.save(store / "frames.npy", 255 - np.load(store / "frames.npy"))
    with pytest.raises(InputError, match="was changed after"):
        again(arguments)
    other = ClipStore(toy_store(store, seed=1)).sha256
    with pytest.raises(InputError, match=f"is missing, at .* is another one .{other[:12]}….,"):
        again(arguments)


def test_windows_of_recordings_are_found_elsewhere_and_never_made_up(tmp_path):
    for name in ("clip_0", "clip_1"):
        recording_toys.recording(tmp_path / "vpt", name, seed=len(name))
    chosen = choose_prompts(tmp_path / "vpt", 3, 3, 1, seed=0)
    arguments = prompt_arguments(tmp_path / "vpt", chosen)
    assert arguments["prompt_recipe"]["ids"] == list(chosen.ids)  # "<file>/<first frame>"
    shutil.move(tmp_path / "vpt", tmp_path / "moved")
    lost = chosen.ids[0].split("/")[0]
    with pytest.raises(InputError, match=f"{lost}.mp4 is missing in .*vpt', and recordings cannot be played again; put"):
        again(arguments)
    assert same(again(arguments, prompts=str(tmp_path / "moved")), chosen)
    prompt_source._again.cache_clear()
    for path in (tmp_path / "moved").glob("*.mp4"):
        path.unlink()
        recording_toys.recording(tmp_path / "moved", path.stem, seed=77)
    with pytest.raises(InputError, match="were changed after the prompts were taken from them"):
        again(arguments, prompts=str(tmp_path / "moved"))


def test_a_recipe_serves_shorter_episodes_and_other_prefixes(tmp_path):
    store = toy_store(tmp_path / "store")
    chosen = choose_prompts(store, 8, 6, 1, seed=1)
    arguments = prompt_arguments(store, chosen)
    short = again(arguments, frames=4, prefix=2)
    assert short.ids == chosen.ids and short.actions.shape[1] == 3
    np.testing.assert_array_equal(short.truth, chosen.truth[:, :4])
    np.testing.assert_array_equal(short.prefix, chosen.truth[:, :2])
    with pytest.raises(InputError, match="have 6 frames, but 7 were asked for"):
        again(arguments, frames=7)


@pytest.mark.parametrize("values", [{}, {"ids": ["a"], "frames": 3, "sha256": "x"}, {"ids": [], "seeds": [1]}])
def test_what_is_no_recipe_is_refused(values):
    with pytest.raises(InputError, match="prompt_recipe is no recipe of prompts .* take it from a run's env.json"):
        find_prompts("doom-rooms", None, 3, 1, values)


def test_the_hash_sees_every_part():
    def prompts(ids=("a/1/0", "a/2/0"), action=0, pixel=0, prefix=1):
        truth, actions = np.zeros((2, 3, 4, 4, 3), np.uint8), np.zeros((2, 2, 8), np.int64)
        truth[1, 2, 3, 3, 2], actions[1, 1, 7] = pixel, action
        return Prompts(truth[:, :prefix].copy(), actions, truth, ids)

    changed = [prompts(), prompts(("a/2/0", "a/1/0")), prompts(action=1), prompts(pixel=1)]
    assert len({digest(one) for one in changed}) == 4
    assert digest(prompts()) == digest(prompts(prefix=2))
