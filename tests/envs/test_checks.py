"""The checks find nothing in good parts, and say what is wrong with bad ones."""

import re

import pytest
import torch
from env_toys import denoise_env, diffusion_model, token_env, token_model

from worldgym.envs.checks import check_agent, check_reward
from worldgym.models.agents import DenoiseAgent, TokenAgent
from worldgym.rewards import PixelReward, Reward


def test_our_own_agents_pass():
    env = token_env(2, schedule="diagonal")
    assert check_agent(env, TokenAgent(token_model(), env.schedule, top_p=0.8)) == []
    assert check_agent(denoise_env(2, clip_frames=2), DenoiseAgent(diffusion_model(2), "cps")) == []


class OtherTemperature(TokenAgent):
    def logprob(self, trajectory, steps=None):
        return TokenAgent(self.model, temperature=2.0).logprob(trajectory, steps)


class Forgetful(TokenAgent):
    def act(self, observation, noise):
        action, logprob = super().act(observation, noise)
        self.temperature *= 1.01
        return action, logprob


class Mean(TokenAgent):
    def act(self, observation, noise):
        action, logprob = super().act(observation, noise)
        return action, logprob.mean()


@pytest.mark.parametrize(
    ("cls", "sentence"),
    [
        (OtherTemperature, "stepping and recomputing disagree"),
        (Forgetful, "gave other log-probs the second time"),
        (Mean, r"log-probs of shape \(\)"),
    ],
)
def test_bad_agents_are_told_why(cls: type, sentence: str):
    found = check_agent(token_env(2), cls(token_model()))
    assert any(re.search(sentence, line) for line in found), found


class Bad(Reward):
    name, range = "bad", (0.0, 1.0)
    kind = "fine"

    def per_frame(self, frames, actions, truth):
        if self.kind == "writes":
            frames[:] = 0
        values = frames[:, 1:].float().mean((2, 3, 4)) / 255
        if self.kind == "random":
            values = values * torch.rand(())
        if self.kind == "neighbours":
            values = values / values.sum()
        return values + 2 if self.kind == "range" else values

    def score(self, frames, actions, truth, given):
        scored = super().score(frames, actions, truth, given)
        return type(scored)(scored.total.mean()) if self.kind == "shape" else scored


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("writes", "writes into the frames"),
        ("random", "other numbers for the same clips"),
        ("neighbours", "differently alone and in a batch"),
        ("range", "declares the range 0 to 1"),
    ],
)
def test_bad_rewards_are_told_why(kind: str, sentence: str):
    assert check_reward(Bad(token_env(3))) == []
    env = Bad(token_env(3))
    env.kind = kind
    assert any(sentence in line for line in check_reward(env))


def test_a_reward_of_the_wrong_shape_is_refused_at_once():
    env = Bad(token_env(3))
    env.kind = "shape"
    with pytest.raises(ValueError, match="gave shape"):
        check_reward(env)


def test_pixel_reward_passes():
    assert check_reward(PixelReward(denoise_env(2), perceptual=None)) == []
