"""Whole runs on toys: resume, kill, full disk, memory, wrong settings; the model file, the recipe and the command line."""

import dataclasses
import json
import multiprocessing
import os
import resource
import signal
from pathlib import Path

import gymnasium as gym
import pytest
import torch
import trainer_toys as toys
from gymnasium.envs.registration import EnvSpec

from worldgym import zoo
from worldgym.data.splits import split_of_seed
from worldgym.errors import InputError, exit_with_sentence
from worldgym.train import __main__ as command
from worldgym.train import run, state
from worldgym.train.config import replaced
from worldgym.train.learner import Learner
from worldgym.train.presets import PRESETS


@pytest.fixture(scope="module")
def token_files(tmp_path_factory):
    return toys.files(tmp_path_factory.mktemp("token"), "token")


@pytest.fixture(scope="module")
def diffusion_files(tmp_path_factory):
    return toys.files(tmp_path_factory.mktemp("diffusion"), "diffusion")


def resumed(config, **fields):
    return dataclasses.replace(replaced(config, **fields), resume=True)


def tensors(out):
    return (out / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("kind", "algorithm", "settings"),
    [
        ("token", "grpo", {"epochs": 2, "minibatches": 2, "ema": 0.5}),
        ("diffusion", "grpo", {"step_share": 0.5}),
        ("diffusion", "nft", {"compare": "cycle", "best_of": 2}),
        ("diffusion", "draft", {"group": 1, "step_share": 0.4, "ema": 0.5}),
        ("diffusion", "draft", {"group": 1, "adversary": 1.0}),
    ],
)
def test_a_stopped_run_goes_on_bit_for_bit(kind, algorithm, settings, token_files, diffusion_files, tmp_path, monkeypatch):
    folder = {"token": token_files, "diffusion": diffusion_files}[kind]
    whole = toys.run_config(folder, tmp_path / "whole", algorithm, **settings)
    run.train(whole, "x")
    iterate = Learner.iterate

    def interrupted(learner, iteration, *more):
        if iteration == 1:
            signal.raise_signal(signal.SIGTERM)
        return iterate(learner, iteration, *more)

    parts = replaced(whole, out=tmp_path / "parts")
    with monkeypatch.context() as patch:
        patch.setattr(Learner, "iterate", interrupted)
        with pytest.raises(SystemExit) as stopped:
            run.train(parts, "x")
    assert stopped.value.code == 128 + signal.SIGTERM and not (parts.run.out / "model.safetensors").exists()
    run.train(resumed(parts), "x")
    assert tensors(whole.run.out) == tensors(parts.run.out)
    rows = [json.loads(line) for line in (parts.run.out / "log.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [1, 2, 3, 4]


def test_a_run_killed_in_the_middle_of_a_checkpoint_goes_on_bit_for_bit(token_files, tmp_path):
    """SIGKILL between writing the second checkpoint and giving it its name."""
    whole = toys.run_config(token_files, tmp_path / "whole")
    run.train(whole, "x")
    parts = replaced(whole, out=tmp_path / "parts", save_every=1e-6)
    assert _process(parts, kill_at_save=2) == -signal.SIGKILL
    assert list(parts.run.out.glob("*.tmp-*"))
    run.train(resumed(parts), "x")
    assert tensors(whole.run.out) == tensors(parts.run.out)


def test_a_full_disk_is_one_sentence_and_leaves_the_last_checkpoint(token_files, tmp_path):
    """A limit on file sizes stands in for the full disk."""
    config = toys.run_config(token_files, tmp_path / "run", iterations=1, final_lr=1.0)
    run.train(config, "x")
    good = (config.run.out / "run.safetensors").read_bytes()
    longer = resumed(config, iterations=3, save_every=1e-6)
    assert _process(longer, largest_file=len(good) // 2) == 2
    errors = (tmp_path / "errors").read_text()
    assert errors.splitlines()[-1].startswith("error: File too large") and "Traceback" not in errors
    assert (config.run.out / "run.safetensors").read_bytes() == good and not list(config.run.out.glob("*.tmp-*"))
    run.train(longer, "x")


@pytest.mark.parametrize("error", [torch.OutOfMemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory")])
def test_out_of_memory_says_what_to_lower(error, token_files, tmp_path, monkeypatch):
    config = toys.run_config(token_files, tmp_path / "run", save_every=1e-6)
    iterate = Learner.iterate

    def fails(learner, iteration, *more):
        if iteration == 2:
            raise error
        return iterate(learner, iteration, *more)

    with monkeypatch.context() as patch:
        patch.setattr(Learner, "iterate", fails)
        with pytest.raises(InputError, match="iteration 2: lower --micro"):
            run.train(config, "x")
    learner = run.build(config)
    assert state.restore(config.run.out / "run.safetensors", learner.update, config).iteration == 2


def test_a_diverging_run_stops_with_the_last_good_checkpoint(token_files, tmp_path):
    config = toys.run_config(token_files, tmp_path / "run", lr=1e30, iterations=50, save_every=1e-6)
    with pytest.raises(InputError, match="the last checkpoint is good"):
        run.train(config, "x")


def test_another_setting_is_not_resumed(token_files, tmp_path):
    config = toys.run_config(token_files, tmp_path / "run", iterations=1)
    run.train(config, "x")
    with pytest.raises(InputError, match="already holds a run; add --resume"):
        run.train(config, "x")
    with pytest.raises(InputError, match="started with group = 4, now it is 2"):
        run.train(resumed(config, group=2), "x")


def test_the_model_loads_by_path_and_generates(token_files, tmp_path):
    config = toys.run_config(token_files, tmp_path / "run", iterations=2, snapshot_every=1)
    path = run.train(config, "python -m worldgym.train grpo")
    base, world = zoo.load(config.task.model), zoo.load(path)
    assert not torch.equal(toys.weights(base.model), toys.weights(world.model))
    card = json.loads(path.with_suffix(".json").read_text())
    assert (
        card["iterations"] == 2 and card["settings"]["lr"] == 0.01 and card["codec"] == str(token_files / "codec.safetensors")
    )
    rewards = [json.loads(line)["reward"] for line in (config.run.out / "log.jsonl").read_text().splitlines()]
    assert card["scores"] == {"reward_first_fifth": round(rewards[0], 5), "reward_last_fifth": round(rewards[1], 5)}
    assert card["steps"] == card["updates"] and "plays" in card["architecture"]
    first = zoo.load(config.run.out / "step-000001.safetensors")
    assert not torch.equal(toys.weights(first.model), toys.weights(world.model))
    assert zoo.load(config.run.out).kind == "token"


def test_the_recipe_is_an_env_spec_that_plays(token_files, tmp_path):
    config = toys.run_config(token_files, tmp_path / "run", iterations=1, reward=("pixel=2",))
    run.train(config, "x")
    spec = EnvSpec.from_json((config.run.out / "env.json").read_text())
    assert [wrapper.name for wrapper in spec.additional_wrappers] == ["Guards", "PixelReward"]
    assert spec.additional_wrappers[1].kwargs["weight"] == 2
    assert spec.kwargs["frames"] == toys.FRAMES and gym.spec(spec.id).entry_point == spec.entry_point
    assert json.loads((config.run.out / "config.json").read_text())["settings"]["reward"] == ["pixel=2"]


def test_prompts_come_from_training_seeds_only(token_files, tmp_path):
    learner = run.build(toys.run_config(token_files, tmp_path / "run", prompt_count=32))
    ids = learner.env.unwrapped.prompts.ids
    assert len(set(ids)) == 32
    assert {split_of_seed(int(name.split("/")[1])) for name in ids} == {"train"}
    with pytest.raises(InputError, match="gives 32 prompts of 3 frames"):
        run.build(toys.run_config(token_files, tmp_path / "run", prompt_count=33))


@pytest.mark.parametrize(("algorithm", "kind", "name"), [(*home, n) for home, names in PRESETS.items() for n in names])
def test_every_preset_is_a_command_and_every_field_can_be_overridden(algorithm, kind, name):
    config = command.read([algorithm, "--preset", name, "--out", "x", "--minutes", "3", "--lr", "0.5", "--reward", "a=2", "b"])
    assert (config.run.minutes, config.run.iterations, config.run.out) == (3.0, None, Path("x"))
    assert config.task.weights == {"a": 2.0, "b": 1.0}
    expected = replaced(PRESETS[algorithm, kind][name], lr=0.5, reward=("a=2", "b"))
    assert (config.task, config.rollout, config.algorithm) == (expected.task, expected.rollout, expected.algorithm)
    assert config.optimisation == expected.optimisation


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["grop"], "unknown algorithm 'grop'; did you mean 'grpo'?"),
        (["grpo", "--preset", "rlir-tokn", "--out", "x", "--minutes", "1"], "did you mean 'rlir-token'?"),
        (["grpo", "--out", "x"], "give a budget"),
        (["grpo", "--out", "x", "--minutes", "1", "--group", "1"], "give at least 2"),
        (["grpo", "--out", "x", "--minutes", "1", "--reward", "idm=many"], "'many' is no weight"),
        (["nft", "--out", "x", "--minutes", "1", "--best-of", "13"], "one can keep 2 to 12"),
    ],
)
def test_a_wrong_command_is_one_sentence(words, sentence, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(words)
    assert stopped.value.code == 2
    said = capsys.readouterr()
    words = " ".join((said.err + said.out).replace("│", " ").split())  # tyro puts some of them into a box
    assert sentence in words and "Traceback" not in words


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"reward": ("idn",)}, "unknown reward 'idn'; did you mean 'idm'?"),
        ({"env": "worldgym/DoomRooms-Denoise-v0"}, "is a token model, which plays 'worldgym/DoomRooms-Token-v0'"),
        ({"env": "worldgym/DoomRoom-Token-v0"}, "did you mean 'worldgym/DoomRooms-Token-v0'?"),
        ({"minibatches": 3}, "8 rows cannot be shared by 3 minibatches"),
        ({"reward_option": ("idm.mode=exact",)}, "is no <reward>.<argument>=<value> of a reward that is used"),
    ],
)
def test_a_setting_that_does_not_fit_is_one_sentence(settings, sentence, token_files, tmp_path):
    with pytest.raises(InputError, match=sentence.replace("?", r"\?")):
        run.train(toys.run_config(token_files, tmp_path / "run", **settings), "x")


def _process(config, kill_at_save: int = 0, largest_file: int = 0) -> int:
    """Exit code of a run in a process of its own, its stderr in a file beside the run's folder."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["trainer_toys", "torch._dynamo", "torch.utils.tensorboard"])
    process = context.Process(target=_train, args=(config, kill_at_save, largest_file))
    process.start()
    process.join()
    return process.exitcode


def _train(config, kill_at_save: int, largest_file: int):
    os.dup2(os.open(config.run.out.with_name("errors"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    if kill_at_save:
        replace, count = os.replace, [0]

        def killing(source, target):
            count[0] += str(target).endswith("run.safetensors")
            if count[0] == kill_at_save:
                os.kill(os.getpid(), signal.SIGKILL)
            replace(source, target)

        os.replace = killing
    exit_with_sentence(run.train)(config, "x")
