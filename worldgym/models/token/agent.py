"""The token world model as a policy: `TokenAgent`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from worldgym.errors import InputError
from worldgym.models.layers import observation as forms
from worldgym.models.layers.sampling import check_sampling, draw, logprob_sum
from worldgym.models.token.code_schedule import CodeSchedule, raster
from worldgym.models.token.token_model import TokenModel
from worldgym.models.token.trajectory import TokenTrajectory
from worldgym.models.token.wave_reader import RasterReader, WaveReader, predictions
from worldgym.rng import RowNoise


class TokenAgent:
    """Draws the codes of a step from a token model; one agent per environment, because it remembers what it has read.

    A new episode is noticed by its step number. Leaving an episode in the middle or changing the batch is noticed, too: the
    agent then reads the whole observation anew.

    Args:
        model: the policy; its parameters are read, never copied, so an optimizer's step shows at once. Within an episode
            the cache keeps what the older parameters made: update between episodes.
        schedule: the environment's `schedule`; raster order when left out.
        top_p: keep the most probable codes up to this share of probability.
        temperature: divides the logits, above 0.
    """

    def __init__(self, model: TokenModel, schedule: CodeSchedule | None = None, top_p: float = 1.0, temperature: float = 1.0):
        check_sampling(top_p, temperature)
        if not temperature:
            raise InputError("temperature is 0, but a policy needs log-probs; give a positive one, or use TokenModel.generate")
        self.model, self.top_p, self.temperature = model, top_p, temperature
        self.schedule = schedule or raster(model.config.codes_per_frame)
        if len(self.schedule.drawn) != model.config.codes_per_frame:
            raise InputError(
                f"the schedule has {len(self.schedule.drawn)} codes per frame, the model {model.config.codes_per_frame}"
            )
        self._reader: RasterReader | WaveReader | None = None
        self._next: tuple[int, int] | None = None  # step and batch that the reader is ready for
        self._uniform: tuple[Tensor, ...] | None = None  # L times (B,), the numbers for the codes of the frame in work

    @torch.no_grad()
    def act(self, observation: dict[str, Any], noise: RowNoise) -> tuple[Any, Tensor]:
        """The codes of the next step and their log-prob.

        Args:
            observation: of a token environment, batched tensors or the numpy face's.
            noise: one stream per row; a frame takes L uniform numbers, as in `TokenModel.generate`.

        Returns:
            The action, (B,) or (B, width) int64 (numpy for a numpy observation), and logprob_sum (B,) float32.
        """
        place = self._place(observation)
        codes, wave = place[2:]
        if len(noise) != len(codes):
            raise InputError(f"noise has {len(noise)} rows, but the observation has {len(codes)}; give one seed per row")
        logits = self._read(*place)
        if wave == 0 or self._uniform is None:
            self._uniform = noise.uniform(self.model.config.codes_per_frame).to(logits.device).unbind(1)
        cells = self.schedule.waves[wave]
        if self.schedule.width == 1:  # no axis of cells: a step of a small model is short, and every view of a tensor counts
            logits, numbers = logits.select(1, 0), self._uniform[cells[0]]
        else:
            numbers = torch.stack([self._uniform[cell] for cell in cells], 1)
        drawn, logprob = draw(logits, numbers, self.top_p, self.temperature)
        if self.schedule.width > 1:
            drawn, logprob = self._padded(drawn), logprob.sum(1)
        return forms.like(observation, drawn), logprob

    @torch.no_grad()
    def propose(self, observation: dict[str, Any]) -> Tensor:
        """Logits of the codes of the next step, (B, n, V); ask once per step."""
        return self._read(*self._place(observation))

    def _read(self, seen: dict[str, Tensor], step: int, codes: Tensor, wave: int) -> Tensor:
        """Logits of the codes of a step, (B, n, V)."""
        self._follow(seen, step)
        self._next = (step + 1, len(codes))
        return self._reader.logits(codes, seen["prefix"].shape[1] + step // len(self.schedule.waves), wave)

    def logprob(self, trajectory: TokenTrajectory, steps: Tensor | list[int] | None = None) -> Tensor:
        """logprob_sum of steps in one pass, differentiable: (B, S) float32.

        Args:
            trajectory: of a token environment.
            steps: S step numbers; all when left out.
        """
        each = logprob_sum(self.logits(trajectory), trajectory.codes[:, trajectory.prefix :], self.top_p, self.temperature)
        if self.schedule.width > 1:
            each = torch.stack([each[..., list(cells)].sum(-1) for cells in self.schedule.waves], -1)
        flat = each.flatten(1)
        return flat if steps is None else flat[:, torch.as_tensor(steps, device=flat.device)]

    def logits(self, trajectory: TokenTrajectory) -> Tensor:
        """Logits of all codes after the prefix in one pass, differentiable: (B, N, L, V)."""
        codes, prefix = trajectory.codes, trajectory.prefix
        if self.schedule.name == "raster":
            return self.model.predictions(codes, trajectory.actions, prefix)
        return predictions(self.model, codes, trajectory.actions, self.schedule, prefix)

    def fork(self, groups: int) -> TokenAgent:
        """An agent for `env.fork(groups)`, with the cache of what it has read so far."""
        other = TokenAgent(self.model, self.schedule, self.top_p, self.temperature)
        if self._reader is not None and self._next is not None:
            other._reader, other._next = self._reader.fork(groups), (self._next[0], self._next[1] * groups)
        return other

    def _place(self, observation: dict[str, Any]) -> tuple[dict[str, Tensor], int, Tensor, int]:
        """The observation as tensors, its step, codes and wave."""
        seen = forms.batched(observation, self.model)
        step = seen["step"].tolist()[0]
        return seen, step, seen["codes"], step % len(self.schedule.waves)

    def _follow(self, seen: dict[str, Tensor], step: int) -> None:
        if step and self._next == (step, len(seen["codes"])):
            return
        self._uniform, prefix = None, seen["prefix"].shape[1]
        if self.schedule.name == "raster":
            self._reader = RasterReader(self.model, seen["actions"])
        else:
            self._reader = WaveReader(self.model, seen["actions"], self.schedule, prefix)

    def _padded(self, drawn: Tensor) -> Tensor:
        """(B, n) -> (B, width), zeros behind the n codes of a short wave."""
        return torch.nn.functional.pad(drawn, (0, self.schedule.width - drawn.shape[1]))
