"""Reward wrappers: known scores, one class for both kinds of environment, recipes as JSON, forks, bad use."""

import math

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium.envs.registration import EnvSpec

import worldgym  # noqa: F401  (registers the ids)
from worldgym.actions import DOOM
from worldgym.envs.denoise import DenoiseEnv, DenoiseVectorEnv
from worldgym.errors import InputError
from worldgym.judges.inverse_dynamics import InverseDynamics, InverseDynamicsConfig
from worldgym.models.codecs.codec import LatentCodec, LatentCodecConfig
from worldgym.models.files import checkpoint
from worldgym.rewards import IDMLikelihoodReward, IDMReward, PixelReward, Reward
from worldgym.types import Prompts

SIZE = {"height": 24, "width": 32}


class Echo(LatentCodec):
    """A codec that keeps the mean brightness of every 8x8 block, exactly: frames are decided by who acts."""

    def encode(self, frames: torch.Tensor) -> torch.Tensor:
        blocks = frames.float().mean(-1).unflatten(-2, (3, 8)).unflatten(-1, (4, 8)).mean((-1, -3))
        return blocks[..., None, :, :]

    def decode(self, latents: torch.Tensor) -> torch.Tensor:
        grey = latents[..., 0, :, :].repeat_interleave(8, -2).repeat_interleave(8, -1)
        return grey[..., None].expand(*grey.shape, 3).round().to(torch.uint8)


class Oracle(InverseDynamics):
    """Reads the actions from the brightness of the blocks of a frame: block k is ten times the label of column k."""

    def __init__(self):
        super().__init__(InverseDynamicsConfig(widths=(8, 8, 8), hidden=32, layers=1, **SIZE))

    def labels(self, frames: torch.Tensor) -> torch.Tensor:
        blocks = frames[:, 1:, 4::8, 4::8, 0].flatten(2)[..., :8]
        return (blocks.long() + 5) // 10

    def forward(self, frames: torch.Tensor) -> list[torch.Tensor]:
        """Nine times in ten it is the label, otherwise each of the others alike."""
        labels = self.labels(frames)
        sizes = enumerate(self.spec.sizes)
        return [torch.log(torch.where(torch.arange(n) == labels[..., k, None] % n, 0.9, 0.1 / (n - 1))) for k, n in sizes]


def prompts(count: int = 3, frames: int = 4) -> Prompts:
    """The truth shows the actions as `Oracle` reads them."""
    random = np.random.default_rng(0)
    actions = np.stack([random.integers(0, n, (count, frames - 1)) for n in DOOM.sizes], -1)
    blocks = np.zeros((count, frames, 12), np.uint8)
    blocks[:, 1:, :8] = 10 * actions
    grey = blocks.reshape(count, frames, 3, 4).repeat(8, 2).repeat(8, 3)
    truth = np.repeat(grey[..., None], 3, -1)
    return Prompts(truth[:, :1].copy(), actions, truth, tuple(f"toy/{i}/0" for i in range(count)))


def pixel(env, **more):
    """The pixel reward without its perceptual part, known by hand."""
    return PixelReward(env, perceptual=None, **more)


def make(rows: int = 0, **more):
    codec = Echo(LatentCodecConfig(channels=1, wide=8, fine=8, blocks=1, **SIZE))
    arguments = {"codec": codec, "prompts": prompts(), "frames": 4, "steps": 1} | more
    return DenoiseVectorEnv(rows, **arguments) if rows else DenoiseEnv(**arguments)


def blocks_of_truth(env) -> torch.Tensor:
    """(B, T, 1, 1, 3, 4): the actions that make the truth."""
    everything = torch.from_numpy(env.unwrapped.prompts.truth[env.unwrapped._choice])
    return env.unwrapped.codec.encode(everything)[:, :, None]


def finish(env, wrong: int = 0, darker: float = 1.0):
    """Play the truth, with the first `wrong` columns of every frame spoiled."""
    results = []
    actions = blocks_of_truth(env).clone() * darker
    actions[..., 0, :wrong] += 10
    for frame in range(1, 4):
        results.append(env.step(actions[:, frame]))
    return results


