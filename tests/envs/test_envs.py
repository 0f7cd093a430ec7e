"""The environments themselves: Gymnasium's checker, batch = singles, options, clocks, lazy frames, bad use."""

import json
import warnings

import gymnasium as gym
import numpy as np
import pytest
import torch
from env_toys import FRAMES, denoise_env, prompts, token_env
from gymnasium.envs.registration import EnvSpec
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode

import worldgym  # noqa: F401  (registers the ids)
from worldgym.data.clips import ClipStore
from worldgym.data.record import record
from worldgym.errors import InputError
from worldgym.models.codecs.codec import FrameCodec, FrameCodecConfig, LatentCodec, LatentCodecConfig
from worldgym.models.files import checkpoint
from worldgym.rng import RowNoise

IDS = {"worldgym/DoomRooms-Token-v0": "frame-codec", "worldgym/DoomRooms-Denoise-v0": "latent-codec"}
MAKERS = {"token": token_env, "diagonal": lambda rows=0, **more: token_env(rows, schedule="diagonal", **more)}
MAKERS |= {"denoise": denoise_env, "clips": lambda rows=0, **more: denoise_env(rows, clip_frames=2, **more)}


@pytest.fixture(params=MAKERS)
def make(request):
    return MAKERS[request.param]


@pytest.fixture(scope="module")
def codec_files(tmp_path_factory) -> dict[str, str]:
    """Untrained codecs for the game's frame size, as files."""
    folder, size = tmp_path_factory.mktemp("codecs"), {"wide": 8, "fine": 8, "blocks": 1}
    files = {}
    for kind, module in (
        ("frame-codec", FrameCodec(FrameCodecConfig(levels=(2, 3), **size))),
        ("latent-codec", LatentCodec(LatentCodecConfig(channels=2, **size))),
    ):
        files[kind] = str(folder / f"{kind}.safetensors")
        checkpoint.save(files[kind], module, kind, {})
    return files


def arguments(name: str, codec_files: dict[str, str]) -> dict:
    more = {"steps": 2} if "Denoise" in name else {}
    return {"codec": codec_files[IDS[name]], "prompt_seeds": [0, 1], "frames": 3, **more}


def same(left: dict, right: dict) -> None:
    assert left.keys() == right.keys()
    for name in left:
        np.testing.assert_array_equal(np.asarray(left[name]), np.asarray(right[name]), err_msg=name)


