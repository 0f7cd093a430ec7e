"""DPM-Solver++ against diffusers' scheduler, step by step; NFD's sizes end to end with random weights."""

import dataclasses

import numpy as np
import pytest
import torch

from worldgym.actions import MINECRAFT
from worldgym.models.codecs.codec import LatentCodec, LatentCodecConfig
from worldgym.models.diffusion.frame_diffusion import PRESETS, FrameDiffusion
from worldgym.models.diffusion.samplers import sampler
from worldgym.models.world_model import WorldModel


def velocity(x: torch.Tensor, sigma: float) -> torch.Tensor:
    """Bends in x and in sigma, so that the order of a solver shows."""
    return torch.sin(2 * x + 3 * sigma) - 0.5 * x + sigma**2


@pytest.mark.parametrize("steps", [1, 2, 3, 10, 18, 40])
@pytest.mark.parametrize("shift", [1.0, 5.0])
def test_every_step_is_that_of_diffusers(steps, shift):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DPMSolverMultistepScheduler(
        algorithm_type="dpmsolver++",
        solver_order=2,
        solver_type="midpoint",
        prediction_type="flow_prediction",
        use_flow_sigmas=True,
        flow_shift=shift,
        final_sigmas_type="zero",
    )
    theirs.set_timesteps(steps)
    ours, sigmas = sampler("dpm++"), theirs.sigmas.double().tolist()
    x = y = torch.linspace(-2, 2, 9, dtype=torch.float64)
    for timestep, sigma, sigma_next in zip(theirs.timesteps, sigmas[:-1], sigmas[1:], strict=True):
        x = ours.step(x, velocity(x, sigma), sigma, sigma_next)
        y = theirs.step(velocity(y, sigma), timestep, y).prev_sample.double()
        torch.testing.assert_close(x, y, atol=2e-5, rtol=0)  # its sigmas are float32
    assert len(sigmas) == steps + 1 and sigmas[-1] == 0 and (x - torch.linspace(-2, 2, 9)).abs().max() > 0.3


def minecraft(name: str, **changes):
    """An NFD preset on Minecraft's actions and 14 x 24 latent cells, as many as MineWorld has codes."""
    return dataclasses.replace(PRESETS[name], spec="minecraft", grid=(14, 24), **changes)


@pytest.mark.parametrize(("name", "millions"), [("310M", 305.6), ("774M", 772.3)])
def test_sizes(name, millions):
    with torch.device("meta"):
        model = FrameDiffusion(PRESETS[name])
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == millions


def end_to_end(config, actions_played: int, steps: int) -> None:
    """Frames in, frames out, by DPM-Solver++; another action, another frame."""
    torch.manual_seed(0)
    codec = LatentCodec(LatentCodecConfig(channels=16, wide=8, fine=8, blocks=1, height=112, width=192)).eval()
    model = FrameDiffusion(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        parameter.add_(0.02 * torch.randn_like(parameter))  # adaLN-zero starts at zero, where nothing depends on anything
    world = WorldModel("nfd", "diffusion", model, codec)
    prefix = np.random.default_rng(0).integers(0, 256, (1, 1, 112, 192, 3), np.uint8)
    still = np.tile(MINECRAFT.null, (1, actions_played, 1))
    turn = np.tile(MINECRAFT.action(move="forward", yaw=20.0), (1, actions_played, 1))
    made = [world.generate(prefix, actions, [3], steps=steps, sampler="dpm++") for actions in (still, turn)]
    assert made[0].shape == (1, actions_played + 1, 112, 192, 3)
    assert (made[0] != made[1])[:, 1:].any() and torch.equal(made[0][:, :1], made[1][:, :1])


def test_nfd_in_small_end_to_end():
    """Eighteen steps, as NFD is evaluated; the presets' build with two thin layers."""
    end_to_end(minecraft("310M", hidden=48, mlp=64, heads=2, layers=2), actions_played=2, steps=18)


@pytest.mark.long
@pytest.mark.parametrize("name", ["310M", "774M"])
def test_nfd_at_full_size_end_to_end(name):
    end_to_end(minecraft(name), actions_played=1, steps=2)
