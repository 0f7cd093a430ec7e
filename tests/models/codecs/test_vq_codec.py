"""The VQ codec and diffusers' `VQModel` (MineWorld's tokenizer) are the same function of the same weights."""

import numpy as np
import pytest
import torch
from mineworld_toys import KEYS, TINY_VQ, random_codec

from worldgym.errors import InputError
from worldgym.models.codecs.vq_codec import VQCodec, VQConfig
from worldgym.models.token.mineworld import empty

CONFIGS = {
    "two levels": TINY_VQ,
    "as published, narrow": VQConfig((8, 16, 16, 24, 32), latent=6, embed=6, codes=300, groups=8, height=32, width=48),
}


def diffusers_model(config: VQConfig):
    diffusers = pytest.importorskip("diffusers")
    levels = len(config.channels)
    return diffusers.VQModel(
        block_out_channels=config.channels,
        layers_per_block=config.layers,
        latent_channels=config.latent,
        vq_embed_dim=config.embed,
        num_vq_embeddings=config.codes,
        norm_num_groups=config.groups,
        down_block_types=("DownEncoderBlock2D",) * levels,
        up_block_types=("UpDecoderBlock2D",) * levels,
        mid_block_add_attention=False,
        lookup_from_codebook=True,
    ).eval()


def frames(config: VQConfig, count: int) -> torch.Tensor:
    random = np.random.default_rng(1)
    return torch.from_numpy(random.integers(0, 256, (count, config.height, config.width, 3), np.uint8))


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
@torch.no_grad()
def test_codes_and_pixels_are_those_of_diffusers(config):
    ours, theirs = random_codec(config), diffusers_model(config)
    theirs.load_state_dict(ours.state_dict(), strict=True)
    pictures = frames(config, 4)
    unit = (pictures.movedim(-1, 1) / 255 - 0.5) / 0.5  # mean and deviation .5, as MineWorld feeds it
    expected = torch.stack([theirs.quantize(theirs.encode(one[None]).latents)[2][2] for one in unit])
    codes = ours.encode(pictures)
    assert torch.equal(codes, expected)
    assert len(codes.unique()) > 15
    shape = (1, *ours.grid, config.embed)  # frame by frame, as MineWorld decodes: batches round otherwise
    image = torch.cat([theirs.decode(one, force_not_quantize=True, shape=shape).sample for one in codes])
    pixels = ((image.clamp(-1, 1) + 1) / 2 * 255).numpy().astype(np.uint8).transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(ours.decode(codes).numpy(), pixels)
    assert pixels.std() > 10


def test_published_size():
    codec = empty(VQCodec, VQConfig())
    assert {f"tokenizer.model.{name}": list(t.shape) for name, t in codec.state_dict().items()} == KEYS["tokenizer"]
    assert sum(p.numel() for p in codec.parameters()) == 146_244_675
    assert codec.grid == (14, 24) and codec.codes == 8192


def test_leading_axes_and_rows_do_not_matter():
    codec, pictures = random_codec(), frames(TINY_VQ, 6)
    codes = codec.encode(pictures)
    assert torch.equal(codec.encode(pictures.view(2, 3, 8, 12, 3)), codes.view(2, 3, 24))
    assert torch.equal(codec.encode(pictures[4]), codes[4])
    assert torch.equal(codec.decode(codes.view(2, 3, 24))[1, 1], codec.decode(codes[4]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision(dtype):
    """Most codes stay; pixels move by a few shades."""
    exact, pictures = random_codec(), frames(TINY_VQ, 4)
    half = random_codec().to(dtype)
    codes = exact.encode(pictures)
    assert (half.encode(pictures) == codes).float().mean() > 0.8
    assert (half.decode(codes).int() - exact.decode(codes).int()).abs().float().mean() < 3


def test_wrong_frames_and_sizes_are_refused():
    with pytest.raises(InputError, match=r"this codec reads torch.uint8 \(…, 8, 12, 3\)"):
        random_codec().encode(torch.zeros(2, 12, 8, 3, dtype=torch.uint8))
    with pytest.raises(InputError, match="do not divide by 16"):
        VQConfig(height=230)
    with pytest.raises(InputError, match="multiples of the 32 groups"):
        VQConfig(channels=(16, 32))
