"""Rewards with a gradient: the numbers of the rewards themselves, a gradient that is one, and what has none."""

import pytest
import torch
from test_reading import SMALL, candidates, judges

from worldgym.actions import DOOM
from worldgym.envs.denoise import DenoiseVectorEnv
from worldgym.errors import InputError
from worldgym.judges.committee import committee
from worldgym.judges.inverse_dynamics import augment
from worldgym.judges.quality import Quality, QualityConfig
from worldgym.models.codecs.codec import LatentCodec, LatentCodecConfig, as_shown
from worldgym.rewards import (
    DriftReward,
    IDMLikelihoodReward,
    IDMReward,
    InteractionFollowingReward,
    PixelReward,
    VisualQualityReward,
)
from worldgym.rewards.smooth import Objective, views
from worldgym.types import Prompts

GIVEN = 2


def clips():
    frames = candidates(groups=2, members=2, frames=5)
    actions = torch.stack([torch.randint(n, (4, 4), generator=torch.Generator().manual_seed(n)) for n in DOOM.sizes], -1)
    return frames, actions, frames.roll(1, 0)


def env():
    frames, actions, truth = clips()
    prompts = Prompts(frames[:, :GIVEN].numpy(), actions.numpy(), truth.numpy(), tuple(f"toy/{i}/0" for i in range(4)))
    codec = LatentCodec(LatentCodecConfig(channels=2, wide=8, fine=8, blocks=1, **SMALL))
    return DenoiseVectorEnv(4, codec=codec, prompts=prompts, frames=5, prefix=GIVEN, steps=1)


REWARDS = {
    "idm": lambda env: IDMReward(env, judge=judges()["correlation"], mode="log_likelihood"),
    "idm, two columns": lambda env: IDMReward(env, judge=judges()["pixels"], mode="log_likelihood", columns=["yaw", "move"]),
    "idm_likelihood": lambda env: IDMLikelihoodReward(env, judge=judges()["matching"]),
    "interaction_following": lambda env: InteractionFollowingReward(env, judge=judges()["camera"], mode="soft"),
    "interaction_following, volume": lambda env: InteractionFollowingReward(
        env, judge=judges()["camera, volume"], mode="soft"
    ),
    "pixel": lambda env: PixelReward(env, perceptual=None),
    "quality": lambda env: VisualQualityReward(env, judge=painter("convolution")),
    "quality, patches": lambda env: VisualQualityReward(env, judge=painter("patches")),
    "idm, committee": lambda env: IDMReward(
        env, judge=committee([judges()["correlation"], judges()["matching"]]), mode="log_likelihood"
    ),
    "interaction_following, committee": lambda env: InteractionFollowingReward(
        env, judge=committee([judges()["camera"], judges()["camera, volume"]]), mode="soft"
    ),
}


def painter(stem):
    torch.manual_seed(2)
    return Quality(QualityConfig(stem=stem, widths=(8, 16, 32), **SMALL)).eval().requires_grad_(False)


@pytest.mark.parametrize("name", REWARDS)
def test_the_value_is_the_reward(name):
    reward = REWARDS[name](env())
    frames, actions, truth = clips()
    objective = Objective(reward, {reward.name: 3.0}, views=False)
    total, terms = objective(frames.float() / 255, actions, truth, GIVEN, range(4))
    expected = reward.score(frames, actions, truth, GIVEN).per_frame
    assert total.shape == (4, 3) and expected.std() > 0
    torch.testing.assert_close(terms[reward.name], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(total, 3 * terms[reward.name])


@pytest.mark.parametrize("name", REWARDS)
def test_the_gradient_is_the_slope(name):
    """Against a difference along the gradient itself, without the rounding of frames."""
    reward = REWARDS[name](env())
    frames, actions, truth = clips()
    _, _, smooth = Objective(reward, {reward.name: 1.0}).parts[reward.name]
    start = (0.1 + 0.8 * frames.double() / 255).requires_grad_()
    if isinstance(getattr(reward, "judge", None), torch.nn.Module):
        reward.judge.double()
    value = smooth(reward, start, start, actions, truth.double() / 255).double().sum()
    (slope,) = torch.autograd.grad(value, start)
    step = slope / slope.norm()
    near = [
        smooth(reward, x, x, actions, truth.double() / 255).double().sum() for x in (start + 1e-2 * step, start - 1e-2 * step)
    ]
    assert slope.norm() > 0
    torch.testing.assert_close((near[0] - near[1]) / 2e-2, slope.norm(), rtol=0.05, atol=0)


def test_weights_choose():
    reward = PixelReward(REWARDS["idm"](env()), perceptual=None)
    frames, actions, truth = clips()
    both, terms = Objective(reward, {"idm": 2.0, "pixel": 0.5}, views=False)(frames / 255, actions, truth, GIVEN, range(4))
    torch.testing.assert_close(both, 2 * terms["idm"] + 0.5 * terms["pixel"])
    assert set(Objective(reward, {"idm": 2.0, "pixel": 0.0}).parts) == {"idm"}


def test_judges_learn_nothing():
    reward = REWARDS["idm"](env())
    reward.judge.requires_grad_(True)
    Objective(reward, {"idm": 1.0})
    assert not any(p.requires_grad for p in reward.judge.parameters())


def test_pictures_are_judged_as_they_are_shown():
    pictures = torch.tensor([-0.5, 0.1003, 0.5, 1.7]).requires_grad_()
    shown = as_shown(pictures)
    torch.testing.assert_close(shown.detach() * 255, torch.tensor([0.0, 26.0, 128.0, 255.0]))
    shown.sum().backward()
    assert pictures.grad.tolist() == [1, 1, 1, 1]


def test_views_are_a_rows_own():
    """A row's augmentation does not depend on its neighbours, leaves global randomness alone and differs from seed to seed."""
    pictures = clips()[0] / 255
    before = torch.random.get_rng_state()
    together = views(pictures, [1, 2, 3, 4])
    assert torch.equal(before, torch.random.get_rng_state())
    for row in range(4):
        assert torch.equal(together[row : row + 1], views(pictures[row : row + 1], [row + 1]))
    many = views(pictures[:1].expand(24, -1, -1, -1, -1), range(24))
    assert len({float(x.mean()) for x in many}) == 24


def test_augmenting_writes_nothing():
    pictures = clips()[0] / 255
    copy = pictures.clone()
    assert not torch.equal(augment(pictures), pictures) and torch.equal(pictures, copy)


def test_what_has_no_gradient_is_one_sentence():
    with pytest.raises(InputError, match="'drift' has no gradient; those that have one: idm, idm_likelihood, interaction_fol"):
        Objective(DriftReward(env()), {"drift": 1.0})
    with pytest.raises(InputError, match="no reward 'pixel' around this environment; there are: idm"):
        Objective(REWARDS["idm"](env()), {"pixel": 1.0})

    class Mine(IDMReward):
        name = "mine"

    with pytest.raises(InputError, match="'mine' has no gradient"):
        Objective(Mine(env(), judge=judges()["pixels"]), {"mine": 1.0})

    class Eyes:
        def motion(self, frames):
            return torch.zeros(len(frames), frames.shape[1] - 1, 5)

    with pytest.raises(InputError, match="needs a judge of kind CameraMotion, not Eyes"):
        Objective(InteractionFollowingReward(env(), judge=Eyes()), {"interaction_following": 1.0})
