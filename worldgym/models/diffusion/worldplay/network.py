"""What both WorldPlay networks have in common: how they are called.

- `Shot`: some latents with everything that is said about them.
- `WorldPlayNetwork`: `forward` (latents, timestep, text, camera-to-world, intrinsics, labels, cache), `read_text`,
  `read_context`, `one_pass`.

Shapes: B rows, F latents, c channels, (h, w) latent cells, L tokens per latent, D width. The flow is that of
`worldgym`: x = (1 - sigma) x0 + sigma eps, the network predicts eps - x0, and its timestep is 1000 sigma.
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from worldgym.errors import InputError
from worldgym.models.diffusion.worldplay.context import Attend, Memo, Recorder, beside, masked, rows_of
from worldgym.models.diffusion.worldplay.view_memory import MemoryRule

CONTEXT_TIME = 14.0  # what the context is said to be noised by, though it is clean ("stabilisation level 15", less 1)


@dataclasses.dataclass(frozen=True, eq=False)
class Shot:
    """F latents of B rows and what is said about them.

    Attributes:
        latents: (B, F, c, h, w), as the network takes them.
        timestep: (B, F) float32, 1000 sigma.
        camera_to_world: (B, F, 4, 4). intrinsics: (B, F, 3, 3), normalised.
        labels: (B, F), 0 … 80.
        positions: (B, F), where they stand in time.
    """

    latents: Tensor
    timestep: Tensor
    camera_to_world: Tensor
    intrinsics: Tensor
    labels: Tensor
    positions: Tensor

    def then(self, other: Shot) -> Shot:
        """Both, one after the other."""
        names = [field.name for field in dataclasses.fields(self)]
        return Shot(*(torch.cat([getattr(self, name), getattr(other, name)], 1) for name in names))


class WorldPlayNetwork(nn.Module):
    """A video diffusion network that is told cameras and labels, and that sees earlier latents through a cache."""

    FLOAT32: ClassVar[tuple[str, ...]] = ()  # parts of names whose weights stay in float32
    memory_rule: ClassVar[MemoryRule]  # which earlier latents are shown
    clamps_given: ClassVar[bool]  # the given latent stands clean in the first chunk, or it enters as a condition
    trains_text: ClassVar[bool]  # reading the text is part of every training step, or it is a constant like the context
    checkpointing = False  # recompute blocks in the backward pass instead of keeping their activations

    def forward(
        self,
        latents: Tensor,
        timestep: Tensor | float,
        text: Any,
        camera_to_world: Tensor,
        intrinsics: Tensor,
        labels: Tensor,
        cache: Memo | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Velocities of a chunk.

        Args:
            latents: (B, F, c, h, w) noisy; for the 8B the condition channels are part of c, see its `shown`.
            timestep: 1000 sigma: a number, (B,) or (B, F).
            text: as `read_text` takes it, or what it returned.
            camera_to_world: (B, F, 4, 4). intrinsics: (B, F, 3, 3), normalised. labels: (B, F) in 0 … 80.
            cache: the context, of B / G rows; None for the first chunk.
            positions: (B, F) or (1, F) time positions; right behind the context if not given.

        Returns:
            (B, F, C, h, w) eps - x0, in the dtype of the latents.
        """
        start = cache.latents if cache else 0
        shot = self.shot(latents, timestep, camera_to_world, intrinsics, labels, positions, start)
        text = self.read_text(text)
        return self._run(shot, text, beside(self._memos(text, cache)))

    def read_context(
        self,
        latents: Tensor,
        text: Any,
        camera_to_world: Tensor,
        intrinsics: Tensor,
        labels: Tensor,
        positions: Tensor | None = None,
        timestep: Tensor | float = CONTEXT_TIME,
    ) -> Memo:
        """Encode clean latents by themselves, all seeing all, as the cache of a chunk; arguments as in `forward`."""
        shot = self.shot(latents, timestep, camera_to_world, intrinsics, labels, positions)
        text = self.read_text(text)
        recorder = Recorder(self._memos(text, None))
        self._run(shot, text, recorder)
        return recorder.memo(latents.shape[1])

    def one_pass(self, context: Shot, chunk: Shot, text: Any) -> Tensor:
        """`read_context` and `forward` in one sequence under a mask that hides the chunk from the context; (B, F, C, h, w)."""
        text = self.read_text(text)
        shown = context.latents.shape[1]
        attend = masked(self._memos(text, None), shown * self._tokens(context.latents))
        return self._run(context.then(chunk), text, attend)[:, shown:]

    def shot(
        self,
        latents: Tensor,
        timestep: Tensor | float,
        camera_to_world: Tensor,
        intrinsics: Tensor,
        labels: Tensor,
        positions: Tensor | None = None,
        start: int = 0,
    ) -> Shot:
        """Check shapes and fill in what was left out; positions begin at `start`."""
        if latents.ndim != 5:
            raise InputError(f"latents have shape {tuple(latents.shape)}; (B, F, c, h, w) are needed")
        rows, frames = latents.shape[:2]
        self._check(latents)
        for name, value, cell in (
            ("camera_to_world", camera_to_world, (4, 4)),
            ("intrinsics", intrinsics, (3, 3)),
            ("labels", labels, ()),
        ):
            if tuple(value.shape) != (rows, frames, *cell):
                raise InputError(f"{name} has shape {tuple(value.shape)}, but the latents need {(rows, frames, *cell)}")
        time = torch.as_tensor(timestep, dtype=torch.float32, device=latents.device)
        time = (time[:, None] if time.ndim == 1 else time).expand(rows, frames)
        if positions is None:
            positions = torch.arange(start, start + frames, device=latents.device)[None]
        return Shot(latents, time, camera_to_world, intrinsics, labels, positions.expand(rows, frames))

    def read_text(self, text: Any) -> Memo:
        """Keys and values of a text for every layer; a `Memo` is returned as it is."""
        raise NotImplementedError

    def no_text(self, rows: int = 1) -> Any:
        """A condition that says nothing, for `read_text`."""
        raise NotImplementedError

    def shown(self, z: Tensor, given: Tensor | None, indices: Tensor) -> Tensor:
        """What the network takes for latents z (B, F, C, h, w) that stand at `indices` (B, F) of a video.

        Args:
            given: (B, C, h, w), the first image's latent.
        """
        raise NotImplementedError

    def _run(self, shot: Shot, text: Memo, attend: Attend) -> Tensor:
        raise NotImplementedError

    def _memos(self, text: Memo, cache: Memo | None) -> list[Memo]:
        """What image tokens see before each other."""
        raise NotImplementedError

    def _tokens(self, latents: Tensor) -> int:
        """L, tokens per latent."""
        raise NotImplementedError

    def _check(self, latents: Tensor) -> None:
        """Say what is wrong with the latents' channels or cells."""
        raise NotImplementedError

    def _block(self, block: nn.Module, *inputs: Any) -> Any:
        if self.checkpointing and torch.is_grad_enabled():
            return checkpoint(block, *inputs, use_reentrant=False)
        return block(*inputs)


def layer_rows(memo: Memo, layer: int, rows: int) -> tuple[Tensor, Tensor]:
    """Keys and values of a layer for all rows."""
    keys, values = memo.layers[layer]
    return rows_of(keys, rows), rows_of(values, rows)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """(B, …, D) to (B, heads, N, D / heads)."""
    return x.flatten(1, -2).unflatten(-1, (heads, -1)).transpose(1, 2)


def join_heads(x: Tensor, like: Tensor) -> Tensor:
    """`split_heads` backwards, in the shape of `like`."""
    return x.transpose(1, 2).reshape(like.shape)
