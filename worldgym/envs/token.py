"""Token step: an action is the next code of a frame, or all codes of a wave.

- `TokenVectorEnv`: batched torch tensors. `TokenEnv`: the batch of one, in numpy.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from worldgym.envs.base import WorldModelVectorEnv
from worldgym.envs.single import SingleEnv
from worldgym.models.token.code_schedule import schedule as code_schedule
from worldgym.models.token.trajectory import TokenTrajectory
from worldgym.types import Prompts


class TokenVectorEnv(WorldModelVectorEnv):
    """B rollouts of a token world model, code by code.

    Description: the prompt's first frames and all actions are given; the agent writes the codes of the frames that follow.
    Observation (Dict): "prefix" (P, H, W, 3) uint8; "actions" (T-1, A) int64; "codes" (T, L) int64, -1 where not written
    yet; "step", how many steps were taken.
    Action: in raster order Discrete(V), the next code. With a diagonal schedule MultiDiscrete of `schedule.width` codes, the
    cells `schedule.waves[step mod W]` in order; what is left over in a short wave is not looked at.
    Reward: 0; wrap the environment in a reward.
    Episode end: terminated when the last frame (or that of the reset option "clip") is complete; never truncated.
    Info: at reset "prompt_ids" and "seeds"; nothing at a step.

    Args:
        num_envs: B rows.
        codec: name or path of a frame codec, or one.
        prompts: see `worldgym.data.prompt_source.find_prompts`.
        prompt_seeds: world seeds of the prompts.
        prompt_recipe: of a run's very prompts, see `worldgym.data.prompt_recipe.PromptRecipe`; as in its env.json.
        frames: T, prefix included.
        prefix: P >= 1.
        schedule: "raster", "diagonal" or "diagonal-compat" (see `worldgym.models.token.code_schedule`).
        window: of the diagonal schedule.
        spec: action spec of the prompts.
        device: of all tensors.
        render_mode: None or "rgb_array".
    """

    codec_kind = "frame-codec"

    def __init__(
        self,
        num_envs: int = 1,
        codec: str | nn.Module = "doom-rooms/frame-codec",
        prompts: str | Prompts = "doom-rooms",
        prompt_seeds: Sequence[int] | None = None,
        frames: int = 16,
        prefix: int = 1,
        schedule: str = "raster",
        window: int = 2,
        spec: str = "doom",
        device: str | torch.device = "cpu",
        render_mode: str | None = None,
        prompt_recipe: Mapping[str, Any] | None = None,
    ):
        if isinstance(codec, str):
            from worldgym.zoo import load_codec

            codec = load_codec(codec, self.codec_kind, device)
        self.schedule = code_schedule(schedule, codec.grid, window)
        waves = len(self.schedule.waves)
        super().__init__(
            num_envs, codec, prompts, prompt_seeds, frames, prefix, 1, waves, spec, device, render_mode, prompt_recipe
        )
        codes, width = self.codec.codes, self.schedule.width
        written = spaces.Box(-1, codes - 1, (frames, math.prod(self.codec.grid)), np.int64)
        action = spaces.Discrete(codes) if width == 1 else spaces.MultiDiscrete([codes] * width)
        self._spaces(spaces.Dict({**self._shared_spaces(), "codes": written}), action)
        self._codes, self._range = codes, f"a code of the actions is out of range: codes go from 0 to {codes - 1}"

    def trajectory(self) -> TokenTrajectory:
        """The finished frames, for `TokenAgent.logprob`."""
        done = self.frames_done
        codes = self._rows["codes"][:, :done].clone()
        return TokenTrajectory(codes, self.actions[:, : done - 1], self.prefix, self.schedule)

    def _begin(self, prefix: Tensor) -> None:
        codes = torch.full((self.num_envs, self.frames, prefix.shape[2]), -1, device=self.device)
        codes[:, : self.prefix] = prefix
        self._rows["codes"] = codes
        self._cells = [torch.tensor(cells, device=self.device) for cells in self.schedule.waves]

    def _advance(self, actions: Tensor) -> None:
        # select and copy_, because an indexed assignment takes twice as long and a step of a small model is short
        frame, wave = divmod(self._step, self.steps_per_clip)
        written = self._rows["codes"].select(1, self.prefix + frame)
        if self.schedule.width == 1:
            written.select(1, self.schedule.waves[wave][0]).copy_(actions)
        else:
            written.index_copy_(1, self._cells[wave], actions)

    def _checked(self, actions: Tensor | np.ndarray) -> Tensor:
        """(B,) in raster order, (B, n) for the n cells of a wave."""
        width = self.schedule.width
        actions = self._tensor(actions, (self.num_envs,) if width == 1 else (self.num_envs, width), torch.int64)
        if width > 1:
            actions = actions[:, : len(self.schedule.waves[self._step % self.steps_per_clip])]
        self._refuse(self._outside(actions), self._range)
        return actions

    def _outside(self, actions: Tensor) -> Tensor | bool:
        """Whether any action is no code."""
        if actions.device.type != "cpu":
            return ((actions < 0) | (actions >= self._codes)).any()
        numbers = actions.flatten().tolist()  # few of them: Python compares faster than four calls of torch
        return min(numbers) < 0 or max(numbers) >= self._codes

    def _observation(self) -> dict[str, Tensor]:
        return {**self._shared_observation(), "codes": self._rows["codes"]}

    def _played(self) -> Tensor:
        return self._rows["codes"]


class TokenEnv(SingleEnv):
    """One rollout of a token world model: `TokenVectorEnv` with a batch of one, in numpy.

    Observation, action, reward and episode end as there, without the batch axis; arguments as there but `num_envs`.
    """

    core_class = TokenVectorEnv
