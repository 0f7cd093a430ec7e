"""Ratio 1 with the bundled models: one pass gives the log-probs of stepping, at every step of 16 frames.

The toys of `test_ratio.py` have 36 latent numbers per frame, these have 1,344: rounding of the velocity adds up in their
log-density, and a policy that reads few rows on another road than many was off by 1.4e-4.
"""

import dataclasses

import pytest
import torch
from env_toys import play
from torch import nn

from worldgym import zoo
from worldgym.envs.denoise import DenoiseVectorEnv
from worldgym.envs.token import TokenVectorEnv
from worldgym.models.diffusion.agent import DenoiseAgent
from worldgym.models.diffusion.noise_kernels import LEVELS
from worldgym.models.layers.attention import steady
from worldgym.models.token.agent import TokenAgent
from worldgym.rng import RowNoise

NOISY = [name for name, level in LEVELS.items() if level]
CASES = [*NOISY, "raster", "diagonal"]


def setting(case: str, rows: int, frames: int = 16):
    """Environment and agent: "raster" or "diagonal" order of codes, or the name of a noise kernel."""
    if case in LEVELS:
        model = zoo.load("doom-rooms/diffusion-nano", "cpu").model.eval()
        return DenoiseVectorEnv(rows, prompt_seeds=[3, 5, 8], frames=frames, steps=10), DenoiseAgent(model, case)
    env = TokenVectorEnv(rows, prompt_seeds=[3, 5, 8], frames=frames, schedule=case)
    return env, TokenAgent(zoo.load("doom-rooms/token-nano", "cpu").model.eval(), env.schedule)


@torch.no_grad()
def worst(agent, trajectory, stepped: torch.Tensor, rows: int) -> float:
    """Largest |ratio - 1| when `rows` rows are recomputed at a time; only the last steps if fewer were taken."""
    fields = {f.name: getattr(trajectory, f.name) for f in dataclasses.fields(trajectory)}
    pieces = []
    for start in range(0, len(stepped), rows):
        cut = {n: x[start : start + rows] if isinstance(x, torch.Tensor) else x for n, x in fields.items()}
        pieces.append(agent.logprob(type(trajectory)(**cut))[:, -stepped.shape[1] :])
    return ((torch.cat(pieces).double() - stepped.double()).exp() - 1).abs().max().item()


@pytest.mark.parametrize("case", NOISY)
def test_sixteen_frames_of_one_row(case: str):
    """One row is the hardest: one row of conditions when stepping, 166 when recomputing."""
    env, agent = setting(case, 1)
    stepped = play(env, agent, RowNoise([0]), env.reset(seed=1)[0])
    assert stepped.shape == (1, 150) and stepped.any()
    assert worst(agent, env.trajectory(), stepped, 1) < 1e-4


@pytest.mark.parametrize("case", ["raster", "diagonal"])
def test_codes_of_three_frames(case: str):
    env, agent = setting(case, 2, frames=4)
    stepped = play(env, agent, RowNoise([0, 1]), env.reset(seed=1)[0])
    assert worst(agent, env.trajectory(), stepped, 1) < 1e-4


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_any_split_of_sixteen_frames(case: str):
    """8 rows of 3 prompts, recomputed 1, 3 and 8 at a time."""
    env, agent = setting(case, 8)
    stepped = play(env, agent, RowNoise(range(8)), env.reset(seed=2)[0])
    for rows in (1, 3, 8):
        assert worst(agent, env.trajectory(), stepped, rows) < 1e-4


@pytest.mark.long
@pytest.mark.parametrize("case", CASES)
def test_any_split_of_a_fork(case: str):
    """Four rows become eight after 8 frames and one step."""
    env, agent = setting(case, 4)
    observation, noise = env.reset(seed=3)[0], RowNoise(range(4))
    for _ in range(7 * env.steps_per_clip + 1):
        observation, *_ = env.step(agent.act(observation, noise)[0])
    branches, other = env.fork(2), agent.fork(2)
    stepped = play(branches, other, RowNoise(range(8)), branches.observation())
    for rows in (1, 3, 8):
        assert worst(other, branches.trajectory(), stepped, rows) < 1e-4


@pytest.mark.parametrize("rows", [1, 2, 3, 5])
def test_a_layer_gives_few_rows_the_bits_of_many(rows: int):
    torch.manual_seed(0)
    layer, x = nn.Linear(192, 300), torch.randn(40, 192)
    many = layer(x)
    few = steady(layer, x[7 : 7 + rows, None])
    assert few.shape == (rows, 1, 300) and torch.equal(few[:, 0], many[7 : 7 + rows])
    few.sum().backward()
    assert layer.bias.grad.eq(rows).all()  # what was filled up teaches nothing