def test_idm_reward_by_hand():
    """Two of eight columns wrong in every frame: 6/8, or 0 where all must be right."""
    for mode, expected in (("mean", 0.75), ("exact", 0.0)):
        env = IDMReward(make(2), Oracle(), mode=mode)
        env.reset(seed=0)
        *before, last = finish(env, wrong=2)
        assert all(not step[1].any() and "reward_terms" not in step[4] for step in before)
        assert last[1].tolist() == [expected] * 2
        assert last[4]["reward_terms"]["idm"].tolist() == [expected] * 2
        assert last[4]["reward_frames"]["idm"].shape == (2, 3)
    for mode in ("mean", "exact"):
        env = IDMReward(make(2), Oracle(), mode=mode)
        env.reset(seed=0)
        assert finish(env)[-1][1].tolist() == [1.0, 1.0]


def test_idm_reward_by_probability():
    """Six columns at 0.9, two of three labels each at 0.1 / 2."""
    for wrong, expected in ((2, (6 * 0.9 + 2 * 0.05) / 8), (0, 0.9)):
        env = IDMReward(make(2), Oracle(), mode="probability")
        env.reset(seed=0)
        last = finish(env, wrong=wrong)[-1]
        torch.testing.assert_close(last[4]["reward_frames"]["idm"], torch.full((2, 3), expected))
        torch.testing.assert_close(last[4]["reward_terms"]["idm"], torch.full((2,), expected))


@pytest.mark.parametrize("cls", [IDMReward, IDMLikelihoodReward])
def test_idm_reward_by_log_likelihood(cls):
    """As above with logarithms; a certain error costs 16, not infinity."""
    mode = {"mode": "log_likelihood"} if cls is IDMReward else {}
    for wrong, expected in ((2, (6 * math.log(0.9) + 2 * math.log(0.05)) / 8), (0, math.log(0.9))):
        env = cls(make(2), Oracle(), **mode)
        assert env.range == (-16.0, 0.0)
        env.reset(seed=0)
        frames = finish(env, wrong=wrong)[-1][4]["reward_frames"][env.name]
        torch.testing.assert_close(frames, torch.full((2, 3), expected))
    certain = Oracle()
    certain.probabilities = lambda frames, actions: (certain.labels(frames) == actions).float()
    env = cls(make(2), certain, **mode)
    env.reset(seed=0)
    assert finish(env, wrong=2)[-1][1].tolist() == [-4.0, -4.0]  # 2 of 8 columns
    assert type(env.fork(2)).__name__ == cls.__name__


def test_idm_reward_on_chosen_columns():
    env = IDMReward(make(2), Oracle(), columns=["attack", "yaw"])
    env.reset(seed=0)
    assert finish(env, wrong=2)[-1][1].tolist() == [1.0, 1.0]
    with pytest.raises(InputError, match="unknown column of action spec 'doom' 'jaw'"):
        IDMReward(make(1), Oracle(), columns=["jaw"])


def test_pixel_reward_by_hand():
    """One of twelve blocks ten grey levels off: -10 / 255 / 12; the truth itself: 0."""
    for wrong, expected in ((0, 0.0), (1, -10 / 255 / 12)):
        env = pixel(make(2))
        env.reset(seed=0)
        assert finish(env, wrong)[-1][1].tolist() == pytest.approx([expected] * 2, abs=1e-7)


def test_a_reward_may_come_after_every_clip():
    env = pixel(make(2), due="clip")
    env.reset(seed=0)
    actions = blocks_of_truth(env).clone()
    actions[:, 2] += 51  # only the second generated frame is off, by a fifth of the range
    rewards = [env.step(actions[:, frame])[1][0].item() for frame in (1, 2, 3)]
    assert rewards == pytest.approx([0, -0.2, 0], abs=1e-6)


def test_rewards_stack_with_their_weights():
    env = pixel(IDMReward(make(2), Oracle(), weight=2.0), weight=100.0)
    env.reset(seed=0)
    last = finish(env, wrong=1)[-1]
    assert set(last[4]["reward_terms"]) == {"idm", "pixel"}
    assert last[1].tolist() == pytest.approx([2 * 7 / 8 - 100 * 10 / 255 / 12] * 2, abs=1e-5)


