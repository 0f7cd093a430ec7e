"""Frame diffusion: cached = recomputed, batch = singles, who sees whom, zero at the start, losses known on paper."""

import dataclasses

import pytest
import torch
from diffusion_toys import TINY, close, inputs, make

from worldgym.actions import DOOM
from worldgym.errors import InputError
from worldgym.models.diffusion import flow
from worldgym.models.diffusion.block import rotate, turns
from worldgym.models.diffusion.clip_attention import attend_sight, beside, block_causal, clip_spans
from worldgym.models.diffusion.clip_rollout import ClipRollout
from worldgym.models.diffusion.frame_diffusion import PRESETS, FrameDiffusion
from worldgym.rng import RowNoise


@pytest.mark.parametrize("clip", [1, 2, 3])
def test_causal_over_clips_and_bidirectional_inside(clip: int):
    """Nudge one frame: exactly the frames of its own clip and of later clips may and do change."""
    model, (latents, actions) = make(clip), inputs(1, 7)
    sigma = torch.full((1, 7), 0.5)
    before = model(latents, sigma, actions)
    spans = clip_spans(7, clip)
    for frame in range(7):
        start = next(start for start, stop in spans if start <= frame < stop)
        nudged = latents.clone()
        nudged[:, frame] += 1
        changed = (model(nudged, sigma, actions) - before).abs().amax(dim=(0, 2, 3, 4)) > 1e-6
        assert changed.tolist() == [later >= start for later in range(7)]


def test_noise_level_of_a_later_clip_changes_nothing_before():
    model, (latents, actions) = make(), inputs(1, 4)
    low, high = (model(latents, torch.tensor([[0.0, 0.0, 0.0, level]]), actions) for level in (0.3, 0.9))
    assert torch.equal(low[:, :3], high[:, :3])
    assert (low - high)[:, 3].abs().max() > 1e-3


@pytest.mark.parametrize(
    "sight", [block_causal([(0, 1), (1, 3), (3, 6)], 2), beside([(0, 1), (1, 3)], [(1, 3), (1, 2), (3, 4)], 2)]
)
def test_block_attention_equals_masked_attention(sight: list):
    """Two roads: stretch by stretch, and one call of torch's attention with the mask written out."""
    tokens = sight[-1][0].stop
    q, k, v = torch.randn(3, 2, 2, tokens, 4, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(tokens, tokens, dtype=torch.bool)
    for rows, columns in sight:
        for part in columns:
            mask[rows, part] = True
    close(attend_sight(sight, 0, q, k, v), torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask))


def test_noisy_copies_do_not_see_each_other():
    sight = beside([(0, 1), (1, 2)], [(1, 2), (1, 2)], length=1)
    assert [[list(range(4))[part] for part in columns] for _, columns in sight] == [[[0]], [[0, 1]], [[0], [2]], [[0], [3]]]


@pytest.mark.parametrize(
    ("frames", "clip", "prefix", "spans"),
    [
        (3, 1, 1, [(0, 1), (1, 2), (2, 3)]),
        (6, 2, 1, [(0, 1), (1, 3), (3, 5), (5, 6)]),
        (8, 3, 3, [(0, 1), (1, 3), (3, 6), (6, 8)]),
        (2, 4, 2, [(0, 1), (1, 2)]),
    ],
)
def test_clip_spans(frames: int, clip: int, prefix: int, spans: list):
    assert clip_spans(frames, clip, prefix) == spans


# --- the network ----------------------------------------------------------------------------------------------------


def test_adaln_zero_starts_at_zero_and_its_blocks_as_the_identity():
    model, (latents, actions) = make(awake=False), inputs(2, 3)
    assert torch.equal(model(latents, torch.full((2, 3), 0.5), actions), torch.zeros_like(latents))
    x, condition = torch.randn(2, 3, 8, 24), torch.randn(2, 3, 24)
    out = model.blocks[0](x, condition, turns(model.angles[:3].flatten(0, 1)), lambda q, k, v: v)
    assert torch.equal(out, x)


def test_actions_reach_their_frame_and_later_ones_only():
    """Action a_2 leads to frame 2: frames 0 and 1 must not know it. Guards an action shifted by one."""
    model, (latents, actions) = make(), inputs(1, 4)
    other = actions.clone()
    other[:, 1] = (other[:, 1] + 1) % torch.tensor(DOOM.sizes)
    sigma = torch.full((1, 4), 0.5)
    changed = (model(latents, sigma, actions) - model(latents, sigma, other)).abs().amax(dim=(0, 2, 3, 4)) > 1e-6
    assert changed.tolist() == [False, False, True, True]


