"""The frame-diffusion world model as a policy: `DenoiseAgent`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.models.diffusion.clip_rollout import ClipRollout, guided_velocity
from worldgym.models.diffusion.frame_diffusion import FrameDiffusion
from worldgym.models.diffusion.noise_kernels import Gaussian, NoiseKernel, kernel
from worldgym.models.diffusion.trajectory import DenoiseTrajectory
from worldgym.models.layers import observation as forms
from worldgym.rng import RowNoise


class DenoiseAgent:
    """Draws the next noisy version of a clip; one agent per environment, because it remembers what it has read.

    A new episode is noticed by its step number; a step out of order or another batch makes the agent read anew.

    Args:
        model: the policy; update its parameters between episodes, as the cache keeps what older ones made.
        noise: name of a `NoiseKernel`, or one.
        guidance: w of action guidance, a number or one per row (B,); see `clip_rollout.guided_velocity`.
    """

    def __init__(self, model: FrameDiffusion, noise: str | NoiseKernel = "flow-grpo", guidance: float | Tensor = 0.0):
        self.model, self.kernel, self.guidance = model, kernel(noise), guidance
        self._rollout: ClipRollout | None = None
        self._next: tuple[int, int] | None = None  # step and batch that the rollout is ready for

    @torch.no_grad()
    def act(self, observation: dict[str, Any], noise: RowNoise) -> tuple[Any, Tensor]:
        """The next version of the clip in work and its log-prob.

        Args:
            observation: of a denoise environment, batched tensors or the numpy face's.
            noise: one stream per row; not touched where the kernel adds no noise.

        Returns:
            The action (B, c, C, h, w) float32 (numpy for a numpy observation), and logprob_sum (B,) float64.
        """
        ahead = self.propose(observation)
        rows, frames, *cell = ahead.mean.shape
        if len(noise) != rows:
            raise InputError(f"noise has {len(noise)} rows, but the observation has {rows}; give one seed per row")
        action = ahead.mean
        if self.kernel.level:
            drawn = [noise.normal(*cell) for _ in range(frames)]
            action = ahead.sample(torch.stack(drawn, dim=1).to(action.device))
        return forms.like(observation, action), ahead.logprob_sum(action)

    @torch.no_grad()
    def propose(self, observation: dict[str, Any]) -> Gaussian:
        """What the next version of the clip is drawn from, mean (B, c, C, h, w); ask once per step."""
        seen = forms.batched(observation, self.model)
        step, frame, z = int(seen["step"][0]), int(seen["frame"][0]), seen["z"]
        sigma, sigma_next = seen["sigma"][0].tolist()
        self._follow(seen, step, frame)
        led_by = seen["actions"][:, frame - 1 : frame - 1 + z.shape[1]]
        v = guided_velocity(self._rollout, z, sigma, led_by, self.guidance)
        self._next = (step + 1, len(z))
        return self.kernel.step(z, v, sigma, sigma_next)

    def logprob(self, trajectory: DenoiseTrajectory, steps: Sequence[int] | None = None) -> Tensor:
        """logprob_sum of steps in one pass, differentiable: (B, S) float64.

        Args:
            trajectory: of a denoise environment.
            steps: S step numbers; all when left out.

        Raises:
            InputError: the agent is guided; what is differentiated is the model itself.
        """
        if torch.as_tensor(self.guidance).any():
            raise InputError("log-probs of guided steps cannot be recomputed; set guidance=0, or train with nft")
        count, levels = trajectory.path.shape[1], len(trajectory.sigmas) - 1
        steps = range(count * levels) if steps is None else [int(step) for step in steps]
        now = torch.stack([trajectory.path[:, s // levels, s % levels] for s in steps], 1)
        after = torch.stack([trajectory.path[:, s // levels, s % levels + 1] for s in steps], 1)
        sigmas = now.new_tensor([[trajectory.sigmas[s % levels + i] for s in steps] for i in (0, 1)])
        v = self._velocities(trajectory, now, sigmas[0], [s // levels for s in steps])
        sigma, sigma_next = (row.expand(now.shape[:2]) for row in sigmas)
        return self.kernel.step(now, v, sigma, sigma_next).logprob_sum(after, lead=2)

    def fork(self, groups: int) -> DenoiseAgent:
        """An agent for `env.fork(groups)`, with the cache of what it has read so far."""
        guidance = self.guidance.repeat_interleave(groups) if isinstance(self.guidance, Tensor) else self.guidance
        other = DenoiseAgent(self.model, self.kernel, guidance)
        if self._rollout is not None and self._next is not None:
            other._rollout, other._next = self._rollout.fork(groups), (self._next[0], self._next[1] * groups)
        return other

    def _velocities(self, trajectory: DenoiseTrajectory, now: Tensor, sigma: Tensor, clips: list[int]) -> Tensor:
        """(B, S, c, C, h, w) noisy clips at sigma (S,), number `clips` (S,) of the episode -> velocities, same shape."""
        size, prefix = now.shape[2], trajectory.prefix
        spans = [(prefix + n * size, prefix + (n + 1) * size) for n in clips]
        clean = trajectory.latents[:, : max(start for start, _ in spans)]
        each = sigma.repeat_interleave(size).expand(len(now), -1)
        v = self.model.velocities(clean, now.flatten(1, 2), each, trajectory.actions, spans, prefix=prefix)
        return v.unflatten(1, now.shape[1:3])

    def _follow(self, seen: dict[str, Tensor], step: int, frame: int) -> None:
        latents, actions, size = seen["latents"], seen["actions"], seen["z"].shape[1]
        if not step or self._next != (step, len(latents)):
            prefix = seen["prefix"].shape[1]
            self._rollout = ClipRollout(self.model, latents[:, :prefix], actions[:, : prefix - 1], latents.shape[1])
        for start in range(self._rollout.frames, frame, size):
            self._rollout.append(latents[:, start : start + size], actions[:, start - 1 : start - 1 + size])