@pytest.mark.parametrize("cls", [IDMReward, PixelReward])
def test_one_class_for_both_kinds_and_batch_equals_singles(cls):
    arguments = {"judge": Oracle()} if cls is IDMReward else {"perceptual": None}
    many, ones = cls(make(2), **arguments), [cls(make(), **arguments) for _ in range(2)]
    assert isinstance(many, cls) and isinstance(many, gym.vector.VectorWrapper)
    assert isinstance(ones[0], cls) and isinstance(ones[0], gym.Wrapper)
    many.reset(seed=3)
    for row, one in enumerate(ones):
        one.reset(seed=3 + row)
    many.action_space.seed(0)
    for _ in range(3):
        actions = many.action_space.sample()
        _, rewards, over, _, info = many.step(actions)
        results = [one.step(actions[row]) for row, one in enumerate(ones)]
        assert rewards.tolist() == [result[1] for result in results]
    low, high = cls.range
    assert over.all() and all(low <= value <= high for value in rewards.tolist())
    terms = [result[4]["reward_terms"][cls.name] for result in results]
    assert info["reward_terms"][cls.name].tolist() == terms and isinstance(terms[0], np.floating)


def test_a_forked_reward_scores_the_fork():
    for env in (pixel(IDMReward(make(2), Oracle(), weight=2.0)), pixel(make())):
        env.reset(seed=0)
        assert isinstance(env.fork(3), PixelReward)
        branches = env.fork(3)
        last = finish(branches, wrong=1)[-1]
        assert last[1].shape == (branches.num_envs,) and branches.num_envs in (3, 6)
        assert ("idm" in last[4]["reward_terms"]) == (branches.num_envs == 6)


def test_the_spec_rebuilds_the_environment_with_its_rewards(tmp_path):
    torch.manual_seed(0)
    codec, judge = str(tmp_path / "codec.safetensors"), str(tmp_path / "judge.safetensors")
    checkpoint.save(codec, LatentCodec(LatentCodecConfig(channels=1, wide=8, fine=8, blocks=1)), "latent-codec", {})
    checkpoint.save(
        judge, InverseDynamics(InverseDynamicsConfig(widths=(8, 8, 8), hidden=32, layers=1)), "inverse-dynamics", {}
    )
    inner = gym.make("worldgym/DoomRooms-Denoise-v0", codec=codec, prompt_seeds=[0], frames=3, steps=1)
    env = pixel(IDMReward(inner, judge, mode="exact", weight=2.0), weight=0.5)
    text = env.spec.to_json()
    again = gym.make(EnvSpec.from_json(text))
    assert isinstance(again, PixelReward) and isinstance(again.env, IDMReward)
    assert (again.weight, again.env.weight, again.env.mode) == (0.5, 2.0, "exact")
    rewards = []
    for each in (env, again):
        each.reset(seed=0)
        each.action_space.seed(1)
        each.step(each.action_space.sample())
        rewards.append(each.step(each.action_space.sample()))
    assert rewards[0][1] == rewards[1][1] != 0
    assert rewards[0][4]["reward_terms"] == rewards[1][4]["reward_terms"]


def test_a_reward_of_ones_own_in_five_lines():
    class Bright(Reward):
        name, range = "bright", (0.0, 1.0)

        def per_frame(self, frames, actions, truth):
            return frames[:, 1:].float().mean((2, 3, 4)) / 255

    env = Bright(make(2))
    env.reset(seed=0)
    for _ in range(3):
        _, reward, *_ = env.step(torch.full((2, 1, 1, 3, 4), 51.0))
    assert reward.tolist() == pytest.approx([0.2, 0.2])


def test_bad_rewards_are_refused():
    small = InverseDynamics(InverseDynamicsConfig(widths=(8, 8, 8), hidden=32, layers=1, height=32, width=32))
    with pytest.raises(InputError, match="the judge reads frames of 32x32 pixels, but this environment makes 24x32"):
        IDMReward(make(1), small)
    with pytest.raises(InputError, match="a judge of kind InverseDynamics or VPTIDM is needed here, but got Linear"):
        IDMReward(make(1), torch.nn.Linear(1, 1))
    with pytest.raises(InputError, match="unknown mode of the IDM reward 'exakt'; did you mean 'exact'"):
        IDMReward(make(1), Oracle(), mode="exakt")
    with pytest.raises(InputError, match="unknown time at which a reward is due 'never'"):
        PixelReward(make(1), due="never")
    with pytest.raises(InputError, match="wraps a Gymnasium environment, but got str"):
        PixelReward("worldgym/DoomRooms-Token-v0")
    with pytest.raises(InputError, match="needs a world-model environment inside, but found CartPoleEnv"):
        PixelReward(gym.make("CartPole-v1"))