@pytest.mark.parametrize("column", range(len(DOOM.sizes)))
def test_every_action_column_and_label_has_its_own_row(column: int):
    """All labels of all columns map to different rows, and none to the row of "no action"."""
    model, actions = make(), torch.zeros(1, DOOM.sizes[column], len(DOOM.sizes), dtype=torch.int64)
    actions[0, :, column] = torch.arange(DOOM.sizes[column])
    first = sum(DOOM.sizes[:column])
    ids = model.action_ids(actions)
    assert ids[0, 1:, column].tolist() == list(range(first, first + DOOM.sizes[column]))
    assert ids[0, 0].unique().tolist() == [sum(DOOM.sizes)]


def test_the_loss_sees_actions():
    """Train a few steps on frames that are their action: the true action must predict better than another."""
    model = make(awake=False)
    generator = torch.Generator().manual_seed(0)
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)

    def batch(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        actions = torch.zeros(rows, 1, len(DOOM.sizes), dtype=torch.int64)
        actions[:, 0, 0] = torch.randint(2, (rows,), generator=generator)
        latents = torch.zeros(rows, 2, TINY.channels, *TINY.grid)
        latents[:, 1] = 2.0 * actions[:, 0, 0].reshape(-1, 1, 1, 1) - 1
        return latents, actions

    for _ in range(60):
        loss = model.loss(*batch(16), generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    latents, actions = batch(32)
    video = model.generate(latents[:, :1], actions, RowNoise(range(32)), steps=4)
    assert (video[:, 1].mean(dim=(1, 2, 3)).sign() == latents[:, 1, 0, 0, 0]).all()


@pytest.mark.parametrize("patch", [(1, 1), (2, 1), (1, 2), (2, 4)])
def test_patches_round_trip(patch: tuple[int, int]):
    """A token is a patch of neighbouring cells: token 0 holds the upper left corner, and back = identity."""
    model, (latents, _) = make(patch=patch), inputs(2, 3)
    tokens = model._patches(latents)
    assert tokens.shape == (2, 3, model.config.tokens, 3 * patch[0] * patch[1])
    assert torch.equal(tokens[:, :, 0], latents[:, :, :, : patch[0], : patch[1]].flatten(2))
    assert torch.equal(model._cells(tokens), latents)


@pytest.mark.parametrize("name", PRESETS)
def test_position_angles_split_time_height_width(name: str):
    """Moving along one axis turns that axis's pairs and no others, and every axis has some."""
    config = dataclasses.replace(PRESETS[name], max_frames=2)
    with torch.device("meta"):
        head_dim = FrameDiffusion(config).blocks[0].q_norm.normalized_shape[0]
    model = FrameDiffusion(dataclasses.replace(config, hidden=2 * head_dim, heads=2, mlp=8, layers=1))
    angles = model.angles.unflatten(1, [cells // size for cells, size in zip(config.grid, config.patch, strict=True)])
    turned = []
    for axis in range(3):
        if angles.shape[axis] > 1:
            turned.append((angles.select(axis, 1) - angles.select(axis, 0)).abs().flatten(0, 1).amax(0) > 0)
    assert all(pairs.any() for pairs in turned)
    assert (torch.stack(turned).sum(0) <= 1).all()


def test_rotation_keeps_length_and_sees_only_differences():
    """q(s) . k(t) depends on t - s alone: position (2, 5) gives what (0, 3) gives, (0, 2) something else."""
    turn = turns(FrameDiffusion(TINY).angles[:, 0])
    q, k = torch.randn(2, 1, 1, 1, 12, generator=torch.Generator().manual_seed(0))

    def product(s: int, t: int) -> torch.Tensor:
        return (rotate(q, turn[:, s : s + 1]) * rotate(k, turn[:, t : t + 1])).sum()

    close(rotate(q, turn[:, 3:4]).norm(), q.norm())
    close(product(0, 3), product(2, 5))
    assert (product(0, 3) - product(0, 2)).abs() > 1e-2


def test_the_order_of_earlier_frames_matters():
    """One layer sees earlier frames as a set unless positions tell them apart."""
    model, (latents, actions) = make(), inputs(1, 4)
    model.blocks = model.blocks[:1]
    actions[:] = 0
    sigma = torch.zeros(1, 4)
    there, swapped = (model(latents[:, order], sigma, actions)[:, 3] for order in ([0, 1, 2, 3], [0, 2, 1, 3]))
    assert (there - swapped).abs().max() > 1e-3


@pytest.mark.parametrize(("name", "millions"), [("small", (12, 15)), ("310M", (295, 325)), ("774M", (755, 790))])
def test_preset_sizes(name: str, millions: tuple[int, int]):
    with torch.device("meta"):
        model = FrameDiffusion(PRESETS[name])
    assert millions[0] < sum(parameter.numel() for parameter in model.parameters()) / 1e6 < millions[1]


def test_config_survives_json():
    import json

    config = dataclasses.replace(PRESETS["nano"], clip=4)
    assert FrameDiffusion.from_config(json.loads(json.dumps(dataclasses.asdict(config)))).config == config


# --- the loss -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [1, 2])
def test_loss_of_a_model_that_says_zero(clip: int):
    """E |eps - x0|^2 = 1 + x0^2 for constant latents; 7,200 draws of variance 2 + 4 x0^2: 5 deviations allowed."""
    model, (_, actions) = make(clip, awake=False), inputs(30, 6)
    for value in (0.0, 3.0):
        latents = torch.full((30, 6, TINY.channels, *TINY.grid), value)
        loss = model.loss(latents, actions, torch.Generator().manual_seed(0))
        assert abs(loss.item() - (1 + value**2)) < 5 * ((2 + 4 * value**2) / 7200) ** 0.5


def test_loss_is_the_velocity_error_of_one_pass():
    """Second road: the same draws, then `velocities` and the mean square by hand."""
    model, (latents, actions) = make(), inputs(2, 3)
    model.config = dataclasses.replace(model.config, context_noise=0.0)
    seen = {}
    velocities = model.velocities

    def spy(clean, noisy, sigma, actions, spans, context_sigma):
        seen.update(clean=clean, noisy=noisy, sigma=sigma, spans=spans)
        return velocities(clean, noisy, sigma, actions, spans, context_sigma)

    model.velocities = spy
    loss = model.loss(latents, actions, torch.Generator().manual_seed(0), copies=2)
    assert seen["spans"] == [(1, 2), (2, 3)] * 2
    assert torch.equal(seen["clean"], latents[:, :2])
    target = latents[:, [1, 2, 1, 2]]
    eps = (seen["noisy"] - (1 - seen["sigma"][..., None, None, None]) * target) / seen["sigma"][..., None, None, None]
    v = velocities(latents, seen["noisy"], seen["sigma"], actions, seen["spans"])
    torch.testing.assert_close(loss, (v - flow.velocity(target, eps)).square().mean(), rtol=1e-4, atol=0)


def test_noise_levels_are_independent_per_clip_and_shared_inside():
    model, (latents, actions) = make(2), inputs(4, 5)
    seen = {}

    def spy(clean, noisy, sigma, actions, spans, context_sigma):
        seen.update(sigma=sigma, context=context_sigma)
        return torch.zeros_like(noisy)

    model.velocities = spy
    model.loss(latents, actions, torch.Generator().manual_seed(0), copies=3)
    pairs = seen["sigma"].unflatten(1, (-1, 2))
    assert torch.equal(pairs[..., 0], pairs[..., 1])
    assert len(pairs[..., 0].unique()) == pairs[..., 0].numel()
    assert seen["context"].max() <= TINY.context_noise
    assert 0 < (seen["context"] == 0).float().mean() < 1


def test_loss_takes_its_randomness_from_the_generator_alone():
    model, (latents, actions) = make(), inputs(2, 3)
    state = torch.get_rng_state()
    one, same, other = (model.loss(latents, actions, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), state)


# --- bad input ------------------------------------------------------------------------------------------------------


def test_bad_input_gets_a_sentence():
    model, (latents, actions) = make(), inputs(1, 5)
    noise = RowNoise([0])
    with pytest.raises(InputError, match=r"5 frames need \(B, T-1, A\)"):
        model(latents, torch.zeros(1, 5), actions[:, :3])
    with pytest.raises(InputError, match="but the model needs"):
        model.generate(latents[..., :3], actions, noise)
    with pytest.raises(InputError, match="max_frames 12"):
        model.generate(latents, inputs(1, 14)[1], noise)
    with pytest.raises(InputError, match="noise streams"):
        model.generate(latents, actions, RowNoise([0, 1]))
    with pytest.raises(InputError, match="did you mean 'euler'"):
        model.generate(latents[:, :1], actions, noise, sampler="euler2")
    with pytest.raises(InputError, match="holds 3 in column 'move', which takes 0 to 2"):
        model.generate(latents[:, :1], actions.index_fill(2, torch.tensor([0]), 3), noise)
    with pytest.raises(InputError, match="at least 2 frames"):
        model.loss(latents[:, :1], actions[:, :0], torch.Generator())
    with pytest.raises(InputError, match="is no clip"):
        model.velocities(latents, latents[:, :2], torch.ones(1, 2), actions, [(1, 3)])
    with pytest.raises(InputError, match="the spans cover 1"):
        model.velocities(latents, latents[:, :2], torch.ones(1, 2), actions, [(1, 2)])
    rollout = ClipRollout(model, latents[:, :2], actions[:, :1], max_frames=2)
    with pytest.raises(InputError, match="room for 0 more"):
        rollout.velocity(latents[:, 2:3], 0.5, actions[:, 1:2])
    with pytest.raises(InputError, match="patch"):
        dataclasses.replace(TINY, patch=(1, 3))