# --- the registered ids -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", IDS)
def test_gymnasium_checks_the_registered_ids_without_a_warning(name: str, codec_files):
    """On prompts from the game itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make(name, **arguments(name, codec_files))
        check_env(env.unwrapped)
        env.close()


def test_prompts_from_a_folder_of_recorded_clips(tmp_path, codec_files):
    """The first frames of its training clips, of no others."""
    folder = str(tmp_path / "clips")
    record("doom-rooms", 24, 0, folder, workers=1, frames=4)
    name, store = "worldgym/DoomRooms-Denoise-v0", ClipStore(folder)
    env = gym.make_vec(name, num_envs=2, prompts=folder, **{**arguments(name, codec_files), "prompt_seeds": None})
    train = store.split("train")
    assert 0 < len(train) < 24
    assert env.unwrapped.prompts.ids == tuple(f"doom-rooms/{seed}/0" for seed in store.seeds[train])
    np.testing.assert_array_equal(env.unwrapped.prompts.truth, store.frames[train][:, :3])
    np.testing.assert_array_equal(env.unwrapped.prompts.actions, store.actions[train][:, :2])


@pytest.mark.parametrize("name", IDS)
def test_the_spec_rebuilds_the_environment(name: str, codec_files):
    env = gym.make(name, **arguments(name, codec_files))
    text = env.spec.to_json()
    again = gym.make(EnvSpec.from_json(text))
    assert json.loads(text)["kwargs"]["prompt_seeds"] == [0, 1]
    same(env.reset(seed=3)[0], again.reset(seed=3)[0])
    assert env.observation_space == again.observation_space and env.action_space == again.action_space
    assert env.unwrapped.core.prompts.ids == ("doom-rooms/0/0", "doom-rooms/1/0")


@pytest.mark.parametrize("name", IDS)
def test_make_vec_takes_the_batched_environment(name: str, codec_files):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        env = gym.make_vec(name, num_envs=2, **arguments(name, codec_files))
        env.reset(seed=0)
        env.step(env.action_space.sample())
        env.close()
    assert env.num_envs == 2 and env.metadata["autoreset_mode"] is AutoresetMode.DISABLED
    assert type(env).__name__.endswith("VectorEnv")


# --- spaces and batches -----------------------------------------------------------------------------------------------


def test_a_batch_is_its_singles_step_by_step(make):
    many, ones = make(3, render_mode="rgb_array"), [make(render_mode="rgb_array") for _ in range(3)]
    batch, info = many.reset(seed=11)
    singles = [one.reset(seed=11 + row) for row, one in enumerate(ones)]
    assert info["prompts"].tolist() == [single[1]["prompt"] for single in singles]
    assert len(set(many.prompt_ids)) > 1
    many.action_space.seed(0)
    observations = [single[0] for single in singles]
    while not many.finished:
        for row, observation in enumerate(observations):
            same({name: value[row] for name, value in batch.items()}, observation)
        actions = many.action_space.sample()
        batch, rewards, over, cut, _ = many.step(actions)
        results = [one.step(actions[row]) for row, one in enumerate(ones)]
        observations = [result[0] for result in results]
        assert rewards.tolist() == [r[1] for r in results] and over.tolist() == [r[2] for r in results]
        assert not cut.any() and bool(over.all()) == many.finished
        for row, picture in enumerate(many.render()):
            np.testing.assert_array_equal(picture, ones[row].render())


def test_observations_lie_in_their_spaces(make):
    single, many = make(), make(2)
    single.action_space.seed(1)
    assert single.observation_space.contains(single.reset(seed=0)[0])
    many.reset(seed=0)
    for _ in range(many.steps):
        observation, *_ = single.step(single.action_space.sample())
        assert single.observation_space.contains(observation)
        batch, *_ = many.step(many.action_space.sample())
        assert many.observation_space.contains({name: value.numpy() for name, value in batch.items()})
        assert all(isinstance(value, torch.Tensor) for value in batch.values())


@pytest.mark.parametrize(("name", "steps"), [("token", 48), ("diagonal", 4 * 8), ("denoise", 12), ("clips", 6)])
def test_length_of_an_episode(name: str, steps: int):
    """4 frames of 12 codes; of (4-1) + 2 (3-1) + 1 = 8 waves; of 3 denoising steps; 2 clips of 3 steps."""
    env = MAKERS[name](2)
    env.reset(seed=0)
    assert env.steps == steps
    assert env.clips == (2 if name == "clips" else FRAMES - 1)


def test_wave_codes_land_in_their_cells():
    env = MAKERS["diagonal"](1)
    env.reset(seed=0)
    expected = np.zeros(12, np.int64)
    for wave, cells in enumerate(env.schedule.waves):
        observation, *_ = env.step(torch.full((1, env.schedule.width), wave % 6))
        expected[list(cells)] = wave % 6
    np.testing.assert_array_equal(observation["codes"][0, 1].numpy(), expected)
    assert (observation["codes"][0, 2:] == -1).all()


def test_noise_clock_and_context_of_the_denoise_step():
    env = denoise_env(2)
    observation, info = env.reset(seed=9)
    torch.testing.assert_close(observation["z"][:, 0], RowNoise(info["seeds"]).normal(3, 3, 4), atol=0, rtol=0)
    seen = []
    for k in range(3):
        seen.append(observation["sigma"][0].tolist())
        observation, *_ = env.step(torch.full_like(observation["z"], float(k)))
    np.testing.assert_allclose(seen, [[1, 2 / 3], [2 / 3, 1 / 3], [1 / 3, 0]], atol=1e-6)
    assert observation["frame"].tolist() == [2, 2] and (observation["latents"][:, 1] == 2.0).all()
    assert (observation["latents"][:, 2:] == 0).all() and observation["sigma"][0, 0] == 1


# --- reset options ----------------------------------------------------------------------------------------------------


def test_groups_share_their_prompt(make):
    env = make(6)
    _, info = env.reset(seed=0, options={"prompts": ["toy/2/0", 0], "group_size": 3})
    assert env.prompt_ids == ("toy/2/0",) * 3 + ("toy/0/0",) * 3
    assert torch.equal(env.actions[0], env.actions[2]) and not torch.equal(env.actions[2], env.actions[3])
    assert np.array_equal(env.truth()[5, 0].numpy(), prompts().truth[0, 0])


def test_a_group_may_start_from_the_same_noise():
    env = denoise_env(4)
    for same_noise in (False, True):
        z = env.reset(seed=0, options={"group_size": 2, "same_noise": same_noise})[0]["z"]
        assert torch.equal(z[0], z[1]) == same_noise and not torch.equal(z[1], z[2])


def test_an_episode_may_end_with_an_earlier_clip(make):
    env = make(2)
    env.reset(seed=0, options={"clip": 1})
    assert env.steps == 2 * env.steps_per_clip
    for _ in range(env.steps):
        _, _, over, _, _ = env.step(env.action_space.sample())
    assert over.all() and env.clip == 2
    assert env.video().shape[1] == env.truth().shape[1] == 1 + 2 * (env.frames - 1) // env.clips


# --- frames -----------------------------------------------------------------------------------------------------------


def test_frames_are_decoded_once_and_only_when_asked_for(make):
    env, decoded = make(2), []
    codec = env.codec
    original, codec.decode = codec.decode, lambda x: decoded.append(len(x)) or original(x)
    try:
        env.reset(seed=0)
        while not env.finished:
            env.step(env.action_space.sample())
        assert not decoded
        video = env.video()
        assert sum(decoded) == 2 * (FRAMES - 1)
        assert torch.equal(env.video(), video) and sum(decoded) == 2 * (FRAMES - 1)
    finally:
        del codec.decode
    assert video.shape == (2, FRAMES, 24, 32, 3) and video.dtype == torch.uint8
    assert torch.equal(video[:, 0], env.observation()["prefix"][:, 0])


def test_a_fork_decodes_what_is_finished_once(make, monkeypatch):
    env = make(2)
    env.reset(seed=0)
    env.action_space.seed(0)
    while env.clip < 2:
        env.step(env.action_space.sample())
    decode, frames = env.codec.decode, []
    monkeypatch.setattr(env.codec, "decode", lambda row: frames.append(len(row)) or decode(row))
    branches = env.fork(3)
    assert sum(frames) == 2 * 2 * env.clip_frames
    assert torch.equal(branches.video(), env.video().repeat_interleave(3, 0))
    assert sum(frames) == 2 * 2 * env.clip_frames


def test_a_fork_leaves_its_parent_alone(make):
    env = make(2)
    env.reset(seed=4)
    for _ in range(env.steps_per_clip + 1):
        env.step(env.action_space.sample())
    before = {name: value.clone() for name, value in env.observation().items()}
    branches = env.fork(2)
    same({name: value[[0, 0, 1, 1]] for name, value in before.items()}, branches.observation())
    branches.step(branches.action_space.sample())
    assert branches.num_envs == 4 and len(set(branches.seeds)) == 4
    same(before, env.observation())
    single = make()
    single.reset(seed=0)
    assert single.fork(3).num_envs == 3


# --- bad use ----------------------------------------------------------------------------------------------------------


def test_stepping_before_reset_and_after_the_end(make):
    for env in (make(2), make()):
        with pytest.raises(InputError, match="no episode has begun"):
            env.step(env.action_space.sample())
        env.reset(seed=0, options={"clip": 0})
        for _ in range(getattr(env, "core", env).steps):
            env.step(env.action_space.sample())
        with pytest.raises(InputError, match=r"the episode is over .* call reset\(\)"):
            env.step(env.action_space.sample())


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"promts": [0]}, "unknown reset option 'promts'; did you mean 'prompts'"),
        ({"prompts": ["toy/9/0", 0]}, "unknown prompt 'toy/9/0'"),
        ({"prompts": [0, 4]}, "there are prompts 0 to 3"),
        ({"prompts": [0]}, "1 prompts came, but 2 rows in groups of 1 need 2"),
        ({"group_size": 3}, "group_size is 3"),
        ({"clip": 99}, "clip is 99"),
    ],
)
def test_bad_reset_options(make, options: dict, sentence: str):
    with pytest.raises(InputError, match=sentence):
        make(2).reset(seed=0, options=options)


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (torch.zeros(3, dtype=torch.int64), r"shape \(3,\), but this step takes \(2,\)"),
        (torch.zeros(2), "dtype torch.float32, but this step takes integer codes"),
        (torch.tensor([0, 6]), "codes go from 0 to 5"),
        (torch.tensor([-1, 0]), "codes go from 0 to 5"),
        (torch.zeros(2, dtype=torch.int64, device="meta"), "the actions are on meta"),
    ],
)
def test_bad_token_actions(action: torch.Tensor, sentence: str):
    env = token_env(2)
    env.reset(seed=0)
    with pytest.raises(InputError, match=sentence):
        env.step(action)


@pytest.mark.parametrize(
    ("action", "sentence"),
    [
        (torch.zeros(2, 3, 3, 4), r"but this step takes \(2, 1, 3, 3, 4\)"),
        (torch.zeros(2, 1, 3, 3, 4, dtype=torch.int64), "floating-point latents"),
        (torch.full((2, 1, 3, 3, 4), torch.nan), "not a finite number"),
        (torch.zeros(2, 1, 3, 3, 4, device="meta"), "the actions are on meta, but this environment is on cpu"),
    ],
)
def test_bad_denoise_actions(action: torch.Tensor, sentence: str):
    env = denoise_env(2)
    env.reset(seed=0)
    with pytest.raises(InputError, match=sentence):
        env.step(action)


def test_bad_arguments():
    for arguments, sentence in (
        ({"prompts": "doom-room", "prompt_seeds": [0]}, "unknown world 'doom-room'; did you mean 'doom-rooms'"),
        ({"prompts": prompts(frames=4)}, "the prompts have 4 frames, 1 of them given"),
        ({"prompts": prompts(size=(24, 40))}, r"frames of \[24, 40\] pixels, but the codec reads \[24, 32\]"),
        ({"codec": "doom-rooms/frame-codek"}, "unknown model"),
        ({"render_mode": "human"}, "render_mode is 'human'"),
    ):
        with pytest.raises(InputError, match=sentence):
            token_env(2, **arguments)
    with pytest.raises(InputError, match="must be a multiple of the clip's 3"):
        denoise_env(2, clip_frames=3)
