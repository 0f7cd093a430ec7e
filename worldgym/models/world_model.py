"""One face for both families of world model: frames in, frames out.

- `WorldModel`: a codec and a token or diffusion model; `generate`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from worldgym import actions as action_specs
from worldgym.errors import InputError
from worldgym.models.token import wave_reader
from worldgym.models.token.code_schedule import schedule as code_schedule
from worldgym.rng import RowNoise


class WorldModel:
    """A world model with its codec.

    Attributes:
        name: as it was asked for, as in "doom-rooms/token-nano".
        kind: "token" or "diffusion".
        model: `TokenModel` or `FrameDiffusion`.
        codec: `FrameCodec` or `LatentCodec`, between frames and what the model works on.
        spec: the action spec.

    Raises:
        InputError: model and codec do not fit each other.
    """

    def __init__(self, name: str, kind: str, model: nn.Module, codec: nn.Module):
        self.name, self.kind, self.model, self.codec = name, kind, model, codec
        self.spec = action_specs.spec(model.config.spec)
        self._check_codec()

    def __repr__(self) -> str:
        millions = sum(parameter.numel() for parameter in self.model.parameters()) / 1e6
        return f"WorldModel({self.name!r}, {self.kind}, {millions:.1f} M parameters, on {self.device})"

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    @torch.no_grad()
    def generate(
        self, prefix: Tensor | np.ndarray, actions: Tensor | np.ndarray, seeds: Sequence[int], **sampling: Any
    ) -> Tensor:
        """Continue clips by one frame per action.

        Args:
            prefix: (B, P, H, W, 3) uint8 RGB, the frames that are given.
            actions: (B, T-1, A) int; the first P-1 lie inside the prefix.
            seeds: B integers; a row depends on its own seed, never on its neighbours.
            sampling: goes to the model's `generate`: `top_p`, `temperature` (token); `steps`, `sampler` (diffusion). A token
                model also takes `schedule` ("raster", "diagonal", "diagonal-compat") and its `window`.

        Returns:
            (B, T, H, W, 3) uint8 on the CPU, with the prefix as it was given.
        """
        prefix, actions = torch.as_tensor(prefix).cpu(), self.spec.check(np.asarray(torch.as_tensor(actions).cpu()))
        self._check(prefix, actions, seeds)
        # Row by row through the codec: little memory, and a batch equals its singles.
        codes = torch.stack([self.codec.encode(row.to(self.device)) for row in prefix])
        actions = torch.from_numpy(actions).to(self.device)
        codes = self._continue(codes, actions, RowNoise(seeds, self.device), **sampling)
        frames = torch.stack([self.codec.decode(row[prefix.shape[1] :]).cpu() for row in codes])
        return torch.cat([prefix, frames], dim=1)

    def _continue(
        self, codes: Tensor, actions: Tensor, noise: RowNoise, schedule: str = "raster", window: int = 2, **sampling: Any
    ) -> Tensor:
        if schedule == "raster":
            return self.model.generate(codes, actions, noise, **sampling)
        if self.kind != "token":
            raise InputError(f"a schedule is for token models, but {self.name!r} is a {self.kind} model")
        waves = code_schedule(schedule, self.codec.grid, window)
        return wave_reader.generate(self.model, codes, actions, noise, waves, **sampling)

    def _check(self, prefix: Tensor, actions: np.ndarray, seeds: Sequence[int]) -> None:
        if prefix.ndim != 5 or prefix.shape[-1] != 3 or prefix.dtype != torch.uint8 or not prefix.shape[1]:
            raise InputError(f"prefix is {prefix.dtype} {list(prefix.shape)}, but must be uint8 (B, P, H, W, 3) with P >= 1")
        size = (self.codec.config.height, self.codec.config.width)
        if tuple(prefix.shape[2:4]) != size:
            raise InputError(f"prefix has frames of {list(prefix.shape[2:4])} pixels, the codec reads {list(size)}")
        if actions.ndim != 3 or len(actions) != len(prefix) or actions.shape[1] < prefix.shape[1]:
            raise InputError(
                f"actions have shape {list(actions.shape)}, but a prefix of shape {list(prefix.shape)} needs (B, T-1, A) "
                f"with B = {len(prefix)} and T-1 >= {prefix.shape[1]}"
            )
        if len(seeds) != len(prefix):
            raise InputError(f"{len(seeds)} seeds came for {len(prefix)} clips; give one integer per clip")

    def _check_codec(self) -> None:
        config, codec = self.model.config, self.codec
        if self.kind == "token":
            wanted, found = (config.codes, config.codes_per_frame), (codec.codes, math.prod(codec.grid))
        else:
            wanted, found = (config.channels, *config.grid), (codec.channels, *codec.grid)
        if wanted != found:
            words = "codes and codes per frame" if self.kind == "token" else "channels and grid"
            raise InputError(f"the codec does not fit {self.name!r}: its {words} are {found}, the model needs {wanted}")
