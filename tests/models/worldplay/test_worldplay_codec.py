"""Codecs with a stride in time: streaming is the whole decode, lengths fit, and what depends on what."""

import copy

import numpy as np
import pytest
import torch
from worldplay_toys import noisy, randn

from worldgym.errors import InputError
from worldgym.models.diffusion.worldplay.video_codec import HunyuanCodec, WanCodec, fit, open_codec

SIZE = (16, 32)


def wan_vae():
    from diffusers import AutoencoderKLWan

    return AutoencoderKLWan(
        **{"base_dim": 8, "decoder_base_dim": 8, "z_dim": 4, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1},
        **{"temperal_downsample": [False, True, True], "is_residual": True, "patch_size": 2, "scale_factor_spatial": 16},
        **{"in_channels": 12, "out_channels": 12, "latents_mean": [0.1, -0.2, 0.3, 0.0], "latents_std": [1.5, 0.7, 2.0, 1.0]},
    )


def hunyuan_vae():
    from diffusers import AutoencoderKLHunyuanVideo15

    return AutoencoderKLHunyuanVideo15(latent_channels=4, block_out_channels=(8, 8, 8, 8, 8), layers_per_block=1)


MAKERS = {"wan": (WanCodec, wan_vae), "hunyuan": (HunyuanCodec, hunyuan_vae)}


@pytest.fixture(scope="module", params=list(MAKERS))
def codec(request):
    form, vae = MAKERS[request.param]
    torch.manual_seed(0)
    return form(noisy(vae(), 0, 1.0), SIZE)


def whole(codec, latents):
    """The decode of `diffusers`, in [-1, 1]."""
    with torch.no_grad():
        return codec.vae.decode(codec._plain(latents).transpose(0, 1)[None]).sample.clamp(-1, 1)


def streamed(codec, latents, chunks):
    """The same chunk by chunk."""
    stream, pieces = codec.stream(), []
    with torch.no_grad():
        for piece in latents.split(chunks):
            pieces.append(stream._pixels(codec._plain(piece).transpose(0, 1)[None]).clamp(-1, 1))
            stream.latents += len(piece)
    return torch.cat(pieces, 2)


@pytest.mark.parametrize("chunks", [[4, 2], [1] * 6])
def test_streaming_is_the_whole_decode(codec, chunks):
    latents, exact = randn(6, 4, 1, 2), copy.deepcopy(codec).double()
    expected, at_once, got = (
        form(exact, latents.double(), *parts) for form, *parts in ((whole,), (streamed, [6]), (streamed, chunks))
    )
    assert got.shape == expected.shape == (1, 3, 21, *SIZE)
    assert 0.05 < expected.std() < 0.5
    assert (at_once - expected).abs().max() <= 1e-13
    assert (got - at_once).abs().max() <= (0 if isinstance(codec, WanCodec) else 1e-13)
    expected = whole(codec, latents)
    assert (streamed(codec, latents, chunks) - expected).abs().max() <= 5e-6  # float32 through some twenty convolutions
    frames = codec.decode(latents)
    assert frames.dtype == torch.uint8
    assert (frames.float() - (expected[0].permute(1, 2, 3, 0) + 1) * 127.5).abs().max() <= 0.51


def test_two_streams_at_once_do_not_mix(codec):
    one, two = randn(6, 4, 1, 2), randn(6, 4, 1, 2, seed=1)
    streams = codec.stream(), codec.stream()
    pieces = [
        [stream.push(z[part]) for stream, z in zip(streams, (one, two), strict=True)] for part in (slice(0, 4), slice(4, 6))
    ]
    for row, z in enumerate((one, two)):
        apart = torch.cat([piece[row] for piece in pieces]).int() - codec.decode(z).int()
        assert apart.abs().max() <= (0 if isinstance(codec, WanCodec) else 1)  # one grey level where a rounding tips over


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (13, 4)])
def test_frames_and_latents(codec, frames, latents):
    video = torch.randint(0, 256, (frames, *SIZE, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    encoded = codec.encode(video)
    assert encoded.shape == (latents, codec.channels, *codec.grid)
    assert codec.decode(encoded).shape == video.shape
    first = codec.encode(video[:1])
    assert (encoded[:1] - first).abs().max() <= 1e-5  # latent 0 is of frame 0 alone


def test_scaling_is_undone(codec):
    latents = randn(2, 4, 1, 2)
    assert torch.allclose(codec._scaled(codec._plain(latents)), latents, atol=1e-6)
    assert not torch.allclose(codec._plain(latents), latents, atol=1e-3)


def test_videos_that_do_not_fit(codec):
    with pytest.raises(InputError, match="use 1 or 5"):
        codec.encode(torch.zeros(3, *SIZE, 3, dtype=torch.uint8))
    with pytest.raises(InputError, match="needs \\(T, 16, 32, 3\\)"):
        codec.encode(torch.zeros(1, 32, 16, 3, dtype=torch.uint8))
    with pytest.raises(InputError, match="multiples of 16"):
        type(codec)(codec.vae, (30, 48))


def test_open_codec(codec, tmp_path):
    codec.vae.save_pretrained(tmp_path / "vae")
    again = open_codec(tmp_path / "vae", size=SIZE)
    assert type(again) is type(codec)
    assert torch.equal(again.decode(randn(2, 4, 1, 2)), codec.decode(randn(2, 4, 1, 2)))
    with pytest.raises(InputError, match="holds no autoencoder"):
        open_codec(tmp_path)


def test_images_are_covered_and_cropped():
    image = np.zeros((100, 400, 3), np.uint8)
    image[:, 200:] = 255
    got = fit(image, (32, 48))
    assert got.shape == (32, 48, 3)
    assert got[:, :20].max() == 0 and got[:, 28:].min() == 255
    assert fit(image, (200, 48)).shape == (200, 48, 3)
