"""A run's env.json plays that run's very prompts: in a fresh process, in another folder, batched and single."""

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import numpy as np
import pytest
import torch
import trainer_toys as toys
from gymnasium.envs.registration import EnvSpec

import worldgym
from worldgym import zoo
from worldgym.data.prompt_recipe import digest
from worldgym.envs.denoise import DenoiseVectorEnv
from worldgym.envs.token import TokenEnv, TokenVectorEnv
from worldgym.errors import InputError
from worldgym.files import sha256
from worldgym.models.codecs.codec import LatentCodec, LatentCodecConfig
from worldgym.models.diffusion.frame_diffusion import DiffusionConfig, FrameDiffusion
from worldgym.models.files import checkpoint
from worldgym.train import run, wiring

REPLAY = """
import hashlib, json, sys
import gymnasium as gym
import worldgym
from gymnasium.envs.registration import EnvSpec
from worldgym.data.prompt_recipe import digest

text = open(sys.argv[1]).read()
batched = worldgym.make_vec(open(sys.argv[1]).read(), 2)
single = gym.make(EnvSpec.from_json(text))
said = {}
for name, env in (("batched", batched), ("single", single)):
    core = getattr(env.unwrapped, "core", env.unwrapped)
    seen = []
    for id in core.prompts.ids:
        observation, _ = env.reset(seed=0, options={"prompts": [id], "group_size": core.num_envs})
        prefix = observation["prefix"].numpy()[1] if name == "batched" else observation["prefix"]
        seen.append(hashlib.sha256(prefix.tobytes()).hexdigest())
    said[name] = {"ids": core.prompts.ids, "digest": digest(core.prompts), "seen": seen, "reward": type(env).__name__}
print(json.dumps(said))
"""


