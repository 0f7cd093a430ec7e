"""A world model in training: it acts in an environment and is asked again about what it did.

- `Policy`: agents, log-probs and velocities of one world model, token or diffusion.
- `QuietEnd`: a noise kernel whose last step adds no noise.
- `rows_of(trajectory, rows)`: some rows of a trajectory.
"""

from __future__ import annotations

import copy
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from worldgym.errors import InputError
from worldgym.models.diffusion.agent import DenoiseAgent
from worldgym.models.diffusion.noise_kernels import NoiseKernel
from worldgym.models.diffusion.trajectory import DenoiseTrajectory
from worldgym.models.token.agent import TokenAgent
from worldgym.models.token.trajectory import TokenTrajectory
from worldgym.models.world_model import WorldModel

Trajectory = TokenTrajectory | DenoiseTrajectory


class QuietEnd(NoiseKernel):
    """As `NoiseKernel`, but the step to sigma 0 is the Euler step: a reward sees frames without fresh noise.

    That step has no density, so its ratios are 1 and it teaches nothing.
    """

    def g(self, sigma: Tensor, sigma_next: Tensor) -> Tensor:
        """Diffusion coefficient, 0 where the step ends at 0."""
        return torch.where(sigma_next > 0, super().g(sigma, sigma_next), 0.0)


class Policy(nn.Module):
    """Acts with, and recomputes through, one world model. As a module, so that it can be distributed.

    Attributes:
        model: the `TokenModel` or `FrameDiffusion` in training.
        kind: "token" or "diffusion".

    Args:
        world: a loaded world model; its weights are trained in place.
        kernel: of stochastic denoising steps; for a token model it is not looked at.
        top_p, temperature: of token steps.
    """

    def __init__(self, world: WorldModel, kernel: NoiseKernel | None = None, top_p: float = 1.0, temperature: float = 1.0):
        super().__init__()
        self.kind, self.model = world.kind, world.model.requires_grad_(True)
        self.kernel, self.top_p, self.temperature = kernel or NoiseKernel("flow-grpo"), top_p, temperature

    def agent(self, env: Any, model: nn.Module | None = None) -> TokenAgent | DenoiseAgent:
        """A fresh agent for an environment, with this model's weights or those of `model`."""
        core = env.unwrapped
        if {"token": "codes", "diffusion": "z"}[self.kind] not in core.single_observation_space.spaces:
            raise InputError(f"a {self.kind} model cannot play {type(core).__name__}; choose the other environment")
        model = model or self.model
        if self.kind == "token":
            return TokenAgent(model, core.schedule, self.top_p, self.temperature)
        return DenoiseAgent(model, self.kernel)

    def forward(
        self,
        trajectory: Trajectory,
        steps: Sequence[int] | None = None,
        noisy: Tensor | None = None,
        sigma: Tensor | None = None,
        clips: Sequence[int] | None = None,
        logits: bool = False,
    ) -> Tensor:
        """Ask again about a trajectory, differentiable; one entrance, because distribution hooks into it.

        Args:
            trajectory: of B rows.
            steps: S step numbers -> logprob_sum (B, S) float32.
            noisy: or S noisy clips (B, S, c, C, h, w) -> their velocities, same shape, each given the frames before it.
            sigma: (B, S) their noise levels.
            clips: their numbers in the episode.
            logits: or, of a token model, the logits of all codes (B, N, L, V).
        """
        if logits:
            return self._asker(trajectory).logits(trajectory).clone()
        if noisy is None:
            # a copy: sharding hooks into what comes out and must not find a view
            return self._asker(trajectory).logprob(trajectory, list(steps)).clone()
        size, first = noisy.shape[2], trajectory.prefix
        spans = [(first + n * size, first + (n + 1) * size) for n in clips]
        clean = trajectory.latents[:, : max(start for start, _ in spans)]
        each = sigma.repeat_interleave(size, 1)
        v = self.model.velocities(clean, noisy.flatten(1, 2), each, trajectory.actions, spans, prefix=first)
        return v.unflatten(1, noisy.shape[1:3]).clone()

    def dimensions(self, trajectory: Trajectory) -> int:
        """D, numbers that one step draws: 1 for a code, c C h w for a clip of latents."""
        return 1 if self.kind == "token" else math.prod(trajectory.path.shape[3:])

    def trained_steps(self, trajectory: Trajectory, clips: Sequence[int]) -> list[int]:
        """Numbers of the steps of some clips that have a density."""
        per_clip = steps_per_clip(trajectory)
        return [clip * per_clip + step for clip in clips for step in range(per_clip - self.quiet_end)]

    @property
    def quiet_end(self) -> bool:
        """Whether the last step of a clip draws nothing."""
        return self.kind == "diffusion" and (isinstance(self.kernel, QuietEnd) or self.kernel.name == "cps")

    def frozen_copy(self) -> Policy:
        """The policy as it is now, never to change: the reference of a divergence, or an old policy."""
        return copy.deepcopy(self).requires_grad_(False)

    def _asker(self, trajectory: Trajectory) -> TokenAgent | DenoiseAgent:
        if self.kind == "token":
            return TokenAgent(self.model, trajectory.schedule, self.top_p, self.temperature)
        return DenoiseAgent(self.model, self.kernel)


def steps_per_clip(trajectory: Trajectory) -> int:
    """Steps that make a clip (token: a frame)."""
    if isinstance(trajectory, TokenTrajectory):
        return len(trajectory.schedule.waves)
    return len(trajectory.sigmas) - 1


def clip_count(trajectory: Trajectory) -> int:
    """Finished clips."""
    if isinstance(trajectory, TokenTrajectory):
        return trajectory.codes.shape[1] - trajectory.prefix
    return trajectory.path.shape[1]


def rows_of(trajectory: Trajectory, rows: Sequence[int] | slice) -> Trajectory:
    """The trajectory of some rows."""
    values = {field.name: getattr(trajectory, field.name) for field in dataclasses.fields(trajectory)}
    return dataclasses.replace(trajectory, **{name: v[rows] for name, v in values.items() if isinstance(v, Tensor)})
