"""The 8B network: its keys and shapes, the map to diffusers, its base model, its text, its cameras."""

import json

import pytest
import torch
from safetensors.torch import save_file
from worldplay_toys import CONFIGS, HUNYUAN, apart, cameras, hunyuan, randn, span, told

from worldgym.errors import InputError
from worldgym.models.diffusion.worldplay.files import load
from worldgym.models.diffusion.worldplay.hunyuan import HunyuanConfig, HunyuanWorldPlay
from worldgym.models.diffusion.worldplay.hunyuan_keys import to_diffusers, to_published
from worldgym.models.diffusion.worldplay.hunyuan_text import Told


def base_model(config):
    from diffusers import HunyuanVideo15Transformer3DModel

    return HunyuanVideo15Transformer3DModel(
        **{"in_channels": 2 * config.channels + 1, "out_channels": config.channels, "num_attention_heads": config.heads},
        **{
            "attention_head_dim": config.hidden // config.heads,
            "num_layers": config.layers,
            "rope_axes_dim": config.rope_parts,
        },
        **{"num_refiner_layers": config.refiner_layers, "text_embed_dim": config.text, "text_embed_2_dim": config.glyph},
        **{"image_embed_dim": config.vision},
    )


def shapes(tensors):
    return {name: tuple(value.shape) for name, value in tensors.items()}


def test_keys_and_shapes_at_full_size():
    from diffusers import HunyuanVideo15Transformer3DModel

    with torch.device("meta"):
        base, ours = HunyuanVideo15Transformer3DModel(), HunyuanWorldPlay()
    assert (len(base.state_dict()), sum(p.numel() for p in base.parameters())) == (1801, 8_326_608_160)
    expected = shapes(to_published(base.state_dict()))
    assert len(expected) == 1793
    for layer, width in ((0, 256), (2, 2048)):
        expected[f"action_in.mlp.{layer}.weight"], expected[f"action_in.mlp.{layer}.bias"] = (2048, width), (2048,)
    for block in range(54):
        expected[f"double_blocks.{block}.img_attn_prope_proj.weight"] = (2048, 2048)
        expected[f"double_blocks.{block}.img_attn_prope_proj.bias"] = (2048,)
    assert shapes(ours.state_dict()) == expected
    assert (len(expected), sum(p.numel() for p in ours.parameters())) == (1905, 8_557_933_856)
    assert len(to_diffusers(ours.state_dict())) == 1913
    mine = {n: s for n, s in shapes(to_diffusers(ours.state_dict())).items() if "action_in" not in n and "prope" not in n}
    assert mine == shapes(base.state_dict())


@pytest.mark.parametrize(
    ("published", "in_diffusers"),
    [
        (
            "txt_in.individual_token_refiner.blocks.1.mlp.fc2.bias",
            "context_embedder.token_refiner.refiner_blocks.1.ff.net.2.bias",
        ),
        ("double_blocks.7.img_attn_k_norm.weight", "transformer_blocks.7.attn.norm_k.weight"),
        ("double_blocks.53.txt_attn_proj.weight", "transformer_blocks.53.attn.to_add_out.weight"),
        ("vision_in.proj.3.weight", "image_embedder.linear_2.weight"),
        ("cond_type_embedding.weight", "cond_type_embed.weight"),
    ],
)
def test_some_names_by_hand(published, in_diffusers):
    one = {published: torch.zeros(2)}
    assert list(to_diffusers(one)) == [in_diffusers]
    assert list(to_published({in_diffusers: torch.zeros(2)})) == [published]


def test_the_map_there_and_back_and_a_file_in_the_other_form(tmp_path):
    network = hunyuan()
    mine = {name: value.detach() for name, value in network.state_dict().items()}
    other = to_diffusers(mine)
    again = to_published(other)
    assert again.keys() == mine.keys()
    assert all(torch.equal(again[name], mine[name]) for name in mine)
    assert to_published(mine).keys() == mine.keys()
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["hunyuan"]))
    save_file({name: value.contiguous().clone() for name, value in other.items()}, tmp_path / "m.safetensors")
    loaded = load(tmp_path).state_dict()
    assert all(torch.equal(loaded[name], mine[name]) for name in mine)


