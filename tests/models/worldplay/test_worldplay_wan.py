"""The 5B network: its keys and shapes, its base model, its cameras, its context."""

import pytest
import torch
from worldplay_toys import WAN, apart, cameras, randn, span, wan

from worldgym.errors import InputError
from worldgym.models.diffusion.worldplay.context import Memo, beside
from worldgym.models.diffusion.worldplay.prope import Lenses
from worldgym.models.diffusion.worldplay.rope import turns
from worldgym.models.diffusion.worldplay.wan import WanConfig, WanWorldPlay

PUBLISHED = {  # the config.json of Wan2.2-TI2V-5B
    **{"patch_size": (1, 2, 2), "num_attention_heads": 24, "attention_head_dim": 128, "in_channels": 48, "out_channels": 48},
    **{"text_dim": 4096, "freq_dim": 256, "ffn_dim": 14336, "num_layers": 30, "cross_attn_norm": True, "eps": 1e-6},
    **{"qk_norm": "rms_norm_across_heads", "image_dim": None, "added_kv_proj_dim": None, "rope_max_seq_len": 1024},
}


def base_model(config):
    from diffusers import WanTransformer3DModel

    sizes = {
        **{"num_attention_heads": config.heads, "attention_head_dim": config.head_dim, "in_channels": config.channels},
        **{"out_channels": config.channels, "text_dim": config.text, "freq_dim": config.frequencies, "ffn_dim": config.mlp},
        **{"num_layers": config.layers, "patch_size": (1, config.patch, config.patch)},
    }
    return WanTransformer3DModel(**{**PUBLISHED, **sizes})


def test_keys_and_shapes_at_full_size():
    with torch.device("meta"):
        base, ours = base_model(WanConfig.published(PUBLISHED)), WanWorldPlay(WanConfig.published(PUBLISHED))
    expected = {name: tuple(value.shape) for name, value in base.state_dict().items()}
    assert (len(expected), sum(p.numel() for p in base.parameters())) == (825, 4_999_787_712)
    expected["condition_embedder.action_embedder.linear_1.weight"] = (3072, 256)
    expected["condition_embedder.action_embedder.linear_2.weight"] = (3072, 3072)
    for layer in (1, 2):
        expected[f"condition_embedder.action_embedder.linear_{layer}.bias"] = (3072,)
    for block in range(30):
        expected[f"blocks.{block}.attn1.to_out_prope.0.weight"] = (3072, 3072)
        expected[f"blocks.{block}.attn1.to_out_prope.0.bias"] = (3072,)
    assert {name: tuple(value.shape) for name, value in ours.state_dict().items()} == expected
    assert (len(expected), sum(p.numel() for p in ours.parameters())) == (889, 5_293_225_152)


def test_new_networks_have_their_additions_at_zero():
    network = WanWorldPlay(WAN)
    zero = [name for name, value in network.named_parameters() if not value.any() and not name.endswith("norm2.bias")]
    assert sorted(zero) == sorted(
        [f"condition_embedder.action_embedder.linear_2.{x}" for x in ("weight", "bias")]
        + [f"blocks.{i}.attn1.to_out_prope.0.{x}" for i in (0, 1) for x in ("weight", "bias")]
    )


@pytest.mark.parametrize(("heads", "head_dim"), [(2, 24), (3, 12)])
def test_without_the_additions_it_is_the_base_model(heads, head_dim):
    config = WanConfig(**{**WAN.__dict__, "heads": heads, "head_dim": head_dim})
    network, base = wan(config=config), base_model(config).eval()
    with torch.no_grad():
        for name, value in network.named_parameters():
            if "action_embedder.linear_2" in name or "to_out_prope" in name:
                value.zero_()
    base.load_state_dict({n: v for n, v in network.state_dict().items() if "action" not in n and "prope" not in n})
    latents, text = randn(2, 5, 4, 6, 8), randn(2, 6, 16, seed=1)
    time = torch.tensor([14.0, 960.0, 500.0, 3.5, 0.0])
    with torch.no_grad():
        ours = network(latents, time.expand(2, 5), text, *cameras(2, 5))
        each = time.repeat_interleave(12).expand(2, 60)
        theirs = base(latents.transpose(1, 2), each, text, return_dict=False)[0].transpose(1, 2)
    assert ours.std() > 0.1
    assert (ours - theirs).abs().max() <= 1e-6


