"""The inverse dynamics reward on Minecraft's actions: VPT's judge in an environment, against arithmetic by hand."""

import gymnasium as gym
import numpy as np
import pytest
import torch
import vpt_toys as toys

from worldgym.actions import spec
from worldgym.envs.denoise import DenoiseVectorEnv
from worldgym.errors import InputError
from worldgym.models.codecs.codec import LatentCodec, LatentCodecConfig
from worldgym.rewards import IDMReward
from worldgym.types import Prompts

MINECRAFT = spec("minecraft")


def env(name="minecraft"):
    torch.manual_seed(0)
    codec = LatentCodec(LatentCodecConfig(channels=3, wide=8, fine=8, blocks=1, height=24, width=32)).eval()
    random = np.random.default_rng(0)
    truth = random.integers(0, 256, (2, 4, 24, 32, 3), np.uint8)
    actions = np.stack([random.integers(0, n, (2, 3)) for n in spec(name).sizes], -1)
    prompts = Prompts(truth[:, :1].copy(), actions, truth, ("a/0/0", "a/1/0"))
    return DenoiseVectorEnv(2, codec=codec, prompts=prompts, frames=4, steps=1, spec=name)


def test_reward_is_the_share_of_actions_that_vpt_recovers():
    judge = toys.judge()
    wrapped = IDMReward(env(), judge=judge)
    assert isinstance(wrapped, gym.vector.VectorWrapper)
    wrapped.reset(seed=0)
    core = wrapped.core
    while not core.finished:
        _, reward, *_, info = wrapped.step(torch.randn(core.action_space.shape, generator=torch.Generator().manual_seed(1)))
    labels = torch.cat([judge.labels(row[None]) for row in core.video()])
    given = core.actions[:, :3].clone()
    given[..., 7:9].clamp_(7, 13)  # 10 degrees, the judge's reach
    by_hand = (labels == given)[..., :9].float().mean((1, 2))  # 7 groups, pitch, yaw; neither hotbar nor pickItem
    torch.testing.assert_close(reward, by_hand)
    assert 0 < by_hand.mean() < 1 and info["reward_frames"]["idm"].shape == (2, 3)


def test_columns_can_be_chosen_and_another_spec_is_refused():
    assert IDMReward(env(), judge=toys.judge(), columns=["move"])._columns == [0]
    with pytest.raises(InputError, match="VPTIDM has none; use 'mean'"):
        IDMReward(env(), judge=toys.judge(), mode="probability")
    with pytest.raises(InputError, match="'minecraft', but this environment uses 'doom'"):
        IDMReward(env("doom"), judge=toys.judge())
