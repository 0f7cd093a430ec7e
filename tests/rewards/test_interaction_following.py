"""Interaction following reward: known scores by hand, both modes, momentum, published poses, bad use."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from test_rewards import SIZE, Echo

from worldgym.actions import DOOM
from worldgym.envs.denoise import DenoiseEnv, DenoiseVectorEnv
from worldgym.errors import InputError
from worldgym.judges.camera_motion import CameraMotion, CameraMotionConfig
from worldgym.judges.soft_labels import soft_agreement
from worldgym.models.codecs.codec import LatentCodec, LatentCodecConfig
from worldgym.rewards import InteractionFollowingReward
from worldgym.types import Prompts

# What is asked: forward; nothing but a turn to the right; back while looking up.
ASKED = [{"move": 1}, {"yaw": 8}, {"move": 2, "pitch": 3}]
LABELS = [9, 1, 18 + 3]


class Eyes:
    """Reads motion from the brightness of the first five blocks of a frame: (brightness - 100) per 5 units."""

    def motion(self, frames):
        return (frames[:, 1:, 4, 4::8, 0].float() - 100) / 5

    config = CameraMotionConfig(**SIZE)


class Wide(Eyes):
    """`Eyes` for a picture four blocks wide: the fifth number comes from the second row."""

    def motion(self, frames):
        first = frames[:, 1:, 4, 4::8, 0].float()
        return (torch.cat([first, frames[:, 1:, 12, 4:5, 0].float()], -1) - 100) / 5


def prompts(count=2):
    actions = np.tile(np.asarray(DOOM.null, np.int64), (count, 3, 1))
    for step, row in enumerate(ASKED):
        for name, index in row.items():
            actions[:, step, DOOM.column(name)] = index
    truth = np.zeros((count, 4, 24, 32, 3), np.uint8)
    return Prompts(truth[:, :1].copy(), actions, truth, tuple(f"toy/{i}/0" for i in range(count)))


def make(rows=0, **more):
    codec = Echo(LatentCodecConfig(channels=1, wide=8, fine=8, blocks=1, **SIZE))
    arguments = {"codec": codec, "prompts": prompts(), "frames": 4, "steps": 1} | more
    return DenoiseVectorEnv(rows, **arguments) if rows else DenoiseEnv(**arguments)


def play(env, *motions, rows=2):
    """Make frames in which `Wide` reads these motions; the last step's results."""
    env.reset(seed=0)
    for motion in motions:
        blocks = torch.full((rows, 1, 1, 3, 4), 100.0)
        blocks[..., 0, :] += 5 * torch.tensor(motion[:4])
        blocks[..., 1, 0] += 5 * motion[4]
        result = env.step(blocks)
    return result


FORWARD, TURN, BACK_UP = (20, 0, 0, 0, 0), (0, 0, 0, 10, 0), (-20, 0, 0, 0, -3)


def test_what_is_asked_for():
    env = InteractionFollowingReward(make(2), Wide(), momentum="none")
    env.reset(seed=0)
    assert env.target(env.core.actions).tolist() == [LABELS] * 2


@pytest.mark.parametrize(("mode", "wrong_half", "wrong"), [("exact", 2 / 3, 2 / 3), ("fine", 5 / 6, 2 / 3)])
def test_scores_by_hand(mode, wrong_half, wrong):
    """All three steps right: 1. The last step without its rotation: exact 2/3, fine 5/6. Without both: fine 4/6."""
    env = InteractionFollowingReward(make(2), Wide(), mode=mode, momentum="none")
    assert play(env, FORWARD, TURN, BACK_UP)[1].tolist() == [1.0, 1.0]
    assert play(env, FORWARD, TURN, (-20, 0, 0, 0, 0))[1].tolist() == pytest.approx([wrong_half] * 2)
    result = play(env, FORWARD, TURN, FORWARD)
    assert result[1].tolist() == pytest.approx([wrong] * 2)
    terms = result[4]["reward_terms"]
    other = "exact" if mode == "fine" else "fine"
    assert set(terms) == {"interaction_following", f"interaction_following_{other}"}
    assert result[4]["reward_frames"]["interaction_following"].shape == (2, 3)


def test_the_soft_mode_is_the_smooth_agreement_and_reports_both_hard_ones():
    env = InteractionFollowingReward(make(2), Wide(), mode="soft", momentum="none")
    right, wrong = play(env, FORWARD, TURN, BACK_UP), play(env, FORWARD, TURN, FORWARD)
    frames = right[4]["reward_frames"]["interaction_following"]
    motion = torch.tensor([[FORWARD, TURN, BACK_UP]], dtype=torch.float32).expand(2, -1, -1)
    expected = soft_agreement(motion, torch.tensor([LABELS] * 2), env.rules)
    torch.testing.assert_close(torch.as_tensor(frames).double(), expected)
    assert right[1].tolist() == pytest.approx(expected.mean(1).tolist())
    terms = right[4]["reward_terms"]
    assert terms["interaction_following_exact"].tolist() == terms["interaction_following_fine"].tolist() == [1.0, 1.0]
    assert (wrong[1] < right[1] - 0.2).all()