def test_a_short_text_is_filled_up_with_zeros():
    network, latents, route = wan(), randn(1, 4, 4, 4, 4), cameras(1, 4)
    text = randn(1, 3, 16)
    full = torch.cat([text, torch.zeros(1, 3, 16)], 1)
    with torch.no_grad():
        assert torch.equal(network(latents, 500.0, text, *route), network(latents, 500.0, full, *route))
        nothing = network(latents, 500.0, network.no_text(), *route)
        assert torch.equal(nothing, network(latents, 500.0, torch.zeros(1, 6, 16), *route))
        assert not torch.allclose(nothing, network(latents, 500.0, text, *route))


@torch.no_grad()
def test_a_label_is_embedded_like_a_time_and_added():
    """With the same weights in both embedders, time 7 under label 40 is time 40 under label 7."""
    network, latents, (camera, lens, labels) = wan(), randn(1, 2, 4, 4, 4), cameras(1, 2)
    told = network.condition_embedder
    told.action_embedder.load_state_dict(told.time_embedder.state_dict())
    one, other = (
        network(latents, time, network.no_text(), camera, lens, torch.full_like(labels, label))
        for time, label in ((7.0, 40), (40.0, 7))
    )
    assert apart(one, other) <= 1e-6
    assert apart(one, network(latents, 7.0, network.no_text(), camera, lens, torch.full_like(labels, 7))) > 1e-3


def two_chunks(network, route, rows=2, positions=None):
    """Velocities of latents 8 … 11 given 0 … 7, and the context."""
    latents, text = randn(rows, 12, 4, 4, 6), network.read_text(randn(rows, 6, 16, seed=1))
    context = network.read_context(latents[:, :8], text, *span(route, 0, 8))
    return network(latents[:, 8:], 700.0, text, *span(route, 8, 12), context), context


def rigid(seed):
    turn = torch.linalg.qr(randn(3, 3, seed=seed).double())[0]
    motion = torch.eye(4, dtype=torch.float64)
    motion[:3, :3], motion[:3, 3] = turn * torch.linalg.det(turn), randn(3, seed=seed + 1).double()
    return motion


@torch.no_grad()
def test_moving_the_whole_world_changes_nothing():
    network, (camera, lens, labels) = wan(), cameras(2, 12)
    before, _ = two_chunks(network, (camera, lens, labels))
    after, _ = two_chunks(network, (rigid(3) @ camera, lens, labels))
    assert apart(before, after) <= 1e-6
    moved = camera.clone()
    moved[:, 8:, :3, 3] += 0.5
    other, _ = two_chunks(network, (moved, lens, labels))
    assert (before - other).abs().max() > 1e-3


@torch.no_grad()
def test_cameras_that_do_nothing_leave_plain_attention():
    """Identity cameras and intrinsics: the camera branch is attention without positions."""
    network = wan()
    attention = network.blocks[0].attn1
    still = torch.eye(4).expand(1, 2, 4, 4), torch.eye(3).expand(1, 2, 3, 3)
    x, turn = randn(1, 2, 4, 48), turns(torch.arange(2)[None], (2, 2), WAN.rope_parts, 1e4)
    got = attention.over_video(x, turn, Lenses.of(*still), lambda q, k, v: beside([])(0, q, k, v))
    attention.to_out[0].weight.zero_()
    camera_branch = attention.over_video(x, turn, Lenses.of(*still), lambda q, k, v: beside([])(0, q, k, v))
    q, (k, v) = attention.queries(x), attention.keys(x)
    weights = (q @ k.mT / 24**0.5).softmax(-1)
    plain = (weights @ v).transpose(1, 2).reshape(x.shape)
    expected = attention.to_out_prope[0](plain) + attention.to_out[0].bias
    assert (camera_branch - expected).abs().max() <= 1e-6
    assert not torch.allclose(got, camera_branch)


