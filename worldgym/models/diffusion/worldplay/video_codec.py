"""Frames <-> latents with a stride in time, through the autoencoders of `diffusers` (extra "worldplay").

- `WanCodec`, `HunyuanCodec`: `encode` a video, `decode` latents, `stream` to decode chunk by chunk with the same result.
- `open_codec`: from the folder of a published autoencoder. `fit`: an image in the size that a model was trained on.

The first latent is one frame, every other 4: T = 4 L - 3. Both autoencoders are causal: frames depend on no later latents.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor, nn

from worldgym.actions.worldplay import STRIDE, latents_of
from worldgym.errors import InputError
from worldgym.models.diffusion.worldplay.hunyuan_stream import Streaming

CELL = 16  # pixels per latent cell


class VideoCodec(nn.Module):
    """What both codecs share; one video at a time, so that a batch equals its singles.

    Args:
        vae: the autoencoder of `diffusers`.
        size: (H, W) of frames, multiples of 16.

    Attributes:
        stride: frames per latent, but the first.
        channels: C. grid: (h, w) latent cells.
    """

    stride = STRIDE

    def __init__(self, vae: nn.Module, size: tuple[int, int]):
        super().__init__()
        if any(pixels % CELL for pixels in size):
            raise InputError(f"frames of {size[0]}x{size[1]} are no whole cells of {CELL} pixels; use multiples of {CELL}")
        self.vae, self.size = vae.eval().requires_grad_(False), tuple(size)

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w)."""
        return self.size[0] // CELL, self.size[1] // CELL

    @torch.no_grad()
    def encode(self, frames: Tensor) -> Tensor:
        """Frames (T, H, W, 3) uint8, T = 4 L - 3, to latents (L, C, h, w) float32; the mode, nothing is drawn."""
        latents_of(len(frames))
        if tuple(frames.shape[1:]) != (*self.size, 3):
            wanted = f"(T, {self.size[0]}, {self.size[1]}, 3)"
            raise InputError(f"frames have shape {tuple(frames.shape)}, but the codec needs {wanted}")
        pixels = frames.permute(3, 0, 1, 2)[None].to(self._dtype) / 127.5 - 1
        return self._scaled(self.vae.encode(pixels).latent_dist.mode()[0].transpose(0, 1).float())

    @torch.no_grad()
    def decode(self, latents: Tensor) -> Tensor:
        """Latents (L, C, h, w) to frames (T, H, W, 3) uint8."""
        return self.stream().push(latents)

    def stream(self) -> Stream:
        """A fresh decoding from latent 0 on."""
        raise NotImplementedError

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.vae.parameters()).dtype

    def _scaled(self, latents: Tensor) -> Tensor:
        """What the model works on, from the autoencoder's latents (L, C, h, w)."""
        raise NotImplementedError

    def _plain(self, latents: Tensor) -> Tensor:
        """`_scaled` backwards."""
        raise NotImplementedError


class Stream:
    """Decoding of one growing video: `push` latents, get their frames; earlier ones are never decoded again."""

    def __init__(self, codec: VideoCodec):
        self.codec, self.latents = codec, 0

    @torch.no_grad()
    def push(self, latents: Tensor) -> Tensor:
        """Latents (n, C, h, w) that follow to their frames, (4 n - 3, H, W, 3) uint8 at first and (4 n, …) later."""
        plain = self.codec._plain(latents.float()).to(self.codec._dtype).transpose(0, 1)[None]
        pixels = self._pixels(plain).float().clamp(-1, 1)
        self.latents += len(latents)
        return ((pixels[0].permute(1, 2, 3, 0) + 1) * 127.5).round().to(torch.uint8)

    def _pixels(self, plain: Tensor) -> Tensor:
        """(1, C, n, h, w) to (1, 3, frames, H, W)."""
        raise NotImplementedError


class WanCodec(VideoCodec):
    """Wan2.2's autoencoder (`AutoencoderKLWan`): 48 channels, each with its own mean and deviation."""

    def __init__(self, vae: nn.Module, size: tuple[int, int] = (704, 1280)):
        super().__init__(vae, size)
        self.channels = vae.config.z_dim
        for name in ("mean", "std"):
            values = torch.tensor(getattr(vae.config, f"latents_{name}"), dtype=torch.float32)
            self.register_buffer(name, values[:, None, None], persistent=False)

    def stream(self) -> Stream:
        """A fresh decoding."""
        return _WanStream(self)

    def _scaled(self, latents: Tensor) -> Tensor:
        return (latents - self.mean) / self.std

    def _plain(self, latents: Tensor) -> Tensor:
        return latents * self.std + self.mean


