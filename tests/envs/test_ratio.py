"""Ratio 1 in both precisions: stepping against recomputing in pieces of 1, 3 and 8 rows, with and without a fork."""

import copy
import dataclasses

import pytest
import torch
from env_toys import denoise_env, diffusion_model, play, token_env, token_model

from worldgym.models.diffusion.agent import DenoiseAgent
from worldgym.models.diffusion.noise_kernels import LEVELS
from worldgym.models.layers.attention import attention
from worldgym.models.token.agent import TokenAgent
from worldgym.rng import RowNoise

TOLERANCE = {"float32": 1e-4, "autocast": 1e-2, "bfloat16": 1e-2}
ROWS = 8


def setting(case: str, model: torch.nn.Module | None = None):
    """Environment of 8 rows and agent: "raster" or "diagonal" order of codes, or the name of a noise kernel."""
    if case in LEVELS:
        return denoise_env(ROWS, clip_frames=2), DenoiseAgent(model or diffusion_model(2), case)
    env = token_env(ROWS, schedule=case)
    return env, TokenAgent(model or token_model(), env.schedule, top_p=0.9)


def in_pieces(agent, trajectory, rows: int) -> torch.Tensor:
    """Recompute `rows` rows at a time: (B, steps)."""
    fields = {f.name: getattr(trajectory, f.name) for f in dataclasses.fields(trajectory)}
    pieces = []
    for start in range(0, ROWS, rows):
        cut = {n: x[start : start + rows] if isinstance(x, torch.Tensor) else x for n, x in fields.items()}
        pieces.append(agent.logprob(type(trajectory)(**cut)).detach())
    return torch.cat(pieces)


def worst(stepped: torch.Tensor, recomputed: torch.Tensor) -> float:
    """Largest |ratio - 1|."""
    assert stepped.shape == recomputed.shape
    return ((recomputed.double() - stepped.double()).exp() - 1).abs().max().item()


@pytest.mark.parametrize("precision", ["float32", "autocast"])
@pytest.mark.parametrize("case", ["raster", "diagonal", *LEVELS])
def test_any_split_of_the_batch_has_ratio_one(case: str, precision: str):
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
        env, agent = setting(case)
        stepped = play(env, agent, RowNoise(range(ROWS)), env.reset(seed=1)[0])
        pieces = {rows: in_pieces(agent, env.trajectory(), rows) for rows in (1, 3, 8)}
    for recomputed in pieces.values():
        assert worst(stepped, recomputed) < TOLERANCE[precision]
    if precision == "autocast" and case != "ode":  # it was half precision indeed
        assert worst(agent.logprob(env.trajectory()).detach(), pieces[8]) > 1e-4
    assert bool(stepped.any()) == (case != "ode")


@pytest.mark.parametrize("case", ["raster", "diagonal", "flow-grpo", "rlir"])
def test_a_fork_in_half_precision_keeps_ratio_one(case: str):
    """Forked in the middle of a clip, with shared cache."""
    with torch.autocast("cpu", torch.bfloat16):
        env, agent = setting(case)
        observation, noise = env.reset(seed=2)[0], RowNoise(range(ROWS))
        for _ in range(env.steps_per_clip + 1):
            observation, *_ = env.step(agent.act(observation, noise)[0])
        branches = env.fork(2)
        stepped = play(branches, agent.fork(2), RowNoise(range(2 * ROWS)), branches.observation())
        recomputed = agent.logprob(branches.trajectory()).detach()[:, -stepped.shape[1] :]
    assert worst(stepped, recomputed) < 1e-2


@pytest.mark.parametrize("case", ["raster", "diagonal"])
def test_weights_in_bfloat16(case: str):
    """Not autocast but a model of bfloat16 weights throughout."""
    env, agent = setting(case, copy.deepcopy(token_model()).bfloat16())
    stepped = play(env, agent, RowNoise(range(ROWS)), env.reset(seed=1)[0])
    assert stepped.dtype == torch.float32
    assert worst(stepped, agent.logprob(env.trajectory()).detach()) < TOLERANCE["bfloat16"]


def test_half_precision_attention_does_not_depend_on_how_many_ask():
    """One query among 300 keys, alone and among others: the same bits, and within rounding of float64."""
    q, k, v = (torch.randn(2, 3, 300, 16, generator=torch.Generator().manual_seed(i)).bfloat16() for i in range(3))
    many = attention(q, k, v, is_causal=True)
    for place in (0, 150, 299):
        one = attention(q[:, :, place : place + 1], k[:, :, : place + 1], v[:, :, : place + 1])
        assert torch.equal(one[:, :, 0], many[:, :, place]) and one.dtype == torch.bfloat16
    exact = attention(q.double(), k.double(), v.double(), is_causal=True)
    assert (many.double() - exact).abs().max() <= 2**-8 * exact.abs().max()