@torch.no_grad()
@pytest.mark.parametrize("true_positions", [False, True])
def test_a_cached_context_equals_one_pass_under_a_mask(true_positions):
    network, route = wan(), cameras(2, 24)
    latents, text = randn(2, 24, 4, 4, 6), network.read_text(randn(2, 6, 16, seed=1))
    for start, chosen in ((4, [0, 1, 2, 3]), (20, [4, 5, 6, 7, *range(8, 20)])):
        shown, now = torch.tensor(chosen), torch.arange(start, start + 4)
        places = (shown[None], now[None]) if true_positions else (None, None)
        old, new = tuple(x[:, shown] for x in route), tuple(x[:, now] for x in route)
        context = network.read_context(latents[:, shown], text, *old, places[0])
        cached = network(latents[:, now], 700.0, text, *new, context, places[1])
        shots = (
            network.shot(latents[:, shown], 14.0, *old, places[0]),
            network.shot(latents[:, now], 700.0, *new, places[1], start=len(shown)),
        )
        whole = network.one_pass(*shots, text)
        assert apart(cached, whole) <= 1e-6
        alone = network(latents[:, now], 700.0, text, *new)
        assert (cached - alone).abs().max() > 1e-3


@torch.no_grad()
def test_a_batch_equals_its_singles():
    network, route = wan(), cameras(3, 12)
    batch, context = two_chunks(network, route, rows=3)
    latents, text = randn(3, 12, 4, 4, 6), randn(3, 6, 16, seed=1)
    for row in range(3):
        one = slice(row, row + 1)
        mine = tuple(x[one] for x in route)
        alone = network.read_context(latents[one, :8], text[one], *span(mine, 0, 8))
        single = network(latents[one, 8:], 700.0, text[one], *span(mine, 8, 12), alone)
        assert apart(single, batch[one]) <= 1e-6


@torch.no_grad()
def test_rows_of_a_group_share_one_context():
    network, route = wan(), cameras(2, 12)
    _, context = two_chunks(network, route)
    noisy, text = randn(6, 4, 4, 4, 6, seed=5), network.read_text(randn(2, 6, 16, seed=1))
    now = tuple(x.repeat_interleave(3, 0) for x in span(route, 8, 12))
    group = network(noisy, 700.0, text, *now, context)
    copied = Memo(tuple(tuple(x.repeat_interleave(3, 0) for x in layer) for layer in context.layers), 8)
    assert torch.equal(group, network(noisy, 700.0, text, *now, copied))


@torch.no_grad()
def test_shapes_that_do_not_fit():
    network, route = wan(), cameras(1, 4)
    with pytest.raises(InputError, match="4 channels"):
        network(randn(1, 4, 5, 4, 4), 1.0, network.no_text(), *route)
    with pytest.raises(InputError, match="labels has shape"):
        network(randn(1, 4, 4, 4, 4), 1.0, network.no_text(), *route[:2], route[2][:, :3])
    with pytest.raises(InputError, match="the text has shape"):
        network(randn(1, 4, 4, 4, 4), 1.0, randn(1, 7, 16), *route)


def test_half_precision_and_checkpointing():
    network, route = wan(), cameras(1, 4)
    latents, text = randn(1, 4, 4, 4, 4), randn(1, 6, 16)
    network(latents, 500.0, text, *route).square().mean().backward()
    plain = {name: value.grad.clone() for name, value in network.named_parameters()}
    network.zero_grad()
    network.checkpointing = True
    network(latents, 500.0, text, *route).square().mean().backward()
    assert all(torch.equal(value.grad, plain[name]) for name, value in network.named_parameters())
    exact = network(latents, 500.0, text, *route)
    for name, value in network.named_parameters():
        if not any(part in name for part in network.FLOAT32):
            value.data = value.data.bfloat16()
    half = network(latents, 500.0, text, *route)
    assert half.dtype == torch.float32
    assert (half - exact).abs().mean() < 0.05 * exact.abs().mean()
