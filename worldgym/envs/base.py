"""What the two batched environments share: prompts, seeds, the clock, lazily decoded frames, fork.

- `WorldModelVectorEnv`: a `gymnasium.vector.VectorEnv` of torch tensors on one device. It never runs a world model.
"""

from __future__ import annotations

import abc
import copy
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from torch import Tensor, nn

from worldgym import actions as action_specs
from worldgym import zoo
from worldgym.data.prompt_source import find_prompts
from worldgym.envs.options import ResetOptions
from worldgym.errors import InputError
from worldgym.rng import torch_seed
from worldgym.types import Prompts

FPS = 35 / 6  # of doom-rooms


class WorldModelVectorEnv(VectorEnv, abc.ABC):
    """B rollouts in step. Rows begin and end together; autoreset is DISABLED: call `reset` after the end.

    Observations hold the environment's own tensors, written in place at every step and new at every reset: clone what
    you want to keep. Pictures, actions, codes and latents are on `device`; the clocks ("step", "frame", "sigma") stay on the
    CPU, where they are read without waiting for a GPU.

    Attributes:
        prompts: the tasks. codec: between frames and what is played. device: of all tensors.
        frames, prefix: T and P. clips: N, clips that an episode makes, of clip_frames each. steps_per_clip: steps for each.
        steps: length of the present episode. finished: whether it is over. seeds: (B,) one per row.
        clip: the clip now in work, 0 is the first that is made.
        group_size: G, rows that are compared with each other stand side by side: rollouts of a prompt, or forks of a row.
        actions: (B, T-1, A) int64. prompt_ids: (B,) names.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": FPS, "autoreset_mode": AutoresetMode.DISABLED}
    codec_kind: str

    def __init__(
        self,
        num_envs: int,
        codec: str | nn.Module,
        prompts: str | Prompts,
        prompt_seeds: Sequence[int] | None,
        frames: int,
        prefix: int,
        clip_frames: int,
        steps_per_clip: int,
        spec: str,
        device: str | torch.device,
        render_mode: str | None,
        prompt_recipe: Mapping[str, Any] | None = None,
    ):
        if num_envs < 1:
            raise InputError(f"num_envs is {num_envs}, but an environment needs at least 1 row")
        if not 1 <= prefix < frames or (frames - prefix) % clip_frames:
            raise InputError(
                f"frames is {frames} and prefix is {prefix}: at least 1 frame must be given, and what is left must be a "
                f"multiple of the clip's {clip_frames}"
            )
        if render_mode not in (None, "rgb_array"):
            raise InputError(f"render_mode is {render_mode!r}, but this environment knows None and 'rgb_array'")
        self.num_envs, self.device, self.render_mode = num_envs, torch.device(device), render_mode
        self.frames, self.prefix, self.clip_frames, self.steps_per_clip = frames, prefix, clip_frames, steps_per_clip
        self.clips = (frames - prefix) // clip_frames
        self.action_spec = action_specs.spec(spec)
        self.codec = zoo.load_codec(codec, self.codec_kind, device) if isinstance(codec, str) else codec.to(device)
        self.prompts = find_prompts(prompts, prompt_seeds, frames, prefix, prompt_recipe)
        self._check_prompts()
        self._rows: dict[str, Tensor] = {}  # everything that has one entry per row; `fork` repeats it
        self._step, self.steps, self.group_size = 0, 0, 1

    # --- Gymnasium -------------------------------------------------------------------------------------------------------

    def reset(
        self, *, seed: int | Sequence[int] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Start an episode in every row.

        Args:
            seed: row b gets seed + b; or B seeds; None draws them from the environment's generator.
            options: see `worldgym.envs.options.ResetOptions`.
        """
        super().reset(seed=seed if isinstance(seed, int) else None)
        read = ResetOptions.read(options, self.num_envs, self.clips)
        self.seeds = self._row_seeds(seed)
        self._choice = read.choose(self.prompts.ids, self.seeds)
        self.group_size = read.group_size
        if read.same_noise:
            self.seeds = [self.seeds[row - row % read.group_size] for row in range(self.num_envs)]
        self._step, self.steps = 0, self.steps_per_clip * (self.clips if read.clip is None else read.clip + 1)
        self._rows = {
            "actions": torch.from_numpy(self.prompts.actions[self._choice].astype(np.int64)).to(self.device),
            "prefix": torch.from_numpy(self.prompts.prefix[self._choice]).to(self.device),
        }
        self._decoded: list[Tensor] = []
        self._bad = torch.zeros((), dtype=torch.bool, device=self.device)
        # row by row through the codec, so that a batch equals its singles; a group shares its prompt
        encoded = torch.stack([self.codec.encode(row) for row in self._rows["prefix"][:: read.group_size]])
        self._begin(encoded.repeat_interleave(read.group_size, 0))
        self._constants()
        return self._observation(), {"prompt_ids": self.prompt_ids, "seeds": tuple(self.seeds)}

    def step(self, actions: Tensor | np.ndarray) -> tuple[dict[str, Tensor], Tensor, Tensor, Tensor, dict[str, Any]]:
        """One step of every row.

        Returns:
            Observation; reward (B,) float32, 0 (rewards are wrappers); terminated (B,) bool; truncated (B,) bool; info.

        Raises:
            InputError: the episode is over or never began, or the actions have the wrong shape, dtype, device or values.
                On a GPU, values are looked at when the episode ends, so that no step waits for it.
        """
        if self.finished:
            raise InputError(
                "the episode is over (autoreset is disabled): call reset() before the next step"
                if self.steps
                else "no episode has begun: call reset() before the first step"
            )
        self._advance(self._checked(actions))
        self._step += 1
        if self.finished and bool(self._bad):
            raise InputError("an action of this episode was not a number or out of range")
        return self._observation(), self._zero, self._over[int(self.finished)], self._over[0], {}

    def render(self) -> tuple[np.ndarray, ...] | None:
        """The last finished frame of every row, B times (H, W, 3) uint8; None without a render mode."""
        if self.render_mode is None:
            return None
        return tuple(self.video()[:, -1].cpu().numpy())

    def fork(self, groups: int, first: int = 0) -> WorldModelVectorEnv:
        """Continue G times from here: row b becomes rows b G to b G + G - 1 of a new environment; this one stays as it is.

        Forked rows have seeds of their own, derived from their row's seed, the step and their number, which counts from
        `first`: processes that share the members of a group give each its own numbers.
        """
        if groups < 1 or not self.steps:
            raise InputError(f"fork({groups}) needs a running episode and at least 1 group")
        self.video()  # decoded here once, not in each of G rows later
        other = copy.copy(self)
        other.num_envs, other.group_size = self.num_envs * groups, groups
        other._rows = {name: rows.repeat_interleave(groups, 0) for name, rows in self._rows.items()}
        other._decoded = [frames.repeat_interleave(groups, 0) for frames in self._decoded]
        other._choice = [index for index in self._choice for _ in range(groups)]
        other.seeds = [
            torch_seed(seed, "fork", self._step, group) for seed in self.seeds for group in range(first, first + groups)
        ]
        other._bad = self._bad.clone()
        other._spaces()
        other._constants()
        other._forked()
        return other

    # --- for rewards and trainers ------------------------------------------------------------------------------------------

    @property
    def finished(self) -> bool:
        """Whether the episode is over (or never began)."""
        return self._step >= self.steps

    @property
    def clip(self) -> int:
        """The clip now in work; the number of finished clips."""
        return self._step // self.steps_per_clip

    @property
    def clip_done(self) -> bool:
        """Whether the last step finished a clip."""
        return self._step > 0 and self._step % self.steps_per_clip == 0

    @property
    def frames_done(self) -> int:
        """Finished frames, prefix included."""
        return self.prefix + self.clip * self.clip_frames

    @property
    def prompt_ids(self) -> tuple[str, ...]:
        """(B,) names of the rows' prompts."""
        return tuple(self.prompts.ids[index] for index in self._choice)

    @property
    def actions(self) -> Tensor:
        """(B, T-1, A) int64 on the device."""
        return self._rows["actions"]

    def observation(self) -> dict[str, Tensor]:
        """What the last `reset` or `step` returned; of a forked environment, where to go on."""
        return self._observation()

    def video(self) -> Tensor:
        """(B, F, H, W, 3) uint8 on the device: the prefix as given and all finished frames, decoded once each."""
        done = self.prefix + sum(frames.shape[1] for frames in self._decoded)
        if done < self.frames_done:
            played = self._played()[:, done : self.frames_done]
            self._decoded.append(torch.stack([self.codec.decode(row) for row in played]))
        return torch.cat([self._rows["prefix"], *self._decoded], dim=1)

    def truth(self) -> Tensor:
        """(B, F, H, W, 3) uint8 on the device: what truly happened, as many frames as `video` has."""
        return torch.from_numpy(self.prompts.truth[self._choice][:, : self.frames_done]).to(self.device)

    # --- what the two environments say themselves --------------------------------------------------------------------------

    @abc.abstractmethod
    def _begin(self, prefix: Tensor) -> None:
        """Set up the rows of an episode from the encoded prefix (B, P, …)."""

    @abc.abstractmethod
    def _advance(self, actions: Tensor) -> None:
        """Book one step."""

    @abc.abstractmethod
    def _observation(self) -> dict[str, Tensor]: ...

    @abc.abstractmethod
    def _played(self) -> Tensor:
        """(B, T, …) codes or latents, filled up to the finished frames."""

    @abc.abstractmethod
    def _checked(self, actions: Tensor | np.ndarray) -> Tensor:
        """Actions as a tensor on the device, or a sentence about what is wrong with them."""

    def _forked(self) -> None:
        """Called on a fork when its rows are there."""

    # --- helpers -----------------------------------------------------------------------------------------------------------

    def _spaces(self, observation: spaces.Dict | None = None, action: spaces.Space | None = None) -> None:
        if observation is not None:
            self.single_observation_space, self.single_action_space = observation, action
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)

    def _shared_spaces(self) -> dict[str, spaces.Space]:
        sizes = np.tile(np.array(self.action_spec.sizes), (self.frames - 1, 1))
        picture = (self.prefix, *self.prompts.prefix.shape[2:])
        return {
            "prefix": spaces.Box(0, 255, picture, np.uint8),
            "actions": spaces.MultiDiscrete(sizes),
            "step": spaces.Discrete(self.steps_per_clip * self.clips + 1),
        }

    def _shared_observation(self) -> dict[str, Tensor]:
        return {
            "prefix": self._rows["prefix"],
            "actions": self._rows["actions"],
            "step": self._clocks[self._step],
        }

    def _constants(self) -> None:
        self._zero = torch.zeros(self.num_envs, device=self.device)
        self._over = [torch.full((self.num_envs,), over, device=self.device) for over in (False, True)]
        self._clocks = torch.arange(self.steps + 1)[:, None].expand(-1, self.num_envs).unbind()  # made once, not at every step

    def _row_seeds(self, seed: int | Sequence[int] | None) -> list[int]:
        if seed is None:
            return [int(self.np_random.integers(2**31)) for _ in range(self.num_envs)]
        if isinstance(seed, int):
            return [seed + row for row in range(self.num_envs)]
        if len(seed) != self.num_envs:
            raise InputError(f"{len(seed)} seeds came for {self.num_envs} rows; give one number, or one per row")
        return [int(value) for value in seed]

    def _tensor(self, actions: Tensor | np.ndarray, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
        """Actions as a tensor of this dtype on the device; integers do for int64, floating-point numbers for float32."""
        if isinstance(actions, Tensor):
            if actions.dtype == dtype and actions.shape == shape and actions.device == self.device:
                return actions  # as it is nearly always
            if actions.device.type != self.device.type:
                raise InputError(f"the actions are on {actions.device}, but this environment is on {self.device}")
        else:
            actions = torch.as_tensor(np.asarray(actions)).to(self.device)
        if tuple(actions.shape) != shape:
            raise InputError(f"the actions have shape {tuple(actions.shape)}, but this step takes {shape}")
        floating = dtype.is_floating_point
        if actions.is_floating_point() != floating or actions.dtype == torch.bool or actions.is_complex():
            wanted = "floating-point latents" if floating else "integer codes"
            raise InputError(f"the actions have dtype {actions.dtype}, but this step takes {wanted}")
        return actions.to(dtype)

    def _refuse(self, bad: Tensor | bool, sentence: str) -> None:
        """Raise at once on a CPU; on a GPU remember it, because looking would make every step wait."""
        if isinstance(bad, Tensor) and bad.device.type != "cpu":
            self._bad |= bad
        elif bool(bad):
            raise InputError(sentence)

    def _check_prompts(self) -> None:
        self.action_spec.check(self.prompts.actions, "the prompts' actions")
        size, wanted = self.prompts.prefix.shape[2:4], (self.codec.config.height, self.codec.config.width)
        if tuple(size) != wanted:
            raise InputError(f"the prompts have frames of {list(size)} pixels, but the codec reads {list(wanted)}")
