"""The checks find nothing in good parts, and say what is wrong with bad ones."""

import re

import gymnasium as gym
import numpy as np
import pytest
import torch
from env_toys import denoise_env, diffusion_model, prompts, token_env, token_model

from worldgym.envs.checks import check_agent, check_model, check_reward, check_world
from worldgym.models.diffusion.agent import DenoiseAgent
from worldgym.models.token.agent import TokenAgent
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


class Copier:
    """Shows the action in every made frame; `kind` is its fault."""

    def __init__(self, kind: str = "fine"):
        self.kind, self.calls = kind, 0

    def generate(self, prefix, actions, seeds):
        self.calls += 1
        made = np.repeat(prefix[:, -1:], actions.shape[1] + 1, axis=1)
        if self.kind != "deaf":
            made[:, 1:] = actions.sum(-1)[..., None, None, None].astype(np.uint8)
        if self.kind == "random":
            made[:, 1:] += np.uint8(self.calls)
        if self.kind == "neighbours":
            made[:, 1:] += np.uint8(len(made))
        if self.kind == "forgets":
            made[:, 0] = 255 - made[:, 0]
        return made.astype(np.float32) if self.kind == "dtype" else made


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("random", "other frames for the same seeds"),
        ("neighbours", "differently alone and in a batch"),
        ("forgets", "given frames come back changed"),
        ("deaf", "same frames for other actions"),
        ("dtype", "gave float32 frames"),
    ],
)
def test_bad_models_are_told_why(kind: str, sentence: str):
    assert check_model(Copier(), prompts()) == []
    found = check_model(Copier(kind), prompts())
    assert sentence in found[0] and len(found) == (2 if kind == "random" else 1)


class Counter(gym.Env):
    """A world that shows the sum of its actions; `kind` is its fault."""

    def __init__(self, kind: str = "fine"):
        self.kind, self.total, self.action_space = kind, 0, gym.spaces.MultiDiscrete([3, 3])

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        if self.kind != "keeps":
            self.total = 0
        return self._frame(), {} if self.kind == "poseless" else {"pose": np.zeros(6)}

    def step(self, action):
        self.total += 0 if self.kind == "still" else int(action.sum()) + 1
        return self._frame(), 0.0, False, False, {"pose": np.zeros(6)}

    def snapshot(self):
        return self.total

    def restore(self, state):
        self.total = 0 if self.kind == "forgets" else state

    def _frame(self):
        return np.full((4, 4, 1 if self.kind == "grey" else 3), self.total % 256, np.uint8)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("keeps", "same seed and actions gave other frames"),
        ("poseless", r'info\["pose"\] must hold 6 finite numbers'),
        ("still", "no pixel changed in 8 random actions"),
        ("forgets", r"after restore\(snapshot\(\)\)"),
        ("grey", r"a frame is \(H, W, 3\) uint8"),
    ],
)
def test_bad_worlds_are_told_why(kind: str, sentence: str):
    assert check_world(Counter()) == []
    found = check_world(Counter(kind))
    assert len(found) == 1 and re.search(sentence, found[0])


def test_the_game_passes():
    game = gym.make("worldgym/DoomRooms-Game-v0").unwrapped
    try:
        assert check_world(game) == []
    finally:
        game.close()
