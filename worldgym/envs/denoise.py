"""Denoise step: an action is the next, less noisy version of the clip in work.

- `DenoiseVectorEnv`: batched torch tensors. `DenoiseEnv`: the batch of one, in numpy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from worldgym.envs.base import WorldModelVectorEnv
from worldgym.envs.single import SingleEnv
from worldgym.models.diffusion import flow
from worldgym.models.diffusion.trajectory import DenoiseTrajectory
from worldgym.rng import RowNoise
from worldgym.types import Prompts

BOUND = 20.0  # of the spaces; latents and noise have unit variance, so this is a scale and no limit: larger values pass


class DenoiseVectorEnv(WorldModelVectorEnv):
    """B rollouts of a diffusion world model, one denoising step at a time, clip after clip.

    Description: the prompt's first frames and all actions are given; every clip starts as noise that the environment draws
    (stream b is `RowNoise(seeds)[b]`, frames in order), and K steps lead it to data.
    Observation (Dict): "prefix" (P, H, W, 3) uint8; "actions" (T-1, A) int64; "latents" (T, C, h, w), finished frames, 0
    after them; "z" (c, C, h, w), the clip in work; "sigma" (2,), its noise level and the next; "frame", its first frame;
    "step", how many steps were taken. After the end z is 0 and sigma (0, 0).
    Action: Box (c, C, h, w), z at the next noise level.
    Reward: 0; wrap the environment in a reward.
    Episode end: terminated when the last clip (or that of the reset option "clip") is clean; never truncated.
    Info: at reset "prompt_ids" and "seeds"; nothing at a step.

    Args:
        num_envs: B rows.
        codec: name or path of a latent codec, or one.
        prompts: see `worldgym.data.prompt_source.find_prompts`.
        prompt_seeds: world seeds of the prompts.
        prompt_recipe: of a run's very prompts, see `worldgym.data.prompt_recipe.PromptRecipe`; as in its env.json.
        frames: T, prefix included.
        prefix: P >= 1.
        clip_frames: c, frames that are denoised together; the model's `clip`.
        steps: K per clip.
        shift: of the time grid, see `worldgym.models.diffusion.flow.time_grid`.
        spec: action spec of the prompts.
        device: of all tensors.
        render_mode: None or "rgb_array".
    """

    codec_kind = "latent-codec"

    def __init__(
        self,
        num_envs: int = 1,
        codec: str | nn.Module = "doom-rooms/latent-codec",
        prompts: str | Prompts = "doom-rooms",
        prompt_seeds: Sequence[int] | None = None,
        frames: int = 16,
        prefix: int = 1,
        clip_frames: int = 1,
        steps: int = 10,
        shift: float = 1.0,
        spec: str = "doom",
        device: str | torch.device = "cpu",
        render_mode: str | None = None,
        prompt_recipe: Mapping[str, Any] | None = None,
    ):
        self.sigmas = flow.time_grid(steps, shift)
        super().__init__(
            num_envs,
            codec,
            prompts,
            prompt_seeds,
            frames,
            prefix,
            clip_frames,
            steps,
            spec,
            device,
            render_mode,
            prompt_recipe,
        )
        self._cell = (self.codec.channels, *self.codec.grid)
        z = spaces.Box(-BOUND, BOUND, (clip_frames, *self._cell), np.float32)
        own = {
            "latents": spaces.Box(-BOUND, BOUND, (frames, *self._cell), np.float32),
            "z": z,
            "sigma": spaces.Box(0, 1, (2,), np.float32),
            "frame": spaces.Discrete(frames + 1),
        }
        self._spaces(spaces.Dict({**self._shared_spaces(), **own}), z)

    def trajectory(self) -> DenoiseTrajectory:
        """The finished clips, for `DenoiseAgent.logprob`."""
        done, rows = self.frames_done, self._rows
        latents, path = rows["latents"][:, :done].clone(), rows["path"][:, : self.clip].clone()
        return DenoiseTrajectory(latents, self.actions[:, : done - 1], self.prefix, path, self.sigmas)

    def _begin(self, prefix: Tensor) -> None:
        rows, clip = self.num_envs, (self.clip_frames, *self._cell)
        latents = torch.zeros(rows, self.frames, *self._cell, device=self.device)
        latents[:, : self.prefix] = prefix
        self._rows["latents"] = latents
        self._rows["path"] = torch.zeros(rows, self.clips, self.steps_per_clip + 1, *clip, device=self.device)
        self._noise = RowNoise(self.seeds, self.device)
        self._draw(0)

    def _draw(self, clip: int) -> None:
        """Put fresh noise at the start of a clip; frame by frame, as `FrameDiffusion.generate` draws it."""
        for frame in range(self.clip_frames):
            self._rows["path"][:, clip, 0, frame] = self._noise.normal(*self._cell)

    def _advance(self, actions: Tensor) -> None:
        clip, k = divmod(self._step, self.steps_per_clip)
        self._rows["path"][:, clip, k + 1] = actions
        if k + 1 < self.steps_per_clip:
            return
        start = self.frames_done
        self._rows["latents"][:, start : start + self.clip_frames] = actions
        if self._step + 1 < self.steps:
            self._draw(clip + 1)

    def _forked(self) -> None:
        self._noise = RowNoise(self.seeds, self.device)
        if self._step % self.steps_per_clip == 0 and not self.finished:
            self._draw(self.clip)  # a fork between clips gives every copy its own start

    def _checked(self, actions: Tensor | np.ndarray) -> Tensor:
        actions = self._tensor(actions, (self.num_envs, self.clip_frames, *self._cell), torch.float32)
        self._refuse(~actions.isfinite().all(), "the actions hold a value that is not a finite number (NaN or infinity)")
        return actions

    def _observation(self) -> dict[str, Tensor]:
        clip, k = divmod(self._step, self.steps_per_clip)
        if self.finished:
            z, pair = torch.zeros_like(self._rows["path"][:, 0, 0]), (0.0, 0.0)
        else:
            z, pair = self._rows["path"][:, clip, k], self.sigmas[k : k + 2]
        own = {
            "latents": self._rows["latents"],
            "z": z,
            "sigma": torch.tensor(pair).expand(self.num_envs, 2),
            "frame": torch.full((self.num_envs,), self.frames_done),
        }
        return {**self._shared_observation(), **own}

    def _played(self) -> Tensor:
        return self._rows["latents"]


class DenoiseEnv(SingleEnv):
    """One rollout of a diffusion world model: `DenoiseVectorEnv` with a batch of one, in numpy.

    Observation, action, reward and episode end as there, without the batch axis; arguments as there but `num_envs`.
    """

    core_class = DenoiseVectorEnv
