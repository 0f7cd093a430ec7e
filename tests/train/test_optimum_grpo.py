"""GRPO on worlds whose optimum is known: reward - beta KL is maximal at the reference tilted by e^(reward / beta).

Every test says how near it must come, and that the flipped reward leads to the flipped answer.
"""

import copy
import math
import types

import numpy as np
import pytest
import torch
from gaussian_world import Normal, velocity
from torch import nn

from worldgym.actions import DOOM
from worldgym.envs.token import TokenVectorEnv
from worldgym.models.diffusion.flow import time_grid
from worldgym.models.diffusion.noise_kernels import Gaussian, NoiseKernel
from worldgym.models.token.token_model import TokenConfig, TokenModel
from worldgym.models.world_model import WorldModel
from worldgym.rewards import Reward, advantages
from worldgym.train import kl, surrogate
from worldgym.train.grpo import Grpo, TokenGrpo
from worldgym.train.policy import Policy
from worldgym.train.settings import Optimisation, Settings, TokenRollout
from worldgym.types import Prompts

SIGNS = [1.0, -1.0]


# --- two codes, through the real environment, agent and loop -----------------------------------------------------------------


class TwoPictures(nn.Module):
    """A frame codec of one code per frame: 0 is a black picture of 8x8 pixels, 1 a white one."""

    codes, grid, config = 2, (1, 1), types.SimpleNamespace(height=8, width=8)

    def encode(self, frames):
        return (frames[..., :1, :1, 0].flatten(-2) > 127).long()

    def decode(self, codes):
        return (255 * codes[..., None, None]).expand(*codes.shape[:-1], 8, 8, 3).to(torch.uint8)


class White(Reward):
    """1 for the white picture, 0 for the black one."""

    name, range = "white", (0.0, 1.0)

    def per_frame(self, frames, actions, truth):
        return frames[:, 1:, 0, 0, 0].float() / 255


def one_prompt():
    """A black picture, and one action."""
    frames = np.zeros((1, 2, 8, 8, 3), np.uint8)
    return Prompts(frames[:, :1], np.zeros((1, 1, len(DOOM.sizes)), np.int64), frames, ("black",))


def two_codes():
    """A world of one frame of one code."""
    torch.manual_seed(5)
    model = TokenModel(TokenConfig(codes=2, codes_per_frame=1, hidden=16, mlp=16, heads=2, layers=1, max_frames=2)).eval()
    return WorldModel("two-codes", "token", model, TwoPictures())


def odds(model, codes, actions) -> float:
    """log p(1) / p(0) of the first prompt's next code."""
    both = model.predictions(codes, actions)[0, 0, 0]
    return float((both[1] - both[0]).detach())


@pytest.mark.parametrize("sign", SIGNS)
def test_two_codes_end_at_the_tilted_odds(sign):
    """Log-odds move by sign / beta = ±2, to within .1; p(1) to within .02."""
    beta, world = 0.5, two_codes()
    env = TokenVectorEnv(128, codec=world.codec, prompts=one_prompt(), frames=2)
    env.reset(seed=0, options={"prompts": [0], "group_size": 128})
    codes, actions = env.trajectory().codes[:1].repeat(1, 2, 1), env.actions[:1]
    before = odds(copy.deepcopy(world.model), codes, actions)
    settings = Settings(
        rollout=TokenRollout(prompt_batch=1, group=128),
        algorithm=TokenGrpo(advantage="leave-one-out", kl=beta),
        optimisation=Optimisation(micro=128, lr=0.02, grad_clip=100.0),
    )
    learner, seen = Grpo(White(env, weight=sign), Policy(world), settings), []
    learner.kl_kind = "k2"  # unbiased as the advantage is, so that the optimum is the formula's
    for iteration in range(100):
        learner.iterate(iteration, rate=min(1.0, 2 - iteration / 50))
        seen.append(odds(world.model, codes, actions))
    found, expected = sum(seen[-20:]) / 20, before + sign / beta
    assert found == pytest.approx(expected, abs=0.1)
    assert torch.tensor(found).sigmoid() == pytest.approx(float(torch.tensor(expected).sigmoid()), abs=0.02)
    assert (found - before) * sign > 1


# --- a Gaussian drawn in one step --------------------------------------------------------------------------------------------