def test_the_best_threshold_counts():
    """Steps of 5 units: missed at 8, found at 4."""
    small = ((5, 0, 0, 0, 0), TURN, (-5, 0, 0, 0, -3))
    for translation, expected in (((8.0,), 1 / 3), ((8.0, 4.0), 1.0)):
        env = InteractionFollowingReward(make(2), Wide(), mode="exact", translation=translation, momentum="none")
        assert play(env, *small)[1].tolist() == pytest.approx([expected] * 2)


def test_with_momentum_coasting_is_asked_for():
    """After a step forward the body coasts on during the turn (label 9 + 1 and not 1), and that eats up the step back."""
    env = InteractionFollowingReward(make(2), Wide(), mode="exact", momentum="doom")
    env.reset(seed=0)
    assert env.target(env.core.actions)[0].tolist() == [9, 10, 3]
    assert play(env, FORWARD, (12, 0, 0, 10, 0), (-3, 0, 0, 0, -3))[1].tolist() == [1.0, 1.0]


def test_a_reward_after_every_clip_scores_that_clip():
    env = InteractionFollowingReward(make(2), Wide(), mode="exact", momentum="none", due="clip")
    env.reset(seed=0)
    rewards = []
    for motion in (FORWARD, FORWARD, BACK_UP):
        blocks = torch.full((2, 1, 1, 3, 4), 100.0)
        blocks[..., 0, :] += 5 * torch.tensor(motion[:4])
        blocks[..., 1, 0] += 5 * motion[4]
        rewards.append(env.step(blocks)[1][0].item())
    assert rewards == [1.0, 0.0, 1.0]


class Estimator:
    """A published model's face: sees every camera going ahead, lengths without a unit."""

    def poses(self, frames):
        found = torch.eye(4).repeat(*frames.shape[:2], 1, 1)
        found[..., 2, 3] = 0.01 * torch.arange(frames.shape[1])
        return found


def test_a_published_model_can_judge():
    """Only the first of the three steps goes ahead without a turn; thresholds are shares of the video's own scale."""
    env = InteractionFollowingReward(make(2), Estimator(), "exact", translation=(0.1, 0.5), scale="scene", momentum="none")
    assert play(env, FORWARD, FORWARD, FORWARD)[1].tolist() == pytest.approx([1 / 3] * 2)


def test_batch_equals_singles_with_a_real_judge():
    torch.manual_seed(0)
    judge = CameraMotion(CameraMotionConfig(widths=(8, 8, 8), hidden=32, layers=1, **SIZE)).eval()
    many = InteractionFollowingReward(make(2), judge)
    ones = [InteractionFollowingReward(make(), judge) for _ in range(2)]
    assert isinstance(many, gym.vector.VectorWrapper) and isinstance(ones[0], gym.Wrapper)
    many.reset(seed=3)
    many.action_space.seed(0)
    for row, one in enumerate(ones):
        one.reset(seed=3 + row)
    for _ in range(3):
        actions = many.action_space.sample()
        _, rewards, *_ = many.step(actions)
        results = [one.step(actions[row]) for row, one in enumerate(ones)]
        assert rewards.tolist() == [result[1] for result in results]
    assert all(0 <= reward <= 1 for reward in rewards.tolist())


def test_bad_use_is_one_sentence():
    small = CameraMotion(CameraMotionConfig(widths=(8, 8, 8), hidden=32, layers=1, height=32, width=32))
    with pytest.raises(InputError, match="the judge reads frames of 32x32 pixels, but this environment makes 24x32"):
        InteractionFollowingReward(make(1), small)
    with pytest.raises(InputError, match="unknown mode of the interaction following reward 'fein'; did you mean 'fine'"):
        InteractionFollowingReward(make(1), Wide(), mode="fein")
    with pytest.raises(InputError, match="unknown momentum 'dom'; did you mean 'doom'"):
        InteractionFollowingReward(make(1), Wide(), momentum="dom")
    with pytest.raises(InputError, match="a camera judge is needed"):
        InteractionFollowingReward(make(1), 3)
    with pytest.raises(InputError, match="a judge of kind CameraMotion is needed here, but got LatentCodec"):
        torch.manual_seed(0)
        from worldgym.zoo import load_judge

        load_judge(LatentCodec(LatentCodecConfig(channels=1, wide=8, fine=8, blocks=1)), CameraMotion, "cpu")
