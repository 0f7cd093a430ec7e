"""Tiny codecs, prompts and world models: 24x32 pixels, 12 codes of 6 kinds, 3 latent channels, untrained."""

import functools

import numpy as np
import torch

from worldgym.actions import DOOM
from worldgym.envs.denoise import DenoiseEnv, DenoiseVectorEnv
from worldgym.envs.token import TokenEnv, TokenVectorEnv
from worldgym.models.codecs.codec import FrameCodec, FrameCodecConfig, LatentCodec, LatentCodecConfig
from worldgym.models.diffusion.frame_diffusion import DiffusionConfig, FrameDiffusion
from worldgym.models.token.token_model import TokenConfig, TokenModel
from worldgym.types import Prompts

SIZE = {"wide": 8, "fine": 8, "blocks": 1, "height": 24, "width": 32}
FRAMES = 5


@functools.cache
def frame_codec() -> FrameCodec:
    torch.manual_seed(0)
    return FrameCodec(FrameCodecConfig(levels=(2, 3), **SIZE)).eval().requires_grad_(False)


@functools.cache
def latent_codec() -> LatentCodec:
    torch.manual_seed(1)
    return LatentCodec(LatentCodecConfig(channels=3, **SIZE)).eval().requires_grad_(False)


@functools.cache
def token_model() -> TokenModel:
    torch.manual_seed(2)
    return TokenModel(TokenConfig(codes=6, codes_per_frame=12, hidden=32, mlp=48, heads=2, layers=2, max_frames=FRAMES)).eval()


@functools.cache
def diffusion_model(clip: int = 1) -> FrameDiffusion:
    torch.manual_seed(3)
    config = DiffusionConfig(channels=3, grid=(3, 4), hidden=24, mlp=40, heads=2, layers=2, max_frames=FRAMES, clip=clip)
    model = FrameDiffusion(config).eval()
    for parameter in model.parameters():  # off its zeros, or every velocity would be 0
        parameter.data += 0.15 * torch.randn_like(parameter)
    return model


def prompts(count: int = 4, frames: int = FRAMES, prefix: int = 1, size: tuple[int, int] = (24, 32)) -> Prompts:
    random = np.random.default_rng(4)
    truth = random.integers(0, 256, (count, frames, *size, 3), np.uint8)
    actions = np.stack([random.integers(0, n, (count, frames - 1)) for n in DOOM.sizes], -1)
    return Prompts(truth[:, :prefix].copy(), actions, truth, tuple(f"toy/{i}/0" for i in range(count)))


def token_env(rows: int = 0, **arguments) -> TokenVectorEnv | TokenEnv:
    """A vector environment of `rows`, or with 0 the single one."""
    arguments = {"codec": frame_codec(), "prompts": prompts(prefix=arguments.get("prefix", 1)), "frames": FRAMES} | arguments
    return TokenVectorEnv(rows, **arguments) if rows else TokenEnv(**arguments)


def denoise_env(rows: int = 0, **arguments) -> DenoiseVectorEnv | DenoiseEnv:
    """A vector environment of `rows`, or with 0 the single one."""
    arguments = {"codec": latent_codec(), "prompts": prompts(prefix=arguments.get("prefix", 1)), "frames": FRAMES} | arguments
    arguments = {"steps": 3} | arguments
    return DenoiseVectorEnv(rows, **arguments) if rows else DenoiseEnv(**arguments)


def play(env, agent, noise, observation) -> torch.Tensor:
    """Step to the end: (B, steps) log-probs."""
    logprobs = []
    while not env.unwrapped.finished:
        action, logprob = agent.act(observation, noise)
        observation, *_ = env.step(action)
        logprobs.append(logprob)
    return torch.stack(logprobs, 1)
