"""The frame-diffusion world model: a block-causal diffusion transformer over latent frames.

NFD-style (Next-Frame Diffusion, arXiv 2506.01380; its code and weights were never published): every frame is a grid of tokens,
attention is bidirectional inside a clip of c frames and causal over clips, rotary positions in three parts (time, height,
width), and the noise level and the action a_i that leads to frame x_i enter through adaLN-zero. Flow matching on the linear
path of `flow.py`.

- `DiffusionConfig`, `PRESETS`: sizes.
- `FrameDiffusion`: the model; start reading at `_run`. Its blocks are in `block.py`.
- `forward`: every frame at its own noise level. `velocities`: noisy copies beside a clean context, many in one pass; it is
  what `loss` trains and what reinforcement learning recomputes. `generate`: frames, clip by clip (`clip_rollout.py`).
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym import actions as action_specs
from worldgym.errors import InputError
from worldgym.models.diffusion import clip_rollout, flow
from worldgym.models.diffusion.block import Block, modulate, rope_angles, turns, zeros
from worldgym.models.diffusion.clip_attention import Sighted, Span, attend_sight, beside, block_causal, clip_spans
from worldgym.models.layers.attention import steady
from worldgym.models.layers.shared_context import Runs
from worldgym.rng import RowNoise

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]  # layer, q, k, v (B, heads, N, d) -> (B, heads, N, d)


@dataclasses.dataclass(frozen=True)
class DiffusionConfig:
    """Sizes of a frame-diffusion model.

    Attributes:
        channels: C, latent channels.
        grid: (h, w), latent cells per frame.
        spec: name of the action spec.
        hidden: width of the residual stream.
        mlp: inner width of the gated MLP.
        heads: attention heads; hidden / heads must be even.
        layers: blocks.
        max_frames: T at most, prefix included.
        clip: c, frames that are denoised together.
        patch: (ph, pw), latent cells per token; must divide the grid.
        rope_theta: base of the rotary frequencies; small, because grids and clips are short.
        sigma_mean: mean of logit(sigma) in training; above 0, because with a clean context the noisy end decides what moves.
        sigma_std: its standard deviation; wide enough that sigma = 1, where sampling starts, is nearly met.
        context_noise: the largest noise level of a context frame in training; half of the context is clean.
        shared: one adaLN table for all blocks, with an offset of its own for each (PixArt-alpha, arXiv 2310.00426): a third
            fewer parameters.
    """

    channels: int = 16
    grid: tuple[int, int] = (7, 12)
    spec: str = "doom"
    hidden: int = 192
    mlp: int = 512
    heads: int = 3
    layers: int = 6
    max_frames: int = 32
    clip: int = 1
    patch: tuple[int, int] = (1, 1)
    rope_theta: float = 256.0
    sigma_mean: float = 0.5
    sigma_std: float = 1.2
    context_noise: float = 0.3
    shared: bool = False

    def __post_init__(self):
        object.__setattr__(self, "grid", tuple(self.grid))  # JSON brings lists
        object.__setattr__(self, "patch", tuple(self.patch))
        if self.hidden % (2 * self.heads):
            raise InputError(f"hidden {self.hidden} must be a multiple of twice the number of heads ({self.heads})")
        if any(cells % size for cells, size in zip(self.grid, self.patch, strict=True)):
            raise InputError(f"patch {self.patch} does not divide the latent grid {self.grid}")
        if self.clip < 1:
            raise InputError(f"clip is {self.clip}, but a clip has at least 1 frame")

    @property
    def tokens(self) -> int:
        """L, tokens per frame."""
        return math.prod(self.grid) // math.prod(self.patch)


PRESETS = {
    # for training on a CPU: three cells per token, so 28 tokens per frame instead of 84
    "nano": DiffusionConfig(channels=12, patch=(1, 3)),
    # 7.6 M parameters: what a GPU trains in minutes and a core plays at 9 frames per second
    "play": DiffusionConfig(hidden=320, mlp=704, heads=5, layers=6, max_frames=64, patch=(1, 3), shared=True),
    "small": DiffusionConfig(hidden=384, mlp=1024, heads=6, layers=5),
    # NFD, table 5 (305.6 M and 772.3 M parameters here); one token per latent cell
    "310M": DiffusionConfig(hidden=1024, mlp=2730, heads=16, layers=16),
    "774M": DiffusionConfig(hidden=1536, mlp=4096, heads=24, layers=18),
}


class FrameDiffusion(nn.Module):
    """Predicts the velocity v = eps - x0 of noisy latent frames from earlier frames and actions."""

    def __init__(self, config: DiffusionConfig):
        super().__init__()
        self.config = config
        cell = config.channels * math.prod(config.patch)
        self.embed = nn.Linear(cell, config.hidden)
        self.place = nn.Parameter(0.02 * torch.randn(config.tokens, config.hidden))  # weapon and horizon have their places
        self.time = nn.Sequential(nn.Linear(256, config.hidden), nn.SiLU(), nn.Linear(config.hidden, config.hidden))
        sizes = action_specs.spec(config.spec).sizes
        self.action = nn.Embedding(sum(sizes) + 1, config.hidden)  # last row: "no action", for frame 0
        nn.init.normal_(self.action.weight, std=len(sizes) ** -0.5)  # the sum over columns has unit variance
        blocks = (Block(config.hidden, config.mlp, config.heads, config.shared) for _ in range(config.layers))
        self.blocks = nn.ModuleList(blocks)
        if config.shared:
            self.table = zeros(nn.Linear(config.hidden, 6 * config.hidden))
        self.modulation = zeros(nn.Linear(config.hidden, 2 * config.hidden))
        self.head = zeros(nn.Linear(config.hidden, cell))
        offsets = torch.tensor([0, *sizes[:-1]]).cumsum(0)
        self.register_buffer("offsets", offsets, persistent=False)
        tokens = (cells // size for cells, size in zip(config.grid, config.patch, strict=True))
        angles = rope_angles(config.hidden // config.heads, (config.max_frames, *tokens), config.rope_theta)
        self.register_buffer("angles", angles, persistent=False)

    @classmethod
    def from_config(cls, values: dict) -> FrameDiffusion:
        """A model from the fields of its config, as stored in a checkpoint."""
        return cls(DiffusionConfig(**values))

    def _run(self, latents: Tensor, sigma: Tensor, ids: Tensor, frames: Tensor, attend: Attend) -> Tensor:
        """Velocities of frame slots, whatever their order and whoever sees whom.

        Args:
            latents: (B, F, C, h, w), each at its own noise level.
            sigma: (B, F).
            ids: (B, F, A) rows of the action embedding.
            frames: (F,) int64, the time position of each slot.
            attend: attention between the slots' tokens, given the layer.
        """
        x = self.embed(self._patches(latents)) + self.place
        condition = F.silu(steady(self.time, _sinusoid(sigma)) + self.action(ids).sum(dim=-2))
        turn = turns(self.angles[frames].flatten(0, 1))
        led = steady(self.table, condition) if self.config.shared else condition
        for layer, block in enumerate(self.blocks):
            # the very same callable for all layers where it can be: blocks are compiled once
            x = block(x, led, turn, attend if isinstance(attend, Sighted) else functools.partial(attend, layer))
        shift, scale = steady(self.modulation, condition)[:, :, None].chunk(2, dim=-1)
        return self._cells(self.head(modulate(x, shift, scale)).float())

    def forward(self, latents: Tensor, sigma: Tensor, actions: Tensor, prefix: int = 1) -> Tensor:
        """Velocities with every frame at its own noise level; block-causal over `clip_spans(T, c, prefix)`.

        Args:
            latents: (B, T, C, h, w) noisy frames.
            sigma: (B, T) their noise levels.
            actions: (B, T-1, A).
            prefix: how many frames count as given when the clips are laid out.

        Returns:
            (B, T, C, h, w).
        """
        frames = latents.shape[1]
        self.check(latents, actions, frames)
        sight = block_causal(clip_spans(frames, self.config.clip, prefix), self.config.tokens)
        positions = torch.arange(frames, device=latents.device)
        return self._run(latents, sigma, self.action_ids(actions), positions, functools.partial(attend_sight, sight))

    def velocities(
        self,
        clean: Tensor,
        noisy: Tensor,
        sigma: Tensor,
        actions: Tensor,
        spans: Sequence[Span],
        context_sigma: Tensor | None = None,
        prefix: int = 1,
    ) -> Tensor:
        """Velocities of many noisy clips, each given the clean frames before it, in one pass.

        Clean frames and noisy clips stand side by side: a noisy clip sees the clean frames before its span and itself, clean
        frames see clean frames block-causally. The same numbers as stepping with a cache, but differentiable. Neighbouring
        rows that go on from the same frames (candidates of one prompt) share one copy of them.

        Args:
            clean: (B, S, C, h, w) the context; S at least the latest start of a span.
            noisy: (B, M, C, h, w) the frames of all noisy clips, one span after the other.
            sigma: (B, M) their noise levels.
            actions: (B, T-1, A), T at least the latest end of a span.
            spans: (first, one past the last) frame of each noisy clip; M is the sum of their lengths; repeats are welcome.
            context_sigma: (B, S) noise levels of the context; None says 0.
            prefix: as in `forward`.

        Returns:
            (B, M, C, h, w).
        """
        self._check_spans(spans, clean.shape[1], noisy.shape[1], prefix)
        self.check(noisy, actions, actions.shape[1] + 1)
        one_place = context_sigma is None and len(set(spans)) == 1
        runs = Runs.of(clean, actions[:, : spans[0][1] - 1], noisy.shape[1]) if one_place else None
        if runs is not None:
            kept = clean[runs.first], runs.gather(noisy), runs.gather(sigma), actions[runs.first]
            return runs.scatter(self._beside(*kept, [*spans] * runs.longest, None, prefix))
        return self._beside(clean, noisy, sigma, actions, spans, context_sigma, prefix)

    def _beside(self, clean, noisy, sigma, actions, spans, context_sigma, prefix) -> Tensor:
        """`velocities`, every row with its own context."""
        context, length = clean.shape[1], self.config.tokens
        frames = [frame for span in spans for frame in range(*span)]
        sight = beside(clip_spans(context, self.config.clip, prefix), spans, length)
        if context_sigma is None:
            context_sigma = sigma.new_zeros(len(clean), context)
        positions = torch.tensor([*range(context), *frames], device=clean.device)
        out = self._run(
            torch.cat([clean, noisy], dim=1),
            torch.cat([context_sigma, sigma], dim=1),
            self.action_ids(actions)[:, positions],
            positions,
            Sighted(sight, clean.device),
        )
        return out[:, context:]

    def loss(
        self, latents: Tensor, actions: Tensor, generator: torch.Generator, copies: int = 2, seen: Tensor | None = None
    ) -> Tensor:
        """Flow-matching loss E |v - (eps - x0)|^2 of all clips after the first, each given its true past.

        Teacher forcing with a shared context: the context is encoded once (half of its frames clean, the others at up to
        `context_noise`, so that small errors in generated frames are familiar) and every clip is a target `copies` times at
        independent logit-normal noise levels. A single pass in which noisy frames are each other's context would cost
        copies + 1 times less than this, but a frame then almost never sees the clean past that generation gives it, and every
        frame shown clean is lost as a target; here copies / (copies + 1) of the work goes into targets under the very
        conditions of generation.

        Args:
            latents: (B, T, C, h, w) true latents, T >= 2.
            actions: (B, T-1, A).
            generator: on the latents' device.
            copies: noisy copies of every clip.
            seen: (B, T, C, h, w) what the context shows, the model's own video for instance; None shows the true latents.
        """
        if latents.shape[1] < 2:
            raise InputError("the diffusion loss needs at least 2 frames: one to start from and one to predict")
        spans = clip_spans(latents.shape[1], self.config.clip)[1:] * copies
        lengths = torch.tensor([stop - start for start, stop in spans], device=latents.device)
        frames = [frame for span in spans for frame in range(*span)]
        sigma = flow.logit_normal((len(latents), len(spans)), self.config.sigma_mean, self.config.sigma_std, generator)
        sigma = sigma.repeat_interleave(lengths, dim=1)
        target = latents[:, frames]
        eps = torch.randn(target.shape, generator=generator, device=target.device)
        shown = latents if seen is None else seen
        context, context_sigma = self._noisy_context(shown[:, : spans[-1][0]], generator)
        noisy = flow.noised(target, eps, sigma)
        v = self.velocities(context, noisy, sigma, actions, spans, context_sigma)
        return F.mse_loss(v, flow.velocity(target, eps))

    def generate(
        self,
        latents: Tensor,
        actions: Tensor,
        noise: RowNoise,
        steps: int = 18,
        sampler: str = "dpm++",
        cache: bool = True,
        shift: float = 1.0,
        context_noise: float = 0.0,
        guidance: float | Tensor = 0.0,
    ) -> Tensor:
        """Continue a prefix, clip by clip.

        Args:
            latents: (B, P, C, h, w) given frames, P >= 1.
            actions: (B, T-1, A); the first P-1 lie inside the prefix.
            noise: one stream per row; each frame draws its start in order, so samplers share it.
            steps: K, model calls per clip.
            sampler: "dpm++" or "euler".
            cache: encode finished frames once; False recomputes everything at every call, with the same result.
            shift: of the time grid, see `flow.time_grid`.
            context_noise: noise level at which finished frames are shown as context; 0 shows them as they are.
            guidance: w of action guidance, a number or one per row (B,); see `clip_rollout.guided_velocity`.

        Returns:
            (B, T, C, h, w), prefix included.
        """
        return clip_rollout.generate(self, latents, actions, noise, steps, sampler, cache, shift, context_noise, guidance)

    def action_ids(self, actions: Tensor, first: bool = True) -> Tensor:
        """Rows of the action embedding for every frame: (B, T-1, A) -> (B, T, A); without `first`, frame 0 is left out."""
        ids = torch.as_tensor(actions, device=self.offsets.device) + self.offsets
        none = ids.new_full((len(ids), 1, ids.shape[2]), self.action.num_embeddings - 1)
        return torch.cat([none, ids], dim=1) if first else ids

    def check(self, latents: Tensor, actions: Tensor, frames: int) -> None:
        """Say what is wrong with the shapes, if anything.

        Raises:
            InputError: latents do not fit the codec's grid, actions not the frames, or there are too many frames.
        """
        cell = (self.config.channels, *self.config.grid)
        columns = len(self.offsets)
        if latents.ndim != 5 or latents.shape[2:] != cell:
            raise InputError(
                f"latents have shape {tuple(latents.shape)}, but the model needs (B, T, {', '.join(map(str, cell))})"
            )
        if tuple(actions.shape) != (len(latents), frames - 1, columns):
            wanted = (len(latents), frames - 1, columns)
            raise InputError(f"actions have shape {tuple(actions.shape)}, but {frames} frames need (B, T-1, A) = {wanted}")
        if frames > self.config.max_frames:
            raise InputError(f"{frames} frames are too many: the model was built for max_frames {self.config.max_frames}")

    def _check_spans(self, spans: Sequence[Span], context: int, noisy: int, prefix: int) -> None:
        borders = {start for start, _ in clip_spans(context, self.config.clip, prefix)} | {context}
        for start, stop in spans:
            if start not in borders or not 0 < stop - start <= self.config.clip:
                raise InputError(
                    f"span ({start}, {stop}) is no clip: clips of at most {self.config.clip} begin at {sorted(borders)}"
                )
        if sum(stop - start for start, stop in spans) != noisy:
            raise InputError(f"{noisy} noisy frames came, but the spans cover {sum(b - a for a, b in spans)}")

    def _noisy_context(self, latents: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        level, coin = torch.rand((2, *latents.shape[:2]), generator=generator, device=latents.device)
        sigma = self.config.context_noise * level * (coin < 0.5)
        eps = torch.randn(latents.shape, generator=generator, device=latents.device)
        return flow.noised(latents, eps, sigma), sigma

    def _patches(self, latents: Tensor) -> Tensor:
        """(B, F, C, h, w) -> (B, F, L, C ph pw)."""
        (h, w), (ph, pw) = self.config.grid, self.config.patch
        cells = latents.unflatten(-1, (w // pw, pw)).unflatten(-3, (h // ph, ph))  # B F C h ph w pw
        return cells.permute(0, 1, 3, 5, 2, 4, 6).flatten(4).flatten(2, 3)

    def _cells(self, tokens: Tensor) -> Tensor:
        """(B, F, L, C ph pw) -> (B, F, C, h, w)."""
        (h, w), (ph, pw) = self.config.grid, self.config.patch
        cells = tokens.unflatten(2, (h // ph, w // pw)).unflatten(-1, (-1, ph, pw))  # B F h w C ph pw
        return cells.permute(0, 1, 4, 2, 5, 3, 6).flatten(5).flatten(3, 4)


def _sinusoid(sigma: Tensor, width: int = 256) -> Tensor:
    """(…,) in [0, 1] -> (…, width): cosines and sines of 1000 sigma, periods from 2 pi to 20,000 pi."""
    rates = torch.exp(-math.log(1e4) * torch.arange(width // 2, device=sigma.device) / (width // 2))
    angles = 1000 * sigma[..., None] * rates
    return torch.cat([angles.cos(), angles.sin()], dim=-1)
