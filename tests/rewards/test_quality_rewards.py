"""Rewards about looks: by hand with judges known on paper, their notes, ranges and refusals."""

import gymnasium as gym
import numpy as np
import pytest
import torch
from test_rewards import Oracle, blocks_of_truth, finish, make

from worldgym.errors import InputError
from worldgym.judges import perceptual
from worldgym.judges.quality import PRESETS, Quality, QualityConfig
from worldgym.models.files import checkpoint
from worldgym.rewards import DriftReward, Guards, PixelReward, PreferenceReward, VisualQualityReward

SMALL = QualityConfig(widths=(4, 8, 8), height=24, width=32)


def bright(frames: torch.Tensor) -> torch.Tensor:
    """A judge known on paper: mean brightness in [0, 1]."""
    return frames.float().mean((-1, -2, -3)) / 255


class Twice:
    """Visual quality: brightness of the last frame; motion quality: twice that of the first."""

    name, range = "twice", (0.0, 1.5)

    def preferences(self, frames):
        return torch.stack([bright(frames[:, -1]), 2 * bright(frames[:, 0])], 1)


def play(env, *greys):
    """Three frames of one grey each; the last step's reward and info, and the brightness of the given frame."""
    first = bright(env.reset(seed=0)[0]["prefix"][:, 0])
    for grey in greys:
        _, reward, _, _, info = env.step(torch.full((2, 1, 1, 3, 4), float(grey)))
    return reward, info, first


def test_visual_quality_by_hand():
    reward, info, _ = play(VisualQualityReward(make(2), bright), 51, 102, 153)
    assert reward.tolist() == pytest.approx([0.4] * 2)
    assert info["reward_frames"]["quality"][0].tolist() == pytest.approx([0.2, 0.4, 0.6])


def test_drift_is_measured_from_the_first_frame_of_the_video():
    """Also where every clip is scored for itself."""
    reward, info, first = play(DriftReward(make(2), bright), 51, 102, 153)
    expected = -(torch.tensor([0.2, 0.4, 0.6]) - first[:, None]).abs()
    torch.testing.assert_close(info["reward_frames"]["drift"], expected)
    torch.testing.assert_close(reward, expected.mean(1))
    reward, _, first = play(DriftReward(make(2), bright, due="clip"), 51, 102, 153)
    torch.testing.assert_close(reward, -(0.6 - first).abs())


def test_preference_is_the_mean_of_both_and_says_who_judged():
    env = PreferenceReward(make(2), Twice())
    reward, info, first = play(env, 51, 102, 153)
    torch.testing.assert_close(reward, (0.6 + 2 * first) / 2)
    assert env.notes == {"preference": "twice"} == DriftReward(env, bright).notes
    torch.testing.assert_close(info["reward_terms"]["motion_quality"], 2 * first)
    reward, _, _ = play(PreferenceReward(make(2), Twice(), due="clip"), 51, 102, 153)
    torch.testing.assert_close(reward, torch.full((2,), (0.6 + 2 * 0.4) / 2))  # the frame before the clip comes along


def test_pixel_reward_adds_a_perceptual_distance_and_names_it():
    torch.manual_seed(0)
    net = Quality(SMALL).eval()
    env = PixelReward(make(2), perceptual=None)
    without = play(env, 51, 102, 153)[0]
    assert env.note == "L1" and env.range == (-1.0, 0.0)
    env.distance = perceptual.FeatureDistance(net, "toy")
    reward, _, _ = play(env, 51, 102, 153)
    truth = env.core.truth()
    distance = env.distance(env.core.video(), truth)[:, 1:].mean(1)
    assert (distance > 0).all()
    torch.testing.assert_close(reward, without - distance)
    env.reset(seed=0)
    assert finish(env)[-1][1].tolist() == [0.0, 0.0]  # the truth itself


def test_the_bundled_distance_is_used_and_said_where_lpips_is_not_here(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    torch.manual_seed(0)
    path = str(tmp_path / "quality.safetensors")
    checkpoint.save(path, Quality(SMALL), "quality")
    monkeypatch.setattr("worldgym.rewards.pixel.BUNDLED", path)
    env = PixelReward(make(2))
    assert env.range == (-2.0, 0.0) and env.note == f"L1 + features of {path}"
    assert env.notes == {"pixel": env.note}
    with pytest.raises(InputError, match="lpips-vgg needs its trunk: .*vgg16-397923af.pth"):
        PixelReward(make(2), perceptual="lpips-vgg")


def test_guards_report_held_out_judges():
    oracle = Oracle()
    torch.manual_seed(0)
    net = Quality(SMALL).eval()
    bare = Guards(make(2), held_out={"idm": oracle, "quality": net, "bright": lambda frames, actions: bright(frames[:, -1])})
    bare.reset(seed=0)
    *_, last = finish(bare, wrong=2)
    terms = last[4]["reward_terms"]
    assert terms["heldout/idm"].tolist() == [0.75] * 2 and not last[1].any()
    torch.testing.assert_close(terms["heldout/quality"], net(bare.core.video())[:, 1:].mean(1))
    torch.testing.assert_close(terms["heldout/bright"], bright(bare.core.video()[:, -1]))
    assert isinstance(bare.fork(2), Guards)


@pytest.mark.parametrize("cls", [VisualQualityReward, DriftReward, PreferenceReward])
def test_batch_equals_singles_and_range_holds(cls):
    torch.manual_seed(0)
    net = Quality(SMALL).eval()
    many, ones = cls(make(2), net), [cls(make(), net) for _ in range(2)]
    assert isinstance(many, cls) and isinstance(ones[0], gym.Wrapper)
    many.reset(seed=3)
    for row, one in enumerate(ones):
        one.reset(seed=3 + row)
    many.action_space.seed(0)
    for _ in range(3):
        actions = many.action_space.sample()
        _, rewards, *_ = many.step(actions)
        results = [one.step(actions[row]) for row, one in enumerate(ones)]
    assert rewards.tolist() == [result[1] for result in results]
    low, high = many.range
    assert all(low <= value <= high for value in rewards.tolist()) and rewards.any()
    assert isinstance(many.fork(2), cls)


def test_actions_do_not_matter_to_looks_and_truth_is_blocks():
    env = VisualQualityReward(make(2), bright)
    env.reset(seed=0)
    assert np.isclose(finish(env)[-1][1][0].item(), blocks_of_truth(env)[0, 1:].mean().item() / 255)


def test_bad_judges_are_refused():
    with pytest.raises(InputError, match="quality net reads frames of 56x96 pixels, but this environment makes 24x32"):
        VisualQualityReward(make(1), Quality(PRESETS["nano"]))
    with pytest.raises(InputError, match="a judge of frames is called with frames .* got int"):
        DriftReward(make(1), 3)
    with pytest.raises(InputError, match="has a method preferences"):
        PreferenceReward(make(1), bright)
    with pytest.raises(InputError, match="a held-out judge is an inverse dynamics model"):
        Guards(make(1), held_out={"x": torch.nn.Linear(1, 1)})
