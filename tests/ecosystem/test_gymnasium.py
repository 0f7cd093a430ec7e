"""Gymnasium's own tools around every id: vector modes, wrappers, seeds, spaces, copies; values are compared."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import cloudpickle
import gymnasium as gym
import numpy as np
import pytest
import torch
from eco_toys import DENOISE, GAME, IDS, MODELS, SHORT, TOKEN, actions_of, make, make_batch, plain, rewarded, same
from gymnasium.envs.registration import EnvSpec
from gymnasium.vector import AutoresetMode, VectorWrapper
from gymnasium.wrappers import FlattenObservation, FrameStackObservation, RecordEpisodeStatistics, TimeLimit
from gymnasium.wrappers.vector import DictInfoToList
from gymnasium.wrappers.vector import RecordEpisodeStatistics as VectorStatistics

import worldgym
from worldgym.data.prompts import record_prompts
from worldgym.envs.forked import settle_threads, was_forked
from worldgym.envs.steering import FlatObservation, NoiseSteering, TopKToken
from worldgym.errors import InputError
from worldgym.rewards import CompositeReward, DriftReward, IDMReward, PixelReward
from worldgym.worlds.doom import DoomConfig
from worldgym.zoo import load_codec

ROOT = Path(__file__).parents[2]
STEPS = 3


def run(code: str, seconds: int = 100) -> str:
    """A program of its own; what it printed."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)])}
    environment.pop("OMP_NUM_THREADS", None)  # threads as torch has them by default
    found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=seconds)
    assert found.returncode == 0, found.stderr
    return found.stdout


# --- processes ----------------------------------------------------------------------------------------------------------

ASYNC = """
import numpy as np, torch, gymnasium as gym, eco_toys
from gymnasium.vector import AsyncVectorEnv, SyncVectorEnv
name, context, reward = {name!r}, {context!r}, {reward}
def one():
    return eco_toys.make(name, reward)
def main():
    torch.set_num_threads(4)
    big = torch.ones(1500, 1500)
    (big @ big).sum(), (big + big).sum()  # the parent's threads are up
    with_processes, without = AsyncVectorEnv([one] * 2, context=context, shared_memory=name != "x"), SyncVectorEnv([one] * 2)
    without.action_space.seed(0)
    eco_toys.same(with_processes.reset(seed=[3, 8]), without.reset(seed=[3, 8]))
    for _ in range(3):
        actions = without.action_space.sample()
        eco_toys.same(with_processes.step(actions), without.step(actions))
    with_processes.close(), without.close()
    assert torch.get_num_threads() == 4  # the user's own process stays as it is
    print("same")
if __name__ == "__main__":
    main()
"""


