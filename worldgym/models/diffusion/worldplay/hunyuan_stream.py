"""HunyuanVideo-1.5's decoder, chunk by chunk: `Streaming`.

`diffusers` decodes a whole video at once. Three kinds of layers look back in time: causal convolutions (the last frames before
them), attention (keys and values of all earlier frames) and upsampling (which treats the very first frame apart). Here each
gets a memory, so that a chunk costs what it is long and the frames are those of the whole decode.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Streaming:
    """A decoding from latent 0 on; call it with the latents that follow, (1, C, n, h, w)."""

    def __init__(self, decoder: nn.Module):
        self.decoder, self.first = decoder, True
        self._kept: dict[nn.Module, Any] = {}  # what each layer remembers
        self._steps = {
            "HunyuanVideo15CausalConv3d": self._convolution,
            "HunyuanVideo15AttnBlock": self._attention,
            "HunyuanVideo15Upsample": self._upsampling,
        }

    def __call__(self, x: Tensor) -> Tensor:
        """(1, C, n, h, w) to (1, 3, frames, H, W)."""
        with self._in_place():
            out = self.decoder(x)
        self.first = False
        return out

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[None]:
        """Layers with a memory run as here, for the time of one call."""
        changed = [layer for layer in self.decoder.modules() if type(layer).__name__ in self._steps]
        for layer in changed:
            step = self._steps[type(layer).__name__]
            layer.forward = lambda x, layer=layer, step=step: step(layer, x)
        try:
            yield
        finally:
            for layer in changed:
                del layer.forward

    def _convolution(self, layer: Any, x: Tensor) -> Tensor:
        left, right, top, bottom, back, _ = layer.time_causal_padding
        before = self._kept.get(layer)
        if before is None:
            before = x[:, :, :1].expand(-1, -1, back, -1, -1)
        x = torch.cat([before, x], 2)
        self._kept[layer] = x[:, :, x.shape[2] - back :].clone()
        return layer.conv(F.pad(x, (left, right, top, bottom, 0, 0), mode=layer.pad_mode))

    def _attention(self, layer: Any, x: Tensor) -> Tensor:
        h = layer.norm(x)
        q, k, v = (to(h).flatten(3).permute(0, 2, 3, 1) for to in (layer.to_q, layer.to_k, layer.to_v))  # (1, n, h w, C)
        if layer in self._kept:
            k, v = (torch.cat(pair, 1) for pair in zip(self._kept[layer], (k, v), strict=True))
        self._kept[layer] = (k, v)
        past = k.shape[1] - q.shape[1]
        rows = [  # frame by frame: a frame sees itself and what was before
            F.scaled_dot_product_attention(q[:, i], k[:, : past + i + 1].flatten(1, 2), v[:, : past + i + 1].flatten(1, 2))
            for i in range(q.shape[1])
        ]
        return layer.proj_out(torch.stack(rows, 1).permute(0, 3, 1, 2).reshape(x.shape)) + x

    def _upsampling(self, layer: Any, x: Tensor) -> Tensor:
        if self.first or not layer.add_temporal_upsample:
            return type(layer).forward(layer, x)
        h = layer._dcae_upsample_rearrange(layer.conv(x), r1=2, r2=2, r3=2)
        shortcut = layer._dcae_upsample_rearrange(x, r1=2, r2=2, r3=2).repeat_interleave(layer.repeats, dim=1)
        return h + shortcut
