"""Steering views: what an action means, Stable-Baselines3's checker, recipes, bad use."""

import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from env_toys import denoise_env, diffusion_model, token_env, token_model
from gymnasium.envs.registration import EnvSpec

from worldgym.envs.steering import FlatObservation, NoiseSteering, TopKToken
from worldgym.errors import InputError
from worldgym.models.codecs.codec import FrameCodec, FrameCodecConfig
from worldgym.models.files import checkpoint
from worldgym.models.token.token_model import TokenConfig, TokenModel
from worldgym.rewards import PixelReward
from worldgym.rng import RowNoise


def views() -> list[gym.Env]:
    noise = NoiseSteering(PixelReward(denoise_env(), perceptual=None), diffusion_model())
    return [
        FlatObservation(noise),
        FlatObservation(TopKToken(PixelReward(token_env(), perceptual=None), token_model(), k=3), ["codes", "step"]),
    ]


def test_the_likeliest_code_every_time_is_greedy_decoding():
    env, model = TopKToken(token_env(), token_model(), k=2), token_model()
    env.reset(seed=0)
    while not env.unwrapped.core.finished:
        env.step(0)
    core = env.unwrapped.core
    given = core.codec.encode(core.observation()["prefix"])
    greedy = model.generate(given, core.actions, RowNoise([0]), temperature=0)
    assert torch.equal(core.trajectory().codes, greedy)


def test_an_action_is_the_noise_of_the_kernel():
    """0 is the mean, the edge is `scale` standard deviations away from it: the log-density falls by scale^2 / 2 per number."""
    from worldgym.models.diffusion.agent import DenoiseAgent

    after = {}
    for value in (0.0, 1.0):
        env = NoiseSteering(denoise_env(), diffusion_model(), "rlir", scale=2.0)
        env.reset(seed=0)
        env.step(np.full(36, value, np.float32))
        after[value] = env.unwrapped.core._rows["path"][:, 0, 1]
    core = denoise_env(1)
    ahead = DenoiseAgent(diffusion_model(), "rlir").propose(core.reset(seed=0)[0])
    torch.testing.assert_close(after[0.0], ahead.mean)
    lost = ahead.logprob_sum(after[0.0]) - ahead.logprob_sum(after[1.0])
    assert lost.item() == pytest.approx(36 * 2.0, rel=1e-4)


def test_flat_numbers_lie_in_their_box_and_say_what_is_seen():
    for env in views():
        observation, _ = env.reset(seed=0)
        env.action_space.seed(0)
        for _ in range(5):
            assert env.observation_space.contains(observation)
            observation, *_ = env.step(env.action_space.sample())
    core = env.unwrapped.core
    codes = core.observation()["codes"][0].flatten().numpy() / 5
    np.testing.assert_allclose(observation, [*codes, 5 / core.steps], atol=1e-6)


@pytest.mark.parametrize("index", [0, 1])
def test_stable_baselines_finds_nothing_to_say(index: int):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sb3 = pytest.importorskip("stable_baselines3.common.env_checker")
        sb3.check_env(views()[index])


@pytest.mark.parametrize("index", [0, 1])
def test_stock_ppo_runs(index: int):
    sb3 = pytest.importorskip("stable_baselines3")
    model = sb3.PPO("MlpPolicy", views()[index], n_steps=16, batch_size=8, n_epochs=1, seed=0, device="cpu")
    assert model.learn(32).num_timesteps == 32


def test_the_spec_rebuilds_a_view(tmp_path):
    codec, model = str(tmp_path / "codec.safetensors"), str(tmp_path / "model.safetensors")
    torch.manual_seed(0)
    checkpoint.save(codec, FrameCodec(FrameCodecConfig(levels=(2, 3), wide=8, fine=8, blocks=1)), "frame-codec", {})
    config = TokenConfig(codes=6, hidden=32, mlp=48, heads=2, layers=1, max_frames=2)
    checkpoint.save(model, TokenModel(config), "token", {"codec": codec})
    inner = gym.make("worldgym/DoomRooms-Token-v0", codec=codec, prompt_seeds=[0], frames=2)
    env = FlatObservation(TopKToken(inner, model, k=3), ["step"])
    again = gym.make(EnvSpec.from_json(env.spec.to_json()))
    assert isinstance(again.env, TopKToken) and again.env.k == 3
    for each in (env, again):
        each.reset(seed=0)
        for action in (0, 2, 1):
            observation, *_ = each.step(action)
    assert observation == pytest.approx(3 / 84)
    codes = [each.unwrapped.core.observation()["codes"][0, 1, :3].tolist() for each in (env, again)]
    assert codes[0] == codes[1]


def test_bad_use():
    with pytest.raises(InputError, match="TopKToken steers a TokenEnv, but got DenoiseEnv"):
        TopKToken(denoise_env(), token_model())
    with pytest.raises(InputError, match="k is 7"):
        TopKToken(token_env(), token_model(), k=7)
    with pytest.raises(InputError, match="schedule='raster'"):
        TopKToken(token_env(schedule="diagonal"), token_model(), k=2)
    with pytest.raises(InputError, match="nothing to steer"):
        NoiseSteering(denoise_env(), diffusion_model(), "ode")
    with pytest.raises(InputError, match="unknown part of the observation 'code'; did you mean 'codes'"):
        FlatObservation(token_env(), ["code"])
    env = TopKToken(token_env(), token_model(), k=2)
    with pytest.raises(InputError, match="call reset"):
        env.step(0)
    env.reset(seed=0)
    with pytest.raises(InputError, match="takes 0 to 1"):
        env.step(2)