@pytest.mark.parametrize(
    ("name", "context", "reward"),
    [
        (TOKEN, "fork", False),
        (DENOISE, "fork", True),
        (GAME, "fork", False),
        (TOKEN, "spawn", True),
        pytest.param(DENOISE, "forkserver", False, marks=pytest.mark.long),
        pytest.param(GAME, "spawn", False, marks=pytest.mark.long),
        pytest.param(DENOISE, "spawn", True, marks=pytest.mark.long),
        pytest.param(TOKEN, "forkserver", True, marks=pytest.mark.long),
    ],
)
def test_processes_give_what_one_process_gives(name: str, context: str, reward: bool, tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(ASYNC.format(name=name, context=context, reward=reward))
    assert run(f"import runpy; runpy.run_path({str(program)!r}, run_name='__main__')") == "same\n"


def test_make_vec_with_processes_as_gymnasium_starts_them():
    code = f"""
import gymnasium as gym, worldgym, torch
torch.set_num_threads(4)
big = torch.ones(1500, 1500); big @ big
env = gym.make_vec({TOKEN!r}, 2, vectorization_mode="async", frames=2, prompt_seeds=[0, 1])
print(env.reset(seed=0)[0]["codes"].shape)
env.close()
"""
    assert run(code) == "(2, 2, 84)\n"


def test_an_environment_made_before_the_fork_can_be_reset_in_the_child():
    code = f"""
import os, signal, gymnasium as gym, worldgym, torch
torch.set_num_threads(4)
env = gym.make_vec({DENOISE!r}, 2, frames=3, prompt_seeds=[0, 1], steps=2)
big = torch.ones(1500, 1500); big @ big
child = os.fork()
if child == 0:
    signal.alarm(40)
    env.reset(seed=0); env.step(env.action_space.sample()); env.video()
    os._exit(torch.get_num_threads())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), torch.get_num_threads())
"""
    assert run(code) == "1 4\n"


def test_only_processes_that_use_an_environment_are_changed():
    """No hook: a forked process of a user's program keeps its threads; importing the package loads no torch."""
    code = """
import os, sys, worldgym
assert "torch" not in sys.modules
import torch, worldgym.envs.token
torch.set_num_threads(3)
child = os.fork()
if child == 0:
    os._exit(torch.get_num_threads())
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(code) == "3\n"
    before = torch.get_num_threads()
    settle_threads()
    assert not was_forked() and torch.get_num_threads() == before


# --- seeds ----------------------------------------------------------------------------------------------------------------


def seeds_of(env, *resets) -> list[list[int]]:
    return [np.atleast_1d(env.reset(seed=seed)[1]["seeds"]).tolist() for seed in resets]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("first", [[3, 4], 3, np.array([3, 4]), (np.int64(3), 4)], ids=str)
def test_a_seed_decides_the_resets_that_follow(name: str, first):
    """As the single environments of the rows would, and as Gymnasium's own vector environment has it."""
    env, again = make_batch(name), make_batch(name)
    found = seeds_of(env, first, None, None)
    assert found == seeds_of(again, first, None, None) and found[0] == [3, 4] and found[1] != found[2]
    ones = [make(name) for _ in range(2)]
    single = [[one.reset(seed=seed)[1]["seed"] for seed in (3 + row, None, None)] for row, one in enumerate(ones)]
    assert found == [list(row) for row in zip(*single, strict=True)]


@pytest.mark.parametrize("name", MODELS)
def test_none_in_a_list_of_seeds_lets_that_row_go_on(name: str):
    env, other = make_batch(name), make_batch(name)
    assert seeds_of(env, [3, 4], [None, None]) == seeds_of(other, [3, 4], None)
    mixed = seeds_of(env, [3, 4], [7, None], None)
    plain_run = seeds_of(other, [3, 4], None, None)
    assert mixed[1] == [7, plain_run[1][1]] and mixed[2][1] == plain_run[2][1]
    vector = gym.vector.SyncVectorEnv([lambda: make(name)] * 2)
    assert [vector.reset(seed=seed)[1]["seed"].tolist() for seed in ([3, 4], [7, None], None)] == mixed


@pytest.mark.parametrize("bad", [[1, 2, 3], 1.5, [1, "2"], -1, [2, -3], 2**63, [[1, 2]]], ids=str)
def test_seeds_that_are_none_are_a_sentence(bad):
    with pytest.raises(InputError, match="seed"):
        make_batch(TOKEN).reset(seed=bad)


def test_a_fork_draws_seeds_of_its_own():
    env = make_batch(DENOISE)
    env.reset(seed=5)
    fork = env.fork(2)
    fork.reset(), fork.reset()
    assert seeds_of(env, None) == seeds_of(make_batch(DENOISE), 5, None)[1:]


# --- observations ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
def test_what_was_returned_stays_as_it_was(name: str):
    """Kept results of every step; then everything is written over, and an untouched twin goes the same way."""
    env, twin = make_batch(name), make_batch(name)
    kept = [env.reset(seed=0), *(env.step(action) for action in actions_of(env, 4 if name == DENOISE else 6))]
    seen = [copy.deepcopy(plain(twin.reset(seed=0)))]
    seen += [copy.deepcopy(plain(twin.step(action))) for action in actions_of(twin, len(kept) - 1)]
    same(kept, seen)


@pytest.mark.parametrize("name", MODELS)
def test_writing_into_what_was_returned_changes_nothing(name: str):
    env, twin = make_batch(name), make_batch(name)
    found = env.reset(seed=0)
    twin.reset(seed=0)
    for action in actions_of(env, 4 if name == DENOISE else 6):
        for part in (*found[0].values(), *found[1:-1], env.actions, env.observation()["step"], env.video(), env.truth()):
            if isinstance(part, torch.Tensor):
                part.zero_()
        trajectory = env.trajectory()
        trajectory.actions.zero_()
        found = env.step(action)
        same(found, twin.step(action))
        same(env.video(), twin.video())


def test_without_copies_observations_are_the_environments_own():
    env = make_batch(TOKEN, copy=False)
    first, _ = env.reset(seed=0)
    again, reward, *_ = env.step(np.array([1, 2]))
    assert first["codes"].data_ptr() == again["codes"].data_ptr() and first["codes"][0, 1, 0] == 1
    assert make(TOKEN, copy=False).unwrapped.core.copy is False


# --- actions ---------------------------------------------------------------------------------------------------------------


def test_actions_are_stored_without_their_graph():
    """The score-function gradient of a user's own policy, against the same with `detach()`, from one to many parameters."""
    gradients = []
    for detach in (False, True):
        torch.manual_seed(0)
        env = make_batch(DENOISE)
        weight = torch.full((1,), 0.5, requires_grad=True)
        observation, _ = env.reset(seed=0)
        logprobs = []
        while not env.finished:
            mean = weight * observation["z"]
            action = mean + 0.1 * torch.randn(mean.shape)
            logprobs.append(-(((action.detach() - mean) / 0.1) ** 2).flatten(1).sum(1))
            observation, *_ = env.step(action.detach() if detach else action)
            assert not any(part.requires_grad for part in observation.values())
        torch.stack(logprobs).sum().backward()
        gradients.append(weight.grad.item())
        assert not env.trajectory().latents.requires_grad and not env.video().requires_grad
    assert gradients[0] == gradients[1]


@pytest.mark.parametrize("batched", [False, True])
def test_actions_with_a_graph_reach_single_and_steered_environments(batched: bool):
    action = torch.zeros(SHORT[DENOISE]["steps"], requires_grad=True)
    if batched:
        env = make_batch(DENOISE)
        shape = env.action_space.shape
    else:
        env = NoiseSteering(make(DENOISE))
        shape = env.action_space.shape
    env.reset(seed=0)
    observation, *_ = env.step(torch.zeros(shape) + action.sum())
    assert not torch.as_tensor(observation["z"]).requires_grad
    if not batched:
        make(DENOISE).reset(seed=0)


def strange_arrays(values: np.ndarray) -> list[np.ndarray]:
    """The same numbers in other memory: back to front, every second, other bytes, protected, Fortran's order, big steps."""
    wide = np.repeat(values, 2, axis=-1)
    protected = values.copy()
    protected.flags.writeable = False
    swapped = values.astype(values.dtype.newbyteorder(">"))
    return [values[::-1].copy()[::-1], wide[..., ::2], swapped, protected, np.asfortranarray(values)]


@pytest.mark.parametrize("name", MODELS)
def test_the_memory_of_an_action_does_not_matter(name: str):
    env = make_batch(name)
    action = plain(actions_of(env, 1)[0])
    env.reset(seed=0)
    expected = env.step(action.copy())
    for strange in strange_arrays(action):
        env.reset(seed=0)
        same(env.step(strange), expected)
    single = make(name)
    single.reset(seed=0)
    known = single.step(action[0])[0]
    for strange in strange_arrays(np.stack([action[0]] * 2)):
        single.reset(seed=0)
        same(single.step(strange[0])[0], known)


@pytest.mark.parametrize("bad", ["text", None, object(), [[1], [1, 2]], {"a": 1}], ids=str)
def test_actions_that_are_no_numbers_are_a_sentence(bad):
    for env in (make_batch(TOKEN), make(TOKEN), TopKToken(make(TOKEN)), NoiseSteering(make(DENOISE))):
        env.reset(seed=0)
        with pytest.raises(InputError, match="action"):
            env.step(bad)


# --- copies ----------------------------------------------------------------------------------------------------------------

AGAIN = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda env: pickle.loads(pickle.dumps(env)),
    "cloudpickle": lambda env: cloudpickle.loads(cloudpickle.dumps(env)),
}


