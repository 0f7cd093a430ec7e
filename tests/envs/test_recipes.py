"""Recipes: `EnvSpec.to_json()` rebuilds environments with their rewards; videos are recorded; checkers say nothing."""

import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from env_toys import denoise_env, diffusion_model, token_env, token_model
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import RecordVideo

import worldgym
from worldgym.envs.steering import FlatObservation, NoiseSteering, TopKToken
from worldgym.models.codecs.codec import FrameCodec, FrameCodecConfig
from worldgym.models.files import checkpoint
from worldgym.rewards import CompositeReward, PixelReward

TOKEN = "worldgym/DoomRooms-Token-v0"


@pytest.fixture(scope="module")
def arguments(tmp_path_factory) -> dict:
    """A short episode on an untrained codec."""
    path = str(tmp_path_factory.mktemp("codec") / "codec.safetensors")
    torch.manual_seed(0)
    checkpoint.save(path, FrameCodec(FrameCodecConfig(levels=(2, 3), wide=8, fine=8, blocks=1)), "frame-codec", {})
    return {"codec": path, "prompt_seeds": [0, 1], "frames": 2}


def rewarded(env: gym.vector.VectorEnv) -> list[float]:
    """Reward of a random episode."""
    env.reset(seed=3, options={"group_size": 2})
    env.action_space.seed(0)
    while not env.unwrapped.finished:
        _, reward, *_ = env.step(env.action_space.sample())
    return reward.tolist()


def test_the_recipe_of_a_batched_environment_has_its_rewards(arguments: dict):
    env = worldgym.make_vec(TOKEN, num_envs=4, **arguments)
    env = CompositeReward(PixelReward(env, perceptual=None, weight=2.0), {"pixel": 1.0}, clip=3.0)
    text = env.spec.to_json()
    named = {wrapper["name"]: wrapper["kwargs"] for wrapper in json.loads(text)["additional_wrappers"]}
    assert named["PixelReward"] == {"weight": 2.0, "due": "episode", "perceptual": None}
    assert named["CompositeReward"] == {"weights": {"pixel": 1.0}, "spread": "global", "clip": 3.0}
    again = worldgym.make_vec(text)
    assert again.num_envs == 4 and again.spec.to_json() == text
    assert rewarded(again) == rewarded(env) != [0.0] * 4
    assert worldgym.make_vec(EnvSpec.from_json(text), num_envs=2).num_envs == 2


def test_the_recipe_of_a_single_environment_serves_a_batch(arguments: dict):
    single = PixelReward(gym.make(TOKEN, **arguments), perceptual=None, weight=3.0)
    text = single.spec.to_json()
    again, many = gym.make(EnvSpec.from_json(text)), worldgym.make_vec(text, num_envs=2)
    assert type(again).__name__ == type(many).__name__ == "PixelReward" and many.weight == 3.0
    single.reset(seed=3), again.reset(seed=3)
    many.reset(seed=3)
    single.action_space.seed(0)
    for _ in range(84):
        action = single.action_space.sample()
        results = single.step(action)[1], again.step(action)[1], many.step(np.array([action, 0]))[1][0].item()
    assert results[0] == results[1] == pytest.approx(results[2]) and results[0] < 0


def test_recipes_that_do_not_fit_are_refused(arguments: dict):
    flat = FlatObservation(PixelReward(gym.make(TOKEN, **arguments), perceptual=None))
    for recipe, sentence in (
        (flat.spec, "wrapper FlatObservation does not fit a batched environment"),
        ('{"id": 1', "the text is no recipe"),
        ("worldgym/DoomRooms-Game-v0", "has no batched form; known: worldgym/DoomRooms-Denoise-v0"),
    ):
        with pytest.raises(ValueError, match=sentence):
            worldgym.make_vec(recipe)
    with pytest.raises(gym.error.NameNotFound):
        worldgym.make_vec("worldgym/DoomRoms-Token-v0")


def test_a_video_is_recorded(tmp_path, arguments: dict):
    """One frame per step; the picture is the last finished frame: the given one, and after the last step the made one."""
    pytest.importorskip("moviepy")
    imageio = pytest.importorskip("imageio.v3")
    env = RecordVideo(gym.make(TOKEN, render_mode="rgb_array", **arguments), str(tmp_path), disable_logger=True)
    env.action_space.seed(0)
    env.reset(seed=0)
    given = env.render()
    assert given.shape == (56, 96, 3) and given.dtype == np.uint8
    finished = False
    while not finished:
        _, _, finished, _, _ = env.step(env.action_space.sample())
    made = env.recorded_frames[-1]
    env.close()
    frames = imageio.imread(next(tmp_path.glob("*.mp4")))
    assert len(frames) in (84, 85) and frames.shape[1:3] == (56, 96)  # readers differ over the last frame
    for shown, true in ((frames[0], given), (frames[82], given)):
        assert np.abs(shown.astype(int) - true.astype(int)).mean() < 12  # the video's coding loses a little
    assert np.abs(given.astype(int) - made.astype(int)).mean() > 30


@pytest.mark.parametrize("name", [name for name in gym.registry if name.startswith("worldgym/")])
def test_every_registered_id_passes_gymnasiums_checker_as_it_comes(name: str):
    """With the bundled codecs; shorter clips, nothing else changed."""
    more = {} if "Game" in name else {"prompt_seeds": [0, 1], "frames": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(name, render_mode="rgb_array", **more)
        check_env(env.unwrapped)
        env.close()


@pytest.mark.parametrize("index", [0, 1])
def test_gymnasiums_checker_on_a_steering_view(index: int):
    """It says of every wrapper that it is one, and nothing else."""
    views = NoiseSteering(denoise_env(), diffusion_model()), TopKToken(token_env(), token_model(), k=3)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        check_env(FlatObservation(views[index]), skip_render_check=True)
    assert [str(line.message) for line in said if "different from the unwrapped version" not in str(line.message)] == []
