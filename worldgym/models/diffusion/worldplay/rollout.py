"""Stepping a WorldPlay network: chunk after chunk, each with a context that is chosen anew and read once.

- `Rollout`: `velocity` of a noisy chunk, `append` a finished one, `fork` into G continuations that share one context.
- `Recompute`: the same face without a cache; slow, and the proof that the cache is right.
- `velocities`: many noisy versions of a chunk in one call, with gradient. `generate`: a video from noise.

A chunk is 4 latents. Its context is chosen by `view_memory`, said to stand at t = 14 and encoded by itself, all latents seeing
all. The choice changes from chunk to chunk and so does everything that was read: there is no cache that grows.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from worldgym.errors import InputError, unknown
from worldgym.models.diffusion import flow
from worldgym.models.diffusion.samplers import sampler
from worldgym.models.diffusion.worldplay.context import Memo, rows_of
from worldgym.models.diffusion.worldplay.network import CONTEXT_TIME, WorldPlayNetwork
from worldgym.models.diffusion.worldplay.route import Route
from worldgym.models.diffusion.worldplay.view_memory import CLIP, ViewMemory
from worldgym.rng import RowNoise

POSITIONS = ("relative", "true")  # of context and chunk in time: 0, 1, 2, … as published, or where they truly stand


class Rollout:
    """Growing videos of C rows, each continued by G candidates: B = C G, row b belongs to video b // G.

    What is finished is read without gradient; `velocity` has one where gradients are enabled.

    Args:
        model: the network.
        route: cameras and labels of C videos, to their end.
        text: as the network's `read_text` takes it, C rows or one; nothing if not given.
        given: (C, C', h, w), the first image's latent; None: latent 0 is generated from noise.
        memory: which latents are shown; the network's own rule and seed 0 if not given.
        positions: one of `POSITIONS`.
        latents: (C, S, C', h, w) finished latents to begin with.
    """

    def __init__(
        self,
        model: WorldPlayNetwork,
        route: Route,
        text: Any = None,
        given: Tensor | None = None,
        memory: ViewMemory | None = None,
        positions: str = "relative",
        latents: Tensor | None = None,
    ):
        if positions not in POSITIONS:
            raise unknown("kind of positions", positions, POSITIONS)
        self.model, self.route, self.given, self.positions = model, route, given, positions
        self.memory = memory or ViewMemory(model.memory_rule)
        self.text = model.no_text() if text is None else text
        self.latents, self.groups, self.passes = latents, 1, 0
        self._text: Memo | None = None  # read once
        self._context: Memo | None = None  # of the chunk in work, read once

    @property
    def batch(self) -> int:
        """B."""
        return len(self.route) * self.groups

    @property
    def frames(self) -> int:
        """Finished latents."""
        return 0 if self.latents is None else self.latents.shape[1]

    @property
    def clamps(self) -> bool:
        """Whether the chunk in work begins with the given latent, of which nothing is asked."""
        return self.model.clamps_given and self.given is not None and not self.frames

    def velocity(self, z: Tensor, sigma: Tensor | float) -> Tensor:
        """Velocity of the chunk that comes next.

        Args:
            z: (B, n, C', h, w) noisy, n at most 4. Where latent 0 is given and clamped, what stands there is not looked at.
            sigma: its noise level: a number, (B,) or (B, n).

        Returns:
            (B, n, C', h, w); exactly 0 on a clamped latent.
        """
        self._check(z)
        sigma = flow.spread(sigma, z[:, :, 0, 0, 0]).float().expand(z.shape[:2])
        time = 1000 * sigma
        if self.clamps:
            z = torch.cat([rows_of(self.given, len(z))[:, None].to(z), z[:, 1:]], 1)
            time = torch.cat([torch.full_like(time[:, :1], CONTEXT_TIME), time[:, 1:]], 1)
        v = self._ask(z, time)
        return torch.cat([torch.zeros_like(v[:, :1]), v[:, 1:]], 1) if self.clamps else v

    def append(self, clip: Tensor) -> None:
        """Finish the chunk as `clip` (B, n, C', h, w); candidates become videos of their own."""
        self._check(clip)
        clip = clip.detach()
        if self.clamps:
            clip = torch.cat([rows_of(self.given, len(clip))[:, None].to(clip), clip[:, 1:]], 1)
        before = [] if self.latents is None else [rows_of(self.latents, len(clip))]
        self.latents = torch.cat([*before, clip], 1)
        if self.groups > 1:
            self.route = self.route.repeat(self.groups)
            self.given = None if self.given is None else rows_of(self.given, len(clip))
            self.groups = 1
        self._context = None

    def fork(self, groups: int) -> Rollout:
        """Continue `groups` times from here: row b becomes rows b G … b G + G - 1, and this rollout stays as it is.

        Text, finished latents and the context are shared and not copied, and the context is read before it is shared.
        """
        self.context()
        other = copy.copy(self)
        other.groups = self.groups * groups
        return other

    @torch.no_grad()
    def context(self) -> Memo | None:
        """The memo of the chunk in work, of C rows; None before the first chunk is finished and after the last."""
        if self._context is None and 0 < self.frames < self.route.latents:
            chosen = self._chosen()
            self._context = self.model.read_context(
                self._shown(chosen),
                self._read_text(),
                *self.route.take(chosen, len(self.route), self.latents.device),
                positions=chosen.to(self.latents.device) if self.positions == "true" else None,
            )
            self.passes += 1
        return self._context

    def _ask(self, z: Tensor, time: Tensor) -> Tensor:
        now, places = self._now(z)
        text = self.text if torch.is_grad_enabled() and self.model.trains_text else self._read_text()
        told = self.route.take(now, len(z), z.device)
        return self.model(self._inputs(z, now), time, text, *told, self.context(), places)

    def _now(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """Numbers of the chunk's latents (C, n), and their positions where those are true."""
        now = torch.arange(self.frames, self.frames + z.shape[1]).expand(len(self.route), -1)
        return now, now[:1].to(z.device) if self.positions == "true" else None

    def _inputs(self, z: Tensor, indices: Tensor) -> Tensor:
        given = None if self.given is None else rows_of(self.given, len(z))
        return self.model.shown(z, given, rows_of(indices, len(z)))

    def _shown(self, chosen: Tensor) -> Tensor:
        """Chosen finished latents as the network takes them."""
        place = chosen.to(self.latents.device)[:, :, None, None, None].expand(-1, -1, *self.latents.shape[2:])
        return self._inputs(self.latents.gather(1, place), chosen)

    def _chosen(self) -> Tensor:
        """(C, M) numbers of the context's latents."""
        stop = min(self.frames + CLIP, self.route.latents)
        cameras = self.route.camera_to_world[:, :stop].numpy()
        return torch.stack([torch.from_numpy(self.memory.select(row, self.frames)) for row in cameras])

    @torch.no_grad()
    def _read_text(self) -> Memo:
        if self._text is None:
            self._text = self.model.read_text(self.text)
        return self._text

    def _check(self, z: Tensor) -> None:
        left = min(CLIP, self.route.latents - self.frames)
        if len(z) != self.batch or not 0 < z.shape[1] <= left:
            raise InputError(
                f"a chunk of shape {tuple(z.shape)} came, but {self.batch} rows of 1 to {left} latents can follow"
            )


class Recompute(Rollout):
    """`Rollout` without a cache: every call runs context and chunk in one sequence under a mask, both with gradient."""

    def fork(self, groups: int) -> Recompute:
        """As `Rollout.fork`."""
        other = copy.copy(self)
        other.groups = self.groups * groups
        return other

    def _ask(self, z: Tensor, time: Tensor) -> Tensor:
        now, places = self._now(z)
        told = self.route.take(now, len(z), z.device)
        if not self.frames:
            return self.model(self._inputs(z, now), time, self.text, *told, None, places)
        chosen = self._chosen()
        before = (None, None) if places is None else (rows_of(chosen, len(z)).to(z.device), places)
        context = self.model.shot(
            rows_of(self._shown(chosen), len(z)), CONTEXT_TIME, *self.route.take(chosen, len(z), z.device), before[0]
        )
        chunk = self.model.shot(self._inputs(z, now), time, *told, before[1], start=chosen.shape[1])
        return self.model.one_pass(context, chunk, self.text)


def velocities(
    model: WorldPlayNetwork,
    clean: Tensor | None,
    noisy: Tensor,
    sigma: Tensor,
    route: Route,
    context: str = "cached",
    **conditions: Any,
) -> Tensor:
    """Velocities of N noisy versions of the chunk after `clean`, differentiable.

    Args:
        model: the network.
        clean: (C, S, C', h, w) finished latents; None for the first chunk.
        noisy: (C, N, n, C', h, w).
        sigma: (C, N) or (C, N, n).
        route: cameras and labels of C videos.
        context: "cached": its keys and values are constants, as WorldCompass was released. "current": they are part of the
            graph, at the price of encoding the context with every version.
        conditions: `text`, `given`, `memory`, `positions` of `Rollout`.

    Returns:
        (C, N, n, C', h, w).
    """
    kinds = {"cached": Rollout, "current": Recompute}
    if context not in kinds:
        raise unknown("kind of context", context, kinds)
    rollout = kinds[context](model, route, latents=clean, **conditions).fork(noisy.shape[1])
    return rollout.velocity(noisy.flatten(0, 1), sigma.flatten(0, 1)).unflatten(0, noisy.shape[:2])


@torch.no_grad()
def generate(
    model: WorldPlayNetwork,
    route: Route,
    noise: RowNoise,
    cell: tuple[int, int, int],
    steps: int = 4,
    shift: float = 8.0,
    solver: str = "euler",
    cache: bool = True,
    guidance: float = 0.0,
    negative: Any = None,
    **conditions: Any,
) -> Tensor:
    """Videos of latents from noise, chunk by chunk.

    Args:
        model: the network.
        route: cameras and labels of C videos of L latents.
        noise: C streams; each latent draws its start in order.
        cell: (C', h, w) of a latent.
        steps, shift: of the time grid; 4 and 8 are the distilled 5B's: 1, .96, .88889, .72727, 0.
        solver: "euler" or "dpm++".
        cache: False recomputes everything at every call, with the same result.
        guidance: w of v + w (v - v_negative), a second pass unless 0. Undistilled files are published with a scale of 5 (5B)
            and 6 (8B), which is w + 1; distilled files and WorldCompass have none.
        negative: the text of v_negative, as `text`; nothing if not given.
        conditions: `text`, `given`, `memory`, `positions` of `Rollout`.

    Returns:
        (C, L, C', h, w).
    """
    form = Rollout if cache else Recompute
    asked = [form(model, route, **conditions)]
    if guidance:
        asked.append(form(model, route, **{**conditions, "text": negative}))
    grid = flow.time_grid(steps, shift)
    while asked[0].frames < route.latents:
        count, walk = min(CLIP, route.latents - asked[0].frames), sampler(solver)
        z = torch.stack([noise.normal(*cell) for _ in range(count)], 1)
        for sigma, sigma_next in zip(grid[:-1], grid[1:], strict=True):
            v = asked[0].velocity(z, sigma)
            for other in asked[1:]:
                v = v + guidance * (v - other.velocity(z, sigma))
            z = walk.step(z, v, sigma, sigma_next)
        for rollout in asked:
            rollout.append(z)
    return asked[0].latents