@pytest.mark.parametrize("again", AGAIN.values(), ids=AGAIN)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("batched", [False, True], ids=["single", "batched"])
def test_a_copy_in_mid_episode_ends_like_the_original(again, name: str, batched: bool):
    env = rewarded(make_batch(name, render_mode="rgb_array") if batched else make(name, render_mode="rgb_array"))
    if batched:
        env = CompositeReward(env, {"pixel": 1.0})
    env.reset(seed=2)
    steps = 84 if name == TOKEN else 4
    plan = actions_of(env, steps)
    for action in plan[:2]:
        env.step(action)
    other = again(env)
    assert type(other) is type(env)
    for action in plan[2:]:
        found = env.step(action)
        same(other.step(action), found)
    assert np.any(plain(found[1]) != 0) or batched  # the reward came
    same(other.render(), env.render())
    same(other.reset(), env.reset())
    assert other.spec.to_json() == env.spec.to_json()


@pytest.mark.parametrize("again", AGAIN.values(), ids=AGAIN)
def test_rewards_with_judges_and_views_with_models_are_copied(again):
    for env, steps in (
        (IDMReward(make_batch(DENOISE)), 4),
        (DriftReward(make(DENOISE)), 4),
        (FlatObservation(NoiseSteering(PixelReward(make(DENOISE), perceptual=None))), 4),
        (TopKToken(make(TOKEN), k=3), 3),
    ):
        env.reset(seed=1)
        plan = actions_of(env, steps)
        other = again(env)
        for action in plan:
            same(other.step(action), env.step(action))
        fresh = again(other)
        same(fresh.reset(seed=4), env.reset(seed=4))


