"""Stable-Baselines3: its checker, its vector environment and its algorithms, and the sentence where it cannot read an id."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
from eco_toys import DENOISE, GAME, MODELS, TOKEN, make, make_batch, rewarded, same

from worldgym.envs.steering import FlatObservation, NoiseSteering, TopKToken
from worldgym.errors import InputError

sb3 = pytest.importorskip("stable_baselines3")
checker = pytest.importorskip("stable_baselines3.common.env_checker")
vectors = pytest.importorskip("stable_baselines3.common.vec_env")


@pytest.mark.parametrize("algorithm", ["PPO", "A2C", "DQN"])
@pytest.mark.parametrize("reward", [False, True])
def test_a_raw_id_is_a_sentence_that_says_what_to_wrap(algorithm: str, reward: bool):
    arguments = {"buffer_size": 10} if algorithm == "DQN" else {}
    with pytest.raises(InputError, match="wrap the environment in worldgym.envs.steering.FlatObservation"):
        getattr(sb3, algorithm)("MultiInputPolicy", make(TOKEN, reward), **arguments)
    if algorithm == "PPO":
        with pytest.raises(InputError, match="FlatObservation"):
            sb3.PPO("MultiInputPolicy", make(DENOISE, reward))


@pytest.mark.parametrize("name", MODELS)
def test_the_space_of_actions_is_an_ordinary_one_otherwise(name: str):
    for space in (make(name).observation_space["actions"], make_batch(name).single_observation_space["actions"]):
        assert isinstance(space, gym.spaces.MultiDiscrete) and space.contains(space.sample())
        assert gym.spaces.flatten(space, space.sample()).sum() == space.nvec.size


def views() -> dict[str, gym.Env]:
    return {
        "flat token": FlatObservation(rewarded(make(TOKEN))),
        "flat denoise": FlatObservation(rewarded(make(DENOISE)), ["z", "sigma", "step"]),
        "steered token": FlatObservation(TopKToken(rewarded(make(TOKEN)), k=4), ["step"]),
        "steered denoise": FlatObservation(NoiseSteering(rewarded(make(DENOISE))), ["z", "sigma"]),
    }


@pytest.mark.parametrize("name", ["flat token", "flat denoise", "steered token", "steered denoise"])
def test_the_checker_finds_nothing_and_ppo_learns(name: str):
    env = views()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message="We recommend you to use a symmetric and normalized Box")  # latents to 20
        checker.check_env(env)
    model = sb3.PPO("MlpPolicy", env, n_steps=8, batch_size=8, n_epochs=1, seed=0, device="cpu")
    assert model.learn(16).num_timesteps == 16


def test_its_vector_environment_gives_the_same_numbers():
    vector, twin = vectors.DummyVecEnv([lambda: views()["flat denoise"]]), views()["flat denoise"]
    vector.seed(3)
    same(vector.reset()[0], twin.reset(seed=3)[0])
    twin.action_space.seed(0)
    for step in range(4):
        action = twin.action_space.sample()
        observations, rewards, over, info = vector.step(action[None])
        expected, value, ended, _, known = twin.step(action)
        assert rewards[0] == pytest.approx(value) and bool(over[0]) == ended == (step == 3)
        same(info[0]["terminal_observation"] if ended else observations[0], expected)
        if ended:
            same(info[0]["reward_terms"], known["reward_terms"])


def test_the_game_learns():
    env = make(GAME)
    model = sb3.A2C("CnnPolicy", env, n_steps=4, seed=0, device="cpu")
    assert model.learn(8).num_timesteps == 8 and np.isfinite(env.reset()[0]).all()
    env.close()