def replayed(text: Path, folder: Path) -> dict:
    """What a process in `folder` finds in an env.json."""
    done = subprocess.run([sys.executable, "-c", REPLAY, str(text)], cwd=folder, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    return json.loads(done.stdout)


def check(said: dict, prompts) -> None:
    """Ids, all frames and actions, and what an observation shows are those of the run."""
    seen = [hashlib.sha256(prefix.tobytes()).hexdigest() for prefix in prompts.prefix]
    for name in ("batched", "single"):
        assert said[name] == {"ids": list(prompts.ids), "digest": digest(prompts), "seen": seen, "reward": "PixelReward"}


def trained(config):
    """The prompts that a finished run had."""
    had = []
    loop = run._loop

    def watched(config, learner, *more):
        had.append(learner.env.unwrapped.prompts)
        return loop(config, learner, *more)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_loop", watched)
        run.train(config, "x")
    return had[0]


def game_files(folder: Path) -> Path:
    """A toy model and codec for the frames of the game."""
    torch.manual_seed(0)
    codec = LatentCodec(LatentCodecConfig(channels=3, wide=8, fine=8, blocks=1))
    model = FrameDiffusion(DiffusionConfig(channels=3, patch=(7, 12), hidden=24, mlp=40, heads=2, layers=1, max_frames=4))
    folder.mkdir()
    checkpoint.save(folder / "codec.safetensors", codec, "latent-codec")
    origin = {"codec": str(folder / "codec.safetensors"), "codec_sha256": sha256(folder / "codec.safetensors"), "spec": "doom"}
    checkpoint.save(folder / "model.safetensors", model, "diffusion", origin)
    return folder


def test_prompts_recorded_from_the_game_outlive_their_folder(tmp_path, monkeypatch):
    """All paths of the run are relative, and every folder but its own and the codec's is gone."""
    (tmp_path / "work").mkdir(), (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    files = game_files(Path("files"))
    config = toys.run_config(files, Path("runs/one"), prompts="doom-rooms", prompt_count=5, iterations=1)
    had = trained(config)
    text = Path("runs/one/env.json").resolve()
    check(replayed(text, tmp_path / "elsewhere"), had)
    (recorded,) = Path("runs").glob("prompts-*")
    shutil.rmtree(recorded)
    shutil.copy(text, tmp_path / "elsewhere" / "env.json")
    shutil.rmtree("runs")
    check(replayed(Path("env.json"), tmp_path / "elsewhere"), had)


def test_prompts_of_a_store_are_found_where_it_is_now(tmp_path, monkeypatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    config = toys.run_config(toys.files(Path("files")), Path("run"), iterations=1)
    had = trained(config)
    text = (tmp_path / "run" / "env.json").read_text()
    check(replayed(tmp_path / "run" / "env.json", tmp_path / "elsewhere"), had)
    shutil.move(tmp_path / "files" / "store", tmp_path / "moved")
    monkeypatch.chdir(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"8 prompts of the recipe cannot be had again: .*make_vec\(recipe, prompts="):
        worldgym.make_vec(text)
    moved = {"prompts": str(tmp_path / "moved")}
    batched, single = worldgym.make_vec(text, 3, **moved), gym.make(EnvSpec.from_json(text), **moved)
    assert digest(batched.unwrapped.prompts) == digest(single.unwrapped.core.prompts) == digest(had)
    again = worldgym.make_vec(batched.spec.to_json())  # a recipe of what came from a recipe
    assert again.unwrapped.prompts.ids == had.ids


def test_the_recipe_plays_what_was_trained(tmp_path):
    """The environment of a run and that of its recipe, action by action: the same frames, the same reward."""
    config = toys.run_config(toys.files(tmp_path / "files"), tmp_path / "run", iterations=1, reward=("pixel=2",))
    learner = run.build(config)
    text = wiring.env_spec(config, learner.env)
    recipe = worldgym.make_vec(text, learner.env.unwrapped.num_envs)
    results = []
    for env in (learner.env, recipe):
        env.reset(seed=3, options={"group_size": 4})
        env.action_space.seed(0)
        while not env.unwrapped.finished:
            _, reward, *_ = env.step(env.action_space.sample())
        results.append((env.unwrapped.prompt_ids, env.unwrapped.video().numpy(), reward.numpy()))
    assert results[0][0] == results[1][0]
    for one, other in zip(results[0][1:], results[1][1:], strict=True):
        np.testing.assert_array_equal(one, other)
    assert (results[0][2] < 0).all()


def test_paths_in_the_recipe_are_whole_and_names_stay(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    files = toys.files(Path("files"))
    shutil.copy(files / "codec.safetensors", "judge.safetensors"), Path("exact").mkdir()
    learner = run.build(toys.run_config(files, Path("run")))
    options = ("idm.judge=judge.safetensors+doom-rooms/idm-reward", "idm.mode=exact")
    config = toys.run_config(files, Path("run"), reward=("idm",), reward_option=options)
    arguments = json.loads(wiring.env_spec(config, learner.env))
    judge = arguments["additional_wrappers"][-1]["kwargs"]
    assert judge["judge"] == f"{tmp_path}/judge.safetensors+doom-rooms/idm-reward" and judge["mode"] == "exact"
    assert arguments["kwargs"]["codec"] == str(tmp_path / "files" / "codec.safetensors")
    assert wiring.codec_name("doom-rooms/token-nano") == "doom-rooms/frame-codec"


def test_a_run_loads_its_model_once(tmp_path, monkeypatch):
    load, loaded = zoo.load, []
    monkeypatch.setattr(zoo, "load", lambda name, *more, **options: loaded.append(name) or load(name, *more, **options))
    run.train(toys.run_config(toys.files(tmp_path / "files"), tmp_path / "run", iterations=1), "x")
    assert loaded.count(str(tmp_path / "files" / "model.safetensors")) == 1


def test_a_missing_wandb_is_said_before_anything_is_made(tmp_path, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *more: None if name == "wandb" else find(name, *more))
    config = toys.run_config(tmp_path / "no files", tmp_path / "run", wandb="project")
    with pytest.raises(InputError, match="--wandb needs the package wandb"):
        run.train(config, "x")
    assert not (tmp_path / "run").exists()


# --- environments of one's own ------------------------------------------------------------------------------------------


class Corridor(TokenVectorEnv):
    """Somebody's environment."""


class CorridorOfOne(TokenEnv):
    """The batch of one."""

    core_class = Corridor


@pytest.fixture
def own_ids():
    gym.register("mine/Corridor-v0", CorridorOfOne, vector_entry_point=Corridor)
    gym.register("mine/Denoise-Token-v0", CorridorOfOne, vector_entry_point=DenoiseVectorEnv)
    gym.register("mine/Single-v0", CorridorOfOne)
    yield
    for name in ("mine/Corridor-v0", "mine/Denoise-Token-v0", "mine/Single-v0"):
        del gym.registry[name]


def test_an_environment_of_ones_own_is_known_by_what_it_is_and_not_by_its_name(own_ids, tmp_path):
    files = toys.files(tmp_path / "files")
    config = toys.run_config(files, tmp_path / "run", env="mine/Corridor-v0", iterations=1)
    had = trained(config)
    text = (tmp_path / "run" / "env.json").read_text()
    for env in (worldgym.make_vec(text), gym.make(EnvSpec.from_json(text)).unwrapped.core):
        assert type(env.unwrapped) is Corridor and digest(env.unwrapped.prompts) == digest(had)
    for name, sentence in (
        ("mine/Denoise-Token-v0", "is a token model, which plays 'worldgym/DoomRooms-Token-v0', not"),
        ("mine/Single-v0", "has no batched form to train in: register it with a vector_entry_point"),
    ):
        with pytest.raises(InputError, match=sentence):
            run.train(toys.run_config(files, tmp_path / name, env=name), "x")
