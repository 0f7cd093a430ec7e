"""An optimizer of one's own in twenty lines, on a reward that has a known best answer."""

import copy

import torch
from env_toys import prompts, token_env, token_model

from worldgym.models.token.agent import TokenAgent
from worldgym.rewards import Reward
from worldgym.rng import RowNoise


class Bright(Reward):
    """Mean brightness of the generated frames."""

    name, range = "bright", (0.0, 1.0)

    def per_frame(self, frames, actions, truth):
        return frames[:, 1:].float().mean((2, 3, 4)) / 255


def test_reinforce_with_group_advantages_raises_the_reward():
    env = Bright(token_env(24, frames=2, prompts=prompts(frames=2)))
    agent = TokenAgent(copy.deepcopy(token_model()))
    optimizer = torch.optim.Adam(agent.model.parameters(), lr=0.01)
    history = []
    for iteration in range(16):
        observation, _ = env.reset(seed=1000 * iteration, options={"prompts": [0, 1], "group_size": 12})
        noise, finished = RowNoise(range(100 * iteration, 100 * iteration + 24)), False
        while not finished:
            action, _ = agent.act(observation, noise)
            observation, reward, terminated, _, info = env.step(action)
            finished = bool(terminated.all())
        groups = reward.view(2, 12)
        advantage = ((groups - groups.mean(1, keepdim=True)) / (groups.std(1, keepdim=True) + 1e-8)).flatten()
        loss = -(advantage[:, None] * agent.logprob(env.unwrapped.trajectory())).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        history.append(reward)
    first, last = torch.cat(history[:2]), torch.cat(history[-2:])
    assert last.mean() > first.mean() + first.std()