def descend(parameters, loss, steps, rate):
    """Adam with a rate that falls to 0; the mean of the parameters over the last fifth."""
    optimizer, kept = torch.optim.Adam(parameters, rate), []
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = rate * (1 - step / steps)
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
        if step >= 0.8 * steps:
            kept.append([p.detach().clone() for p in parameters])
    return [torch.stack(values).mean(0) for values in zip(*kept, strict=True)]


@pytest.mark.parametrize("sign", SIGNS)
def test_quadratic_reward_tilts_mean_and_spread_of_a_gaussian(sign):
    """r = -(x - 2)^2 / 2, beta = 2, reference N(.5, 1) -> N(1, .67) (flipped: N(-.5, 2)); to within .03."""
    reference, beta, draw = Normal(0.5, 1.0), 2.0, torch.Generator().manual_seed(0)
    expected = reference.tilted(linear=sign * 2 / beta, curvature=sign / beta)
    mean, log_std = torch.tensor([0.5], requires_grad=True), torch.zeros(1, requires_grad=True)

    def loss():
        policy = Gaussian(mean.expand(512, 1), log_std.exp())
        x = policy.sample(torch.randn(512, 1, generator=draw)).detach()
        advantage = advantages.leave_one_out(-sign * (x[:, 0] - 2).square() / 2, 64)
        new = policy.logprob_sum(x)[:, None]
        base = Gaussian(torch.full((1, 1), 0.5), torch.ones(1)).logprob_sum(x)[:, None]
        found = surrogate.clip_sum(new, new.detach(), advantage)
        return -surrogate.average(found.objective) + beta * kl.estimate("k2", new, base).mean()

    mean, log_std = descend([mean, log_std], loss, 200, 0.06)
    assert float(mean) == pytest.approx(expected.mean, abs=0.03)
    assert float(log_std.exp()) == pytest.approx(math.sqrt(expected.var), abs=0.03)
    assert (float(mean) - reference.mean) * sign > 0.3


# --- a Gaussian reached in K denoising steps ---------------------------------------------------------------------------------


@pytest.mark.parametrize("sign", SIGNS)
@pytest.mark.parametrize("noise", ["flow-grpo", "rlir"])
def test_linear_reward_shifts_the_end_of_a_denoising_chain(noise, sign):
    """r = ±x0: the optimal mean of x0 given the first noise moves by ± Var(x0 | x1) / beta; to within 5 %.

    The policy may add a number of its own to the velocity at each of 4 steps. With a linear reward that is all an optimal
    policy needs, and Var(x0 | x1) follows from the chain's slopes and stds.
    """
    sigmas, kernel, beta, draw = time_grid(4), NoiseKernel(noise), 0.5, torch.Generator().manual_seed(1)
    world = Normal(0.5, 0.25)
    shifts = torch.zeros(4, requires_grad=True)

    def step(x, k, own):
        v = velocity(x, torch.tensor(sigmas[k]), world.mean, world.var) + own
        return kernel.step(x, v, sigmas[k], sigmas[k + 1])

    def loss():
        x, new, away = torch.randn(512, 1, generator=draw), [], []
        for k in range(4):
            ahead = step(x, k, shifts[k])
            after = ahead.sample(torch.randn(512, 1, generator=draw)).detach()
            new.append(ahead.logprob_sum(after))
            away.append(kl.gaussian_sum(ahead.mean, step(x, k, 0.0).mean, ahead.std))
            x = after
        new = torch.stack(new, 1)
        advantage = advantages.leave_one_out(sign * x[:, 0], 64)
        # an average over steps for both terms, so that their balance is that of the sums
        return (
            -surrogate.average(surrogate.clip_sum(new, new.detach(), advantage).objective) + beta * torch.stack(away, 1).mean()
        )

    (found,) = descend([shifts], loss, 200, 0.06)
    chain_var, moved = 0.0, 0.0
    for k in range(4):
        zero, one = (step(torch.full((1, 1), x), k, 0.0) for x in (0.0, 1.0))
        slope, std = float(one.mean - zero.mean), float(one.std)
        per_shift = float(step(torch.zeros(1, 1), k, 1.0).mean - zero.mean)
        chain_var, moved = slope**2 * chain_var + std**2, slope * moved + per_shift * float(found[k])
    expected = sign * chain_var / beta
    assert moved == pytest.approx(expected, rel=0.05)
    assert moved * sign > 0