@pytest.mark.parametrize("name", IDS)
def test_gymnasiums_own_test_of_pickling(name: str):
    from gymnasium.utils.env_checker import data_equivalence

    env = make(name)
    other = pickle.loads(pickle.dumps(env))
    assert data_equivalence(env.reset(), other.reset())
    action = env.action_space.sample()
    assert data_equivalence(env.step(action), other.step(action))
    env.close(), other.close()


# --- info and wrappers -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("reward", [False, True])
def test_info_becomes_a_list(name: str, reward: bool):
    """Rewards are torch tensors as everything else in a step: ArrayConversion makes them what Gymnasium's wrapper expects."""
    env = make_batch(name, reward=reward)
    rows = DictInfoToList(env)
    _, found = rows.reset(seed=3)
    assert [row["seeds"] for row in found] == [3, 4] and set(found[0]) == {"prompts", "seeds"}
    assert rows.step(actions_of(env, 1)[0])[-1] == [{}, {}]
    conversion = pytest.importorskip("gymnasium.wrappers.vector.array_conversion", reason="needs array-api-compat")
    rows = DictInfoToList(conversion.ArrayConversion(env, env_xp=torch, target_xp=np))
    rows.reset(seed=3)
    while not env.unwrapped.finished:
        _, value, *_, found = rows.step(env.action_space.sample())
    assert isinstance(value, np.ndarray)
    if reward:
        assert [row["reward_terms"]["pixel"] for row in found] == value.tolist()


def test_nothing_but_numbers_is_in_info():
    def check(value):
        for part in value.values() if isinstance(value, dict) else [value]:
            if isinstance(part, dict):
                check(part)
            else:
                assert isinstance(part, (int, float, bool, np.ndarray, np.generic, torch.Tensor)), part
                assert np.asarray(plain(part)).dtype.kind in "biuf"

    for env, steps in (
        (rewarded(make(DENOISE)), 4),
        (IDMReward(make_batch(DENOISE), due="clip"), 4),
        (CompositeReward(rewarded(make_batch(DENOISE)), {"pixel": 1.0}), 4),
        (make(GAME), 2),
    ):
        check(env.reset(seed=0)[1])
        for action in actions_of(env, steps):
            check(env.step(action)[-1])
        env.close()


@pytest.mark.parametrize("name", MODELS)
def test_a_reward_outside_array_conversion_is_a_sentence(name: str):
    class ArrayConversion(VectorWrapper):
        """Stands for Gymnasium's, whose module needs a package more."""

    class NumpyToTorch(ArrayConversion):
        """As there."""

    for wrap in (ArrayConversion, NumpyToTorch):
        for reward in (rewarded, IDMReward, lambda env: CompositeReward(env, {"pixel": 1.0})):
            with pytest.raises(InputError, match=f"stands outside {wrap.__name__}, .* put it inside: {wrap.__name__}"):
                reward(wrap(make_batch(name)))


