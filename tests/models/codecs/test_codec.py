"""Codecs: shapes, codes that count every level, round trips, learning."""

import pytest
import torch

from worldgym.models.codecs.codec import (
    FRAME_PRESETS,
    LATENT_PRESETS,
    FrameCodec,
    FrameCodecConfig,
    LatentCodec,
    LatentCodecConfig,
    to_frames,
    to_unit,
)

TINY = {"wide": 16, "fine": 16, "blocks": 1, "height": 16, "width": 24}


def frames(*lead, height=16, width=24):
    return torch.randint(0, 256, (*lead, height, width, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_bytes_come_back():
    every = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16, 1).repeat(1, 1, 1, 3)
    assert (to_frames(to_unit(every)) == every).all()


@pytest.mark.parametrize("name", sorted(FRAME_PRESETS))
def test_frame_presets_have_84_codes(name):
    with torch.device("meta"):
        codec = FrameCodec(FRAME_PRESETS[name])
    assert codec.grid == (7, 12) and codec.codes == 8 * 8 * 6 * 5


@pytest.mark.parametrize("name", sorted(LATENT_PRESETS))
def test_latent_presets_have_the_same_grid(name):
    with torch.device("meta"):
        codec = LatentCodec(LATENT_PRESETS[name])
    assert codec.grid == (7, 12) and codec.channels == LATENT_PRESETS[name].channels


def test_every_code_is_its_own_and_comes_back():
    torch.manual_seed(0)
    codec = FrameCodec(FrameCodecConfig(levels=(4, 3, 2), **TINY)).eval()
    codes = torch.arange(24).reshape(4, 6)
    index = codes[..., None] // codec._base % codec._levels
    assert len({tuple(i) for i in index.reshape(-1, 3).tolist()}) == 24
    values = codec._values(index)
    assert values.min() == -1 and values.max() == 1
    z = torch.atanh(values.clamp(-0.999, 0.999)).reshape(1, 4, 6, 3).movedim(-1, 1)
    again = (codec._round(z)[1] * codec._base).sum(-1)
    assert (again.flatten() == codes.flatten()).all()


def test_shapes_with_any_leading_axes():
    torch.manual_seed(0)
    discrete, continuous = FrameCodec(FrameCodecConfig(**TINY)).eval(), LatentCodec(LatentCodecConfig(**TINY)).eval()
    clip = frames(2, 3)
    codes, latents = discrete.encode(clip), continuous.encode(clip)
    assert codes.shape == (2, 3, 6) and codes.dtype == torch.int64 and 0 <= codes.min() and codes.max() < discrete.codes
    assert latents.shape == (2, 3, 12, 2, 3) and latents.dtype == torch.float32
    assert discrete.decode(codes).shape == continuous.decode(latents).shape == clip.shape
    assert (discrete.encode(clip[1, 2]) == codes[1, 2]).all()
    torch.testing.assert_close(continuous.encode(clip[1, 2]), latents[1, 2], atol=1e-5, rtol=1e-4)


def test_gradients_pass_the_rounding():
    torch.manual_seed(0)
    codec = FrameCodec(FrameCodecConfig(**TINY))
    codec.loss(frames(4))[0].backward()
    assert codec.encoder[1].weight.grad.abs().sum() > 0


@pytest.mark.parametrize("pair", [(FrameCodec, FrameCodecConfig), (LatentCodec, LatentCodecConfig)], ids=["frame", "latent"])
def test_learns_to_copy_flat_colours(pair):
    torch.manual_seed(0)
    codec = pair[0](pair[1](**TINY))
    optimizer = torch.optim.AdamW(codec.parameters(), 5e-3)
    generator = torch.Generator().manual_seed(1)
    for _ in range(150):
        flat = torch.randint(0, 256, (16, 1, 1, 3), dtype=torch.uint8, generator=generator).expand(-1, 16, 24, -1)
        optimizer.zero_grad()
        loss, logs = codec.loss(flat)
        loss.backward()
        optimizer.step()
    assert logs["psnr"] > 18
    if isinstance(codec, LatentCodec):  # whitened by running statistics
        assert codec.encode(flat).std() == pytest.approx(1, abs=0.5)


def test_wrong_frames_are_one_sentence():
    codec = FrameCodec(FrameCodecConfig(**TINY))
    for bad in (frames(2).float(), frames(2, height=24), torch.zeros(3, 16, 24, dtype=torch.uint8)):
        with pytest.raises(ValueError, match="this codec reads"):
            codec.encode(bad)


def test_pictures_are_decoded_frames_before_rounding_and_have_a_gradient():
    torch.manual_seed(0)
    discrete, continuous = (
        FrameCodec(FrameCodecConfig(levels=(4, 3), **TINY)),
        LatentCodec(LatentCodecConfig(channels=2, **TINY)),
    )
    codes, latents = torch.arange(12).reshape(2, 6), torch.randn(2, 3, 2, 2, 3)
    values = discrete.values(codes).requires_grad_()
    assert values.shape == (2, 6, 2) and values.detach().unique(dim=0).shape == (2, 6, 2) and values.abs().max() == 1
    for pictures, decoded, source in (
        (discrete.pictures(values), discrete.decode(codes), values),
        (continuous.pictures(latents.requires_grad_()), continuous.decode(latents), latents),
    ):
        assert pictures.shape == decoded.shape
        torch.testing.assert_close((pictures.clamp(0, 1) * 255).round(), decoded.float(), atol=1.0, rtol=0)
        assert (pictures.clamp(0, 1) * 255 - decoded).abs().max() < 0.501
        (slope,) = torch.autograd.grad(pictures.sum(), source)
        assert (slope != 0).any()