class _WanStream(Stream):
    """Keeps what `AutoencoderKLWan.decode` forgets: the last frames before every causal convolution."""

    def __init__(self, codec: WanCodec):
        super().__init__(codec)
        codec.vae.clear_cache()
        self._kept: list[Any] = [None] * len(codec.vae._feat_map)

    def _pixels(self, plain: Tensor) -> Tensor:
        vae = self.codec.vae
        pieces = []
        for i, latent in enumerate(plain.split(1, 2)):  # one by one from the start: bit for bit the same in any split
            x, first = vae.post_quant_conv(latent), self.latents + i == 0
            pieces.append(vae.decoder(x, feat_cache=self._kept, feat_idx=[0], first_chunk=first))
        out, patch = torch.cat(pieces, 2), vae.config.patch_size
        return out if patch is None else _unpatched(out, patch)


class HunyuanCodec(VideoCodec):
    """HunyuanVideo-1.5's autoencoder (`AutoencoderKLHunyuanVideo15`): 32 channels, one scale."""

    def __init__(self, vae: nn.Module, size: tuple[int, int] = (480, 832)):
        super().__init__(vae, size)
        self.channels = vae.config.latent_channels

    def stream(self) -> Stream:
        """A fresh decoding; it keeps keys and values of all earlier frames, because the decoder attends to them."""
        return _HunyuanStream(self)

    def _scaled(self, latents: Tensor) -> Tensor:
        return latents * self.vae.config.scaling_factor

    def _plain(self, latents: Tensor) -> Tensor:
        return latents / self.vae.config.scaling_factor


class _HunyuanStream(Stream):
    def __init__(self, codec: HunyuanCodec):
        super().__init__(codec)
        self._streaming = Streaming(codec.vae.decoder)

    def _pixels(self, plain: Tensor) -> Tensor:
        return self._streaming(plain)


CODECS = {"AutoencoderKLWan": WanCodec, "AutoencoderKLHunyuanVideo15": HunyuanCodec}


def open_codec(folder: str | Path, dtype: torch.dtype = torch.float32, size: tuple[int, int] | None = None) -> VideoCodec:
    """The codec in the folder of a published autoencoder, `config.json` and safetensors; nothing is downloaded.

    Raises:
        InputError: `diffusers` is missing, or the folder holds no autoencoder that is known here.
    """
    try:
        import diffusers
    except ImportError:
        raise InputError("the WorldPlay codecs need diffusers; run: pip install 'worldgym[worldplay]'") from None
    try:
        name = json.loads((Path(folder).expanduser() / "config.json").read_text())["_class_name"]
    except (OSError, ValueError, KeyError, TypeError):
        raise InputError(f"{str(folder)!r} holds no autoencoder; its folder has a config.json with a '_class_name'") from None
    if name not in CODECS:
        raise InputError(f"{str(folder)!r} holds a {name}, but the codecs known here are {', '.join(CODECS)}")
    vae = getattr(diffusers, name).from_pretrained(folder, local_files_only=True, use_safetensors=True, torch_dtype=dtype)
    return CODECS[name](vae) if size is None else CODECS[name](vae, size)


def fit(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image (H', W', 3) uint8 resized (Lanczos) to cover `size` (H, W) and cropped to its middle, as WorldPlay does."""
    height, width = size
    scale = max(height / image.shape[0], width / image.shape[1])
    covered = (max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale)))
    resized = np.asarray(Image.fromarray(image).resize(covered, Image.Resampling.LANCZOS))
    top, left = (resized.shape[0] - height) // 2, (resized.shape[1] - width) // 2
    return resized[top : top + height, left : left + width]


def _unpatched(x: Tensor, patch: int) -> Tensor:
    """(1, c p p, T, h, w) to (1, c, T, h p, w p); the first p of the channels is the place along width."""
    height_first = x.unflatten(1, (-1, patch, patch)).transpose(2, 3).flatten(1, 3)
    return F.pixel_shuffle(height_first.transpose(1, 2), patch).transpose(1, 2)
