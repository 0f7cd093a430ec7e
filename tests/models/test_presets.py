"""Presets of one name belong together: a network and a codec of the same size make a world model."""

import pytest

from worldgym.models.codecs import codec
from worldgym.models.diffusion import frame_diffusion
from worldgym.models.token import token_model
from worldgym.models.world_model import WorldModel

FAMILIES = {
    "token": (token_model.PRESETS, token_model.TokenModel, codec.FRAME_PRESETS, codec.FrameCodec),
    "diffusion": (frame_diffusion.PRESETS, frame_diffusion.FrameDiffusion, codec.LATENT_PRESETS, codec.LatentCodec),
}
SHARED = [(kind, name) for kind, (models, _, codecs, _) in FAMILIES.items() for name in models if name in codecs]


@pytest.mark.parametrize(("kind", "name"), SHARED)
def test_a_network_fits_the_codec_of_its_name(kind, name):
    models, network, codecs, coder = FAMILIES[kind]
    assert WorldModel(name, kind, network(models[name]), coder(codecs[name])).kind == kind


def test_both_kinds_have_both_sizes():
    assert {(kind, name) for kind in FAMILIES for name in ("nano", "small")} <= set(SHARED)