def test_autoreset_is_said_where_others_look():
    rewarded_batch = rewarded(make_batch(DENOISE))
    for env in (make_batch(TOKEN), make_batch(DENOISE), rewarded_batch, CompositeReward(rewarded_batch, {"pixel": 1.0})):
        assert env.autoreset_mode is env.metadata["autoreset_mode"] is AutoresetMode.DISABLED


def test_statistics_of_episodes():
    """The batched one counts in numpy, so that torch's numbers have to become arrays first."""
    env = RecordEpisodeStatistics(rewarded(make(DENOISE)))
    env.reset(seed=0)
    for action in actions_of(env, 4):
        _, reward, *_, info = env.step(action)
    assert info["episode"]["r"] == pytest.approx(reward) and info["episode"]["l"] == 4
    conversion = pytest.importorskip("gymnasium.wrappers.vector.array_conversion", reason="needs array-api-compat")
    env = VectorStatistics(conversion.ArrayConversion(rewarded(make_batch(DENOISE)), env_xp=torch, target_xp=np))
    env.reset(seed=0)
    while not env.unwrapped.finished:
        _, reward, over, _, info = env.step(env.action_space.sample())
    np.testing.assert_allclose(info["episode"]["r"], reward)
    assert info["episode"]["l"].tolist() == [4, 4] and over.all()


# --- time limits, masks ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("way", ["argument", "wrapper", "make_vec", "reward"])
def test_a_time_limit_cuts_every_row(name: str, way: str):
    limited = {
        "argument": lambda: worldgym.make_vec(make(name, max_episode_steps=2).spec, 2),
        "wrapper": lambda: worldgym.make_vec(TimeLimit(make(name), 2).spec.to_json(), 2),
        "make_vec": lambda: make_batch(name, max_episode_steps=2),
        "reward": lambda: worldgym.make_vec(rewarded(make(name, max_episode_steps=2)).spec.to_json(), 2),
    }[way]()
    again = worldgym.make_vec(limited.spec.to_json())
    for env in (limited, again):
        env.reset(seed=0)
        plan = actions_of(env, 3)
        flags = [[flag.tolist() for flag in env.step(action)[1:4]] for action in plan[:2]]
        assert flags == [[[0.0, 0.0], [False, False], [False, False]], [[0.0, 0.0], [False, False], [True, True]]]
        with pytest.raises(InputError, match="the episode is over"):
            env.step(plan[2])
        env.reset()
        env.step(plan[0])


def test_a_time_limit_longer_than_the_episode_cuts_nothing():
    for limit in (4, 5, 100):
        env = make_batch(DENOISE, max_episode_steps=limit)
        env.reset(seed=0)
        flags = [[bool(flag.all()) for flag in env.step(action)[2:4]] for action in actions_of(env, 4)]
        assert flags[-1] == [True, False] and not any(over or cut for over, cut in flags[:-1])
    with pytest.raises(InputError, match="max_episode_steps is 0"):
        make_batch(DENOISE, max_episode_steps=0)


def test_a_mask_that_is_all_true_is_an_ordinary_reset():
    env, other = make_batch(TOKEN), make_batch(TOKEN)
    same(env.reset(seed=1, options={"reset_mask": np.array([True, True])}), other.reset(seed=1))
    for mask in (np.array([True, False]), [False, False], np.array([True]), np.ones((2, 2), bool)):
        with pytest.raises(InputError, match="share one clock"):
            env.reset(options={"reset_mask": mask})
    same(env.step(np.array([1, 2])), other.step(np.array([1, 2])))  # a refused mask changes nothing


