"""Training on the model's own videos: the context is what the model made, the target is what was true.

- `OwnRollouts`: a pool of rollouts, made anew every few steps; `batch(module, step, share)`.

Under teacher forcing a world model never sees its own mistakes, and they pile up over a video (exposure bias). Here it starts
from true first frames, plays the true actions with few denoising steps and without gradient, and then learns to lead that
video back to the true next frame (as DIAMOND trains on unrolled frames, arXiv 2405.12399, and Self Forcing on its own
rollouts, arXiv 2506.08009). The game is deterministic, so the true frames are the right target for any video that has
kept to its actions.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import nn

from worldgym import rng
from worldgym.models.diffusion import flow
from worldgym.models.diffusion.clip_rollout import ClipRollout, denoise
from worldgym.models.diffusion.samplers import Euler
from worldgym.pretrain import precision
from worldgym.pretrain.config import DiffusionRunConfig
from worldgym.pretrain.windows import Windows

BATCHES = 16  # in a pool
USES = 2 * BATCHES  # steps that it serves, with other noise on the targets the second time
STEPS = 4  # denoising steps of a rollout
GIVEN = (1, 1, 2, 4)  # true frames at the beginning, one of these


@dataclasses.dataclass(frozen=True, eq=False)
class OwnBatch:
    """Windows and the model's own video of them.

    Attributes:
        latents: (B, T, C, h, w) true. actions: (B, T-1, A).
        seen: (B, T, C, h, w) the model's, beginning with true frames.
    """

    latents: torch.Tensor
    actions: torch.Tensor
    seen: torch.Tensor


class OwnRollouts:
    """A pool of batches of rollouts, made by the weights of the moment.

    Args:
        config: `rollouts` is the share of steps that use it, `rollouts_from` the share of the budget it begins at.
        windows: the data.
        device: where the model is.
    """

    def __init__(self, config: DiffusionRunConfig, windows: Windows, device: torch.device):
        self.config, self.windows, self.device = config, windows, device
        self._pool: dict[str, torch.Tensor] = {}
        self._used = USES

    def batch(self, module: nn.Module, step: int, share: float) -> OwnBatch | None:
        """The step's batch, or None where the step takes true context."""
        if share < self.config.rollouts_from:
            return None
        if rng.generator(self.config.seed, "own", step).random() >= self.config.rollouts:
            return None
        if self._used >= USES:
            self._fill(module, step)
        place = self._used % BATCHES
        rows = slice(place * self._rows, (place + 1) * self._rows)
        self._used += 1
        return OwnBatch(*(self._pool[name][rows].float() if name != "actions" else self._pool[name][rows] for name in PARTS))

    def state(self) -> dict[str, torch.Tensor]:
        """The pool and how far it is used."""
        return {**self._pool, "used": torch.tensor(self._used)}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """Take over what `state` gave."""
        tensors = dict(tensors)
        self._used = int(tensors.pop("used", torch.tensor(USES)))
        self._pool = {name: tensor.to(self.device) for name, tensor in tensors.items()}

    @property
    def _rows(self) -> int:
        return max(1, self.config.batch_frames // self.windows.longest)

    @torch.no_grad()
    def _fill(self, module: nn.Module, step: int) -> None:
        length, count = self.windows.longest, BATCHES * self._rows
        latents, actions = self.windows.draw("pool", step, count, length)
        noise = torch.Generator(self.device).manual_seed(rng.torch_seed(self.config.seed, "pool", step))
        given = int(np.asarray(GIVEN)[rng.generator(self.config.seed, "given", step).integers(len(GIVEN))])
        with precision.eager():
            seen = unroll(module, latents, actions, given, noise)
        self._pool = {"latents": latents.half(), "actions": actions, "seen": seen.half()}
        self._used = 0


PARTS = tuple(field.name for field in dataclasses.fields(OwnBatch))


def unroll(
    module: nn.Module, latents: torch.Tensor, actions: torch.Tensor, given: int, noise: torch.Generator, steps: int = STEPS
) -> torch.Tensor:
    """The model's own video, frame by frame, of (B, T, C, h, w) true latents and (B, T-1, A) actions: (B, T, C, h, w).

    Args:
        module: a `FrameDiffusion` with clips of 1 frame.
        given: true frames at the beginning.
        noise: on the latents' device.
        steps: Euler steps per frame.
    """
    frames = latents.shape[1]
    rollout = ClipRollout(module, latents[:, :given], actions[:, : given - 1], frames, graphs=False)
    video, grid = [latents[:, :given]], flow.time_grid(steps)
    for index in range(given, frames):
        led_by = actions[:, index - 1 : index]
        z = torch.randn(latents[:, :1].shape, generator=noise, device=latents.device)
        frame = denoise(rollout, z, led_by, grid, Euler())
        video.append(frame)
        if index + 1 < frames:
            rollout.append(frame, led_by)
    return torch.cat(video, dim=1)
