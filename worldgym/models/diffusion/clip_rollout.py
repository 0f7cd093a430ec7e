"""Stepping a frame-diffusion model: the denoising loop of generation, open for an agent that decides every step itself.

- `ClipRollout`: model and key/value cache; `velocity` of a noisy clip, `append` a finished one, `fork` into G continuations.
- `UncachedClipRollout`: the same face without a cache; slow, and the proof that the cache is right.
- `guided_velocity`: with action guidance. `denoise`: one clip from noise to data. `generate`: clip after clip.

Causal attention makes the activations of finished frames independent of what follows, so encoding them once is exact.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from worldgym import actions as action_specs
from worldgym.errors import InputError
from worldgym.models.diffusion import flow
from worldgym.models.diffusion.clip_attention import Span, attend_sight, block_causal, clip_spans
from worldgym.models.diffusion.samplers import Sampler, sampler
from worldgym.models.layers.attention import attention
from worldgym.models.layers.cuda_graph import GraphedStep
from worldgym.models.layers.kv_cache import KVCache
from worldgym.rng import RowNoise


class ClipModel(Protocol):
    """What stepping asks of a frame-diffusion model; see `FrameDiffusion` for shapes."""

    config: Any

    def check(self, latents: Tensor, actions: Tensor, frames: int) -> None:
        """Raise InputError where shapes do not fit the model."""
        ...

    def action_ids(self, actions: Tensor, first: bool = True) -> Tensor:
        """Rows of the action embedding."""
        ...

    def _run(self, latents: Tensor, sigma: Tensor, ids: Tensor, frames: Tensor, attend: Callable[..., Tensor]) -> Tensor:
        """The network over some frames, attending as it is told."""
        ...


class ClipRollout:
    """A growing video of B rows whose finished frames live in a cache; only new tokens are computed.

    Without gradients: what happened is differentiated afterwards, with `FrameDiffusion.velocities`.

    Args:
        model: the world model.
        latents: (B, P, C, h, w) given frames.
        actions: (B, P-1, A) actions between them.
        max_frames: room to make, prefix included; the model's own maximum if not given.
        graphs: capture each step's kernels on a GPU; worth it for a rollout that is stepped often.
    """

    @torch.no_grad()
    def __init__(self, model: ClipModel, latents: Tensor, actions: Tensor, max_frames: int | None = None, graphs: bool = True):
        config = model.config
        self.model, self.batch, self.frames = model, len(latents), latents.shape[1]
        self.max_frames = max_frames or config.max_frames
        model.check(latents, actions, self.frames)
        self._cache = KVCache(
            config.layers,
            self.batch,
            config.heads,
            self.max_frames * config.tokens,
            config.hidden // config.heads,
            _compute_dtype(latents),
            latents.device,
        )
        self._graph = GraphedStep(self._step) if graphs and latents.is_cuda else None
        self._encode_prefix(latents, actions)

    def velocity(self, z: Tensor, sigma: Tensor | float, actions: Tensor) -> Tensor:
        """Velocity of the clip that comes next.

        Args:
            z: (B, n, C, h, w) noisy clip, n at most the model's clip length.
            sigma: its noise level: a number, (B,) or (B, n).
            actions: (B, n, A) the actions that lead to its frames.

        Returns:
            (B, n, C, h, w).
        """
        _check_clip(self, z, actions)
        sigma = flow.spread(sigma, z[:, :, 0, 0, 0]).expand(z.shape[:2])
        ids = self.model.action_ids(actions, first=False)
        start: int | Tensor = self.frames
        if self._graph is not None:  # a captured graph needs its position on the device
            start = torch.tensor(start, device=z.device)
            return self._graph(z, sigma.contiguous(), ids, start)
        return self._step(z, sigma, ids, start)

    def append(self, clip: Tensor, actions: Tensor, sigma: float = 0.0) -> None:
        """Encode a finished clip (B, n, C, h, w) as context; `sigma` says how noisy it is shown."""
        self.velocity(clip, sigma, actions)  # overwrites the keys and values of the last noisy version
        self.frames += clip.shape[1]

    def fork(self, groups: int) -> ClipRollout:
        """Continue `groups` times from here: row b becomes rows b G … b G + G - 1, and this rollout stays as it is."""
        other = object.__new__(ClipRollout)
        other.model, other.batch, other.frames = self.model, self.batch * groups, self.frames
        other.max_frames = self.max_frames
        other._cache = self._cache.repeat(groups)
        other._graph = GraphedStep(other._step) if self._graph is not None else None
        return other

    @torch.no_grad()
    def _step(self, z: Tensor, sigma: Tensor, ids: Tensor, start: int | Tensor) -> Tensor:
        frames = start + torch.arange(z.shape[1], device=z.device)
        return self.model._run(z, sigma, ids, frames, functools.partial(self._attend, start))

    def _attend(self, start: int | Tensor, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        first = start * self.model.config.tokens
        keys, values = self._cache.write(layer, k, v, first)
        seen = None
        if isinstance(first, Tensor):  # the whole buffer came back; look at the written part only
            seen = (torch.arange(keys.shape[2], device=q.device) < first + q.shape[2]).expand(q.shape[2], -1)
        return attention(q, keys.to(q.dtype), values.to(q.dtype), attn_mask=seen)

    def _encode_prefix(self, latents: Tensor, actions: Tensor) -> None:
        model = self.model
        sight = block_causal(clip_spans(self.frames, model.config.clip, self.frames), model.config.tokens)

        def attend(layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            self._cache.write(layer, k, v, 0)
            return attend_sight(sight, layer, q, k, v)

        clean = latents.new_zeros(latents.shape[:2])
        model._run(latents, clean, model.action_ids(actions), torch.arange(self.frames, device=latents.device), attend)


class UncachedClipRollout:
    """`ClipRollout` without a cache: every call runs the whole sequence, finished frames included."""

    def __init__(self, model: ClipModel, latents: Tensor, actions: Tensor, max_frames: int | None = None):
        self.model, self.batch, self.frames = model, len(latents), latents.shape[1]
        self.max_frames = max_frames or model.config.max_frames
        self._latents, self._sigma = latents, latents.new_zeros(latents.shape[:2])
        self._ids = model.action_ids(actions)
        self._spans: Sequence[Span] = clip_spans(self.frames, model.config.clip, self.frames)

    @torch.no_grad()
    def velocity(self, z: Tensor, sigma: Tensor | float, actions: Tensor) -> Tensor:
        """As `ClipRollout.velocity`."""
        _check_clip(self, z, actions)
        latents, sigmas, ids, spans = self._with(z, sigma, actions)
        sight = block_causal(spans, self.model.config.tokens)
        positions = torch.arange(latents.shape[1], device=z.device)
        return self.model._run(latents, sigmas, ids, positions, functools.partial(attend_sight, sight))[:, self.frames :]

    def append(self, clip: Tensor, actions: Tensor, sigma: float = 0.0) -> None:
        """As `ClipRollout.append`."""
        _check_clip(self, clip, actions)
        self._latents, self._sigma, self._ids, self._spans = self._with(clip, sigma, actions)
        self.frames += clip.shape[1]

    def fork(self, groups: int) -> UncachedClipRollout:
        """As `ClipRollout.fork`."""
        other = object.__new__(UncachedClipRollout)
        other.model, other.batch, other.frames = self.model, self.batch * groups, self.frames
        other.max_frames, other._spans = self.max_frames, self._spans
        rows = (self._latents, self._sigma, self._ids)
        other._latents, other._sigma, other._ids = (x.repeat_interleave(groups, dim=0) for x in rows)
        return other

    def _with(self, z: Tensor, sigma: Tensor | float, actions: Tensor) -> tuple[Tensor, Tensor, Tensor, Sequence[Span]]:
        sigma = flow.spread(sigma, z[:, :, 0, 0, 0]).expand(z.shape[:2])
        ids = self.model.action_ids(actions, first=False)
        pairs = ((self._latents, z), (self._sigma, sigma), (self._ids, ids))
        return *(torch.cat(pair, dim=1) for pair in pairs), [*self._spans, (self.frames, self.frames + z.shape[1])]


def guided_velocity(
    rollout: ClipRollout | UncachedClipRollout,
    z: Tensor,
    sigma: Tensor | float,
    actions: Tensor,
    guidance: float | Tensor = 0.0,
) -> Tensor:
    """v + w (v - v_null): what an action changes against the null action, enlarged; a second pass unless w is 0.

    Classifier-free guidance (arXiv 2207.12598), with standing still as "no condition": no model need be trained for it.

    Args:
        rollout, z, sigma, actions: as in `ClipRollout.velocity`.
        guidance: w, a number or one per row (B,).
    """
    v = rollout.velocity(z, sigma, actions)
    if not isinstance(guidance, Tensor) and not guidance:  # asked without waiting for a device
        return v
    weight = torch.as_tensor(guidance, dtype=z.dtype, device=z.device)
    if weight.ndim and tuple(weight.shape) != (len(z),):
        raise InputError(
            f"guidance has shape {tuple(weight.shape)}, but there are {len(z)} rows; give one number, or one per row"
        )
    still = torch.from_numpy(action_specs.spec(rollout.model.config.spec).null).to(actions).expand_as(actions)
    v = v.clone()  # a captured graph writes its answer to one place
    return v + flow.spread(weight, z) * (v - rollout.velocity(z, sigma, still))


def denoise(
    rollout: ClipRollout | UncachedClipRollout,
    z: Tensor,
    actions: Tensor,
    grid: Sequence[float],
    solver: Sampler,
    guidance: float | Tensor = 0.0,
) -> Tensor:
    """One clip from noise z (B, n, C, h, w) to data along the sigmas of `grid` (K + 1)."""
    for sigma, sigma_next in zip(grid[:-1], grid[1:], strict=True):
        z = solver.step(z, guided_velocity(rollout, z, sigma, actions, guidance), sigma, sigma_next)
    return z


@torch.no_grad()
def generate(
    model: ClipModel,
    latents: Tensor,
    actions: Tensor,
    noise: RowNoise,
    steps: int,
    solver: str,
    cache: bool,
    shift: float,
    context_noise: float,
    guidance: float | Tensor,
) -> Tensor:
    """See `FrameDiffusion.generate`."""
    prefix, frames = latents.shape[1], actions.shape[1] + 1
    model.check(latents, actions, frames)
    if not 0 < prefix <= frames or len(noise) != len(latents):
        raise InputError(
            f"{prefix} given frames, {frames} in all, {len(latents)} rows and {len(noise)} noise streams do not fit"
        )
    action_specs.spec(model.config.spec).check(actions.cpu().numpy())  # a wrong label would read another column's row
    rollout = (ClipRollout if cache else UncachedClipRollout)(model, latents, actions[:, : prefix - 1], frames)
    grid, video = flow.time_grid(steps, shift), [latents]
    for start, stop in clip_spans(frames, model.config.clip, prefix):
        if start < prefix:
            continue
        led_by = actions[:, start - 1 : stop - 1]
        clip = denoise(rollout, _draw(model, noise, stop - start), led_by, grid, sampler(solver), guidance)
        video.append(clip)
        if stop < frames:
            shown = flow.noised(clip, _draw(model, noise, stop - start), context_noise) if context_noise else clip
            rollout.append(shown, led_by, context_noise)
    return torch.cat(video, dim=1)


def _draw(model: ClipModel, noise: RowNoise, frames: int) -> Tensor:
    shape = (model.config.channels, *model.config.grid)
    return torch.stack([noise.normal(*shape) for _ in range(frames)], dim=1)


def _check_clip(rollout: ClipRollout | UncachedClipRollout, z: Tensor, actions: Tensor) -> None:
    clip, left = rollout.model.config.clip, rollout.max_frames - rollout.frames
    if z.shape[:2] != actions.shape[:2] or len(z) != rollout.batch:
        raise InputError(
            f"a clip {tuple(z.shape)} and its actions {tuple(actions.shape)} must both begin with (B, n), B = {rollout.batch}"
        )
    if not 0 < z.shape[1] <= min(clip, left):
        raise InputError(f"{z.shape[1]} frames came, but a clip has at most {clip} and there is room for {left} more")


def _compute_dtype(latents: Tensor) -> torch.dtype:
    kind = latents.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else latents.dtype