# --- recipes ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        (GAME, {"config": DoomConfig(tics=4), "render_mode": "rgb_array"}),
        (GAME, {"config": {"tics": 3}}),
        (TOKEN, {"prompt_seeds": range(2), "schedule": "diagonal", "window": 3, "prefix": 1, "frames": 3, "spec": "doom"}),
        (
            TOKEN,
            {
                "prompt_seeds": np.array([0, 1]),
                "device": torch.device("cpu"),
                "copy": False,
                "codec": "doom-rooms/frame-codec",
            },
        ),
        (
            DENOISE,
            {"prompt_seeds": (np.int64(0), 1), "frames": np.int64(3), "steps": 2, "shift": 2.0, "prompts": "doom-rooms"},
        ),
        (DENOISE, {"prompt_seeds": [0, 1], "clip_frames": 2, "frames": 3, "max_episode_steps": 2}),
    ],
    ids=str,
)
def test_a_recipe_comes_back_from_json(name: str, arguments: dict):
    env = gym.make(name, **arguments)
    text = env.spec.to_json()
    again = gym.make(EnvSpec.from_json(text))
    assert again.spec.to_json() == text and json.loads(text)["id"] == name
    same(again.reset(seed=3), env.reset(seed=3))
    for action in actions_of(env, 2):
        same(again.step(action), env.step(action))
    env.close(), again.close()
    if name != GAME:
        many = worldgym.make_vec(text, 2)
        assert worldgym.make_vec(many.spec.to_json()).spec.to_json() == many.spec.to_json()


def test_a_recipe_says_which_argument_has_no_form():
    prompts, codec = record_prompts("doom-rooms", [0, 1], 2), load_codec("doom-rooms/frame-codec", "frame-codec", "cpu")
    judged = IDMReward(make(TOKEN), judge=worldgym.load("doom-rooms/idm-reward"))
    for env, sentence in (
        (
            gym.make(TOKEN, prompts=prompts, frames=2),
            "argument 'prompts' of worldgym/DoomRooms-Token-v0 is an object of type Prompts",
        ),
        (make(TOKEN, codec=codec), "argument 'codec' of .* type FrameCodec"),
        (make_batch(TOKEN, codec=codec), "argument 'codec' of .* type FrameCodec"),
        (judged, "argument 'judge' of IDMReward is an object of type"),
    ):
        with pytest.raises(InputError, match=sentence):
            env.spec.to_json()


@pytest.mark.parametrize("bad", [{"tic": 4}, 4, "fast", None], ids=str)
def test_a_config_that_is_none_is_a_sentence(bad):
    with pytest.raises(InputError, match="config is|unknown field of DoomConfig 'tic'; did you mean 'tics'"):
        gym.make(GAME, config=bad)


# --- sentences ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("reward", [False, True])
def test_before_the_first_reset_there_is_a_sentence(name: str, reward: bool):
    env, one = make_batch(name, reward=reward, render_mode="rgb_array"), make(name, reward=reward, render_mode="rgb_array")
    for core in (env.unwrapped, one.unwrapped.core):
        for use in ("render", "video", "truth", "trajectory", "observation"):
            with pytest.raises(InputError, match=rf"call reset\(\) before {use}\(\)"):
                getattr(core, use)()
        for attribute in ("prompt_ids", "actions"):
            with pytest.raises(InputError, match=rf"call reset\(\) before {attribute}"):
                getattr(core, attribute)
    for use in (one.unwrapped.render, lambda: env.fork(2), lambda: one.unwrapped.fork(2), lambda: one.unwrapped.step(0)):
        with pytest.raises(InputError, match="reset|running episode"):
            use()
    if reward:
        for wrapped in (env, one):
            with pytest.raises(InputError, match=r"call reset\(\) before evaluate\(\)"):
                wrapped.evaluate()


def test_steering_over_changed_observations_is_a_sentence():
    token, denoise = make(TOKEN), make(DENOISE)
    for env, view in (
        (FlatObservation(token), TopKToken),
        (FlattenObservation(denoise), NoiseSteering),
        (FrameStackObservation(denoise, 2), NoiseSteering),
        (rewarded(FlatObservation(denoise)), NoiseSteering),
    ):
        with pytest.raises(
            InputError, match=rf"{view.__name__} reads the whole observation, which \w+ changes; put it inside"
        ):
            view(env)
    with pytest.raises(InputError, match="FlatObservation reads a Dict of parts"):
        FlatObservation(FlatObservation(token))
    view = FrameStackObservation(FlatObservation(TopKToken(rewarded(token))), 2)
    assert view.observation_space.contains(view.reset(seed=0)[0])