@torch.no_grad()
@pytest.mark.parametrize("case", ["one block at t = 0", "a text that nothing moves"])
def test_the_image_stream_is_the_base_models_where_both_do_the_same(case):
    """The base model lets its text see the video and the time; where it cannot, both are one."""
    one = case.startswith("one")
    config = HunyuanConfig(**{**HUNYUAN.__dict__, "layers": 1 if one else 3, "refiner_layers": 2})
    network = hunyuan(config=config)
    for name, value in network.named_parameters():
        moves = ("txt_attn_proj", "txt_mod.linear.weight", "txt_in.t_embedder.mlp.2.weight")
        if "action_in.mlp.2" in name or "prope" in name or (not one and any(part in name for part in moves)):
            value.zero_()
    base = base_model(config).eval()
    base.load_state_dict(
        {n: v for n, v in to_diffusers(network.state_dict()).items() if "action_in" not in n and "prope" not in n}
    )
    text, latents, time = told(2), randn(2, 3, 9, 3, 4), 0.0 if one else 700.0
    ours = network(latents, time, text, *cameras(2, 3))
    theirs = base(
        latents.transpose(1, 2),
        torch.full((2,), time),
        encoder_hidden_states=text.text,
        encoder_attention_mask=text.text_mask,
        encoder_hidden_states_2=text.glyphs,
        encoder_attention_mask_2=text.glyphs_mask,
        image_embeds=text.vision,
        return_dict=False,
    )[0].transpose(1, 2)
    assert ours.std() > 0.1
    assert apart(ours, theirs) <= 1e-6


@torch.no_grad()
def test_the_label_and_the_camera_count():
    network, (camera, lens, labels) = hunyuan(), cameras(1, 4)
    latents, text = randn(1, 4, 9, 3, 4), told(1)
    v = network(latents, 500.0, text, camera, lens, labels)
    assert apart(network(latents, 500.0, text, camera, lens, (labels + 1) % 81), v) > 1e-3
    assert apart(network(latents, 500.0, text, camera, 2 * lens, labels), v) > 1e-3


@torch.no_grad()
def test_moving_the_whole_world_changes_the_answer_because_the_text_has_no_camera():
    network, (camera, lens, labels) = hunyuan(), cameras(2, 8)
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, 3] = torch.tensor([0.5, -0.2, 1.0])
    latents = randn(2, 8, 9, 3, 4)

    def answer(text, camera):
        memo = network.read_text(text)
        context = network.read_context(latents[:, :4], memo, *span((camera, lens, labels), 0, 4))
        return network(latents[:, 4:], 500.0, memo, *span((camera, lens, labels), 4, 8), context)

    assert apart(answer(told(2), motion @ camera), answer(told(2), camera)) > 1e-3
    nothing = network.no_text(2)
    assert apart(answer(nothing, motion @ camera), answer(nothing, camera)) <= 2e-6


@torch.no_grad()
def test_padding_is_never_looked_at():
    network, route = hunyuan(), cameras(2, 4)
    text, latents = told(2), randn(2, 4, 9, 3, 4)
    memo = network.read_text(text)
    assert memo.lengths is None  # 3 of the image, 5 of text; 3, 2 glyphs, 3
    batch = network(latents, 500.0, memo, *route)
    spoiled = Told(text.text.clone(), text.text_mask, text.glyphs.clone(), text.glyphs_mask, text.vision)
    spoiled.text[1, 3:], spoiled.glyphs[0] = 1e3, 1e3
    assert torch.equal(network(latents, 500.0, spoiled, *route), batch)
    for row in range(2):
        one = slice(row, row + 1)
        single = network(latents[one], 500.0, text[one], *(x[one] for x in route))
        assert apart(single, batch[one]) <= 1e-6


@torch.no_grad()
def test_prompts_of_different_lengths_stand_in_one_memo():
    network = hunyuan()
    text = told(3)
    text.text_mask[2, 1:] = 0
    memo = network.read_text(text)
    assert memo.lengths == (8, 10, 6)  # image 3, glyphs 0 or 2, text 5, 5, 1
    assert memo.layers[0][0].shape == (3, 2, 10, 32)
    assert len(memo) == 3
    latents, route = randn(3, 4, 9, 3, 4), cameras(3, 4)
    batch = network(latents, 500.0, memo, *route)
    for row in range(3):
        one = slice(row, row + 1)
        assert apart(network(latents[one], 500.0, text[one], *(x[one] for x in route)), batch[one]) <= 1e-6


@torch.no_grad()
def test_what_the_network_takes():
    network = hunyuan()
    z, given = randn(2, 4, 4, 3, 4), randn(2, 4, 3, 4, seed=1)
    shown = network.shown(z, given, torch.tensor([[0, 1, 2, 3], [4, 5, 6, 7]]))
    assert torch.equal(shown[:, :, :4], z)
    assert torch.equal(shown[0, 0, 4:8], given[0])
    assert not shown[0, 1:, 4:].any() and not shown[1, :, 4:].any()
    assert (shown[0, 0, 8] == 1).all()
    assert not network.shown(z, None, torch.zeros(2, 4))[:, :, 4:].any()
    with pytest.raises(InputError, match="needs 9 channels"):
        network(z, 1.0, network.no_text(), *cameras(2, 4))


def test_configurations():
    assert HunyuanConfig.published({}) == HunyuanConfig()
    assert HunyuanConfig.published({"num_attention_heads": 4, "attention_head_dim": 128}).hidden == 512
    with pytest.raises(InputError, match="do not add up"):
        HunyuanConfig(heads=3)
