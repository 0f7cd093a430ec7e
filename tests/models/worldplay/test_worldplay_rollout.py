"""Rollouts of the networks: cache against recomputation, groups, the given latent, what a training step reaches."""

import pytest
import torch
from worldplay_toys import apart, cameras, randn, route, span, tiny_memory, toy

from worldgym.actions import worldplay
from worldgym.errors import InputError
from worldgym.models.diffusion import flow
from worldgym.models.diffusion.worldplay import network as face
from worldgym.models.diffusion.worldplay.rollout import Recompute, Rollout, generate, velocities
from worldgym.models.diffusion.worldplay.route import Route
from worldgym.rng import RowNoise
from worldgym.train.nft import nft_loss

CELL = (4, 4, 4)
NETWORKS = ["wan", "hunyuan"]


@pytest.fixture(params=NETWORKS)
def kind(request):
    return request.param


def conditions(kind, rows=2):
    network, text = toy(kind, rows)
    return network, {"text": text, "given": randn(rows, *CELL, seed=9), "memory": tiny_memory(kind)}


@torch.no_grad()
@pytest.mark.parametrize("positions", ["relative", "true"])
def test_stepping_equals_recomputing_at_every_chunk(kind, positions):
    network, told = conditions(kind)
    told["positions"] = positions
    whole = route(2, 28)
    fast, slow = (form(network, whole, **told) for form in (Rollout, Recompute))
    for chunk in range(7):
        z = randn(2, 4, *CELL, seed=chunk)
        for sigma in (1.0, 0.6):
            assert apart(fast.velocity(z, sigma), slow.velocity(z, sigma)) <= 1e-6
        assert fast.passes == chunk  # once per chunk, not at the first
        fast.append(z)
        slow.append(z)


@torch.no_grad()
def test_keys_and_values_of_the_context_are_those_of_one_pass(kind, monkeypatch):
    kept, real = [], face.masked

    def spying(memos, context):
        def attend(layer, q, k, v):
            kept.append((k[:, :, :context], v[:, :, :context]))
            return real(memos, context)(layer, q, k, v)

        return attend

    monkeypatch.setattr(face, "masked", spying)
    network, told = conditions(kind)
    clean, z = randn(2, 24, *CELL), randn(2, 4, *CELL, seed=3)
    for start in (4, 24):
        kept.clear()
        fast, slow = (form(network, route(2, 28), latents=clean[:, :start], **told) for form in (Rollout, Recompute))
        slow.velocity(z, 0.7)
        layers = fast.context().layers
        assert len(layers) == len(kept) == 2
        for mine, whole in zip(layers, kept, strict=True):
            assert all(apart(*pair) <= 1e-6 for pair in zip(mine, whole, strict=True))


@torch.no_grad()
def test_positions_matter_only_when_the_memory_is_full(kind):
    network, told = conditions(kind)
    clean, z = randn(2, 24, *CELL), randn(2, 1, 4, *CELL, seed=3)
    for start, same in ((4, True), (24, False)):
        v = [
            velocities(network, clean[:, :start], z, torch.ones(2, 1), route(2, 28), positions=p, **told)
            for p in ("relative", "true")
        ]
        assert (apart(*v) <= 1e-6) == same


@torch.no_grad()
def test_a_fork_shares_its_context_and_equals_rows_of_their_own(kind):
    network, told = conditions(kind)
    rollout = Rollout(network, route(2, 12), **told)
    rollout.append(randn(2, 4, *CELL))
    group = rollout.fork(3)
    own = rollout.context().layers
    for shared, kept in zip(group.context().layers, own, strict=True):
        assert [x.data_ptr() for x in shared] == [x.data_ptr() for x in kept]
    assert group.latents.data_ptr() == rollout.latents.data_ptr()
    z = randn(6, 4, *CELL, seed=4)
    v = group.velocity(z, 0.7)
    assert (group.batch, group.passes, rollout.passes) == (6, 1, 1)
    for row in range(6):
        alone = rollout.velocity(z[row][None].expand(2, -1, -1, -1, -1), 0.7)[row // 3]
        assert apart(v[row], alone) <= 1e-6
    before = rollout.latents.clone()
    group.append(z)
    assert group.velocity(z, 1.0).shape == z.shape
    assert torch.equal(rollout.latents, before)
    assert torch.equal(group.latents[:, 4:], z)
    assert torch.equal(group.latents[:3, :4], rollout.latents[:1].expand(3, -1, -1, -1, -1))


@torch.no_grad()
def test_a_batch_equals_its_singles_and_the_cache_changes_nothing(kind):
    network, told = conditions(kind)
    paths = route(2, 12)
    whole = generate(network, paths, RowNoise([1, 2]), CELL, steps=3, **told)
    slow = generate(network, paths, RowNoise([1, 2]), CELL, steps=3, cache=False, **told)
    assert apart(whole, slow) <= 1e-5
    for row in range(2):
        one = slice(row, row + 1)
        mine = Route(paths.camera_to_world[one], paths.intrinsics[one], paths.labels[one])
        single = {**told, "text": told["text"][one], "given": told["given"][one]}
        alone = generate(network, mine, RowNoise([1 + row]), CELL, steps=3, **single)
        assert apart(alone[0], whole[row]) <= 1e-5


@torch.no_grad()
def test_guidance_goes_on_from_the_negative_text(kind):
    network, told = conditions(kind)
    noise = RowNoise([1, 2])
    start = torch.stack([noise.normal(*CELL) for _ in range(4)], 1)
    v, without = (
        Rollout(network, route(2, 4), **{**told, "text": text}).velocity(start, 1.0) for text in (told["text"], None)
    )
    once = {"noise": RowNoise([1, 2]), "cell": CELL, "steps": 1, **told}
    start[:, 0] = told["given"] if kind == "wan" else start[:, 0]
    guided = generate(network, route(2, 4), guidance=2.0, **once)
    assert apart(guided, start - (v + 2 * (v - without))) <= 1e-5
    assert apart(guided, start - v) > 1e-3
    paths = route(2, 12)
    plain, same = (
        generate(network, paths, **{**once, "noise": RowNoise([1, 2]), "steps": 2}, **guide)
        for guide in ({}, {"guidance": 3.0, "negative": told["text"]})
    )
    assert apart(same, plain) <= 1e-5


@torch.no_grad()
def test_the_given_latent(kind):
    network, told = conditions(kind)
    video = generate(network, route(2, 6), RowNoise([1, 2]), CELL, steps=2, **told)
    assert video.shape == (2, 6, *CELL)
    z = randn(2, 4, *CELL)
    rollout = Rollout(network, route(2, 6), **told)
    v = rollout.velocity(z, 0.5)
    if kind == "wan":  # it stands there bit for bit and nothing is asked of it
        assert torch.equal(video[:, 0], told["given"])
        assert not v[:, 0].any()
        other = z.clone()
        other[:, 0] = 5
        assert torch.equal(v, rollout.velocity(other, 0.5))
        clamped = torch.cat([told["given"][:, None], z[:, 1:]], 1)
        time = torch.tensor([14.0, 500.0, 500.0, 500.0]).expand(2, 4)
        direct = network(clamped, time, told["text"], *span(cameras(2, 6), 0, 4))
        assert apart(v[:, 1:], direct[:, 1:]) <= 1e-6
    else:  # it is generated under the image's condition
        assert v[:, 0].abs().min() > 0
        assert not torch.allclose(video[:, 0], told["given"], atol=1e-2)
    free = Rollout(network, route(2, 6), **{**told, "given": None}).velocity(z, 0.5)
    assert free[:, 0].abs().min() > 0
    assert not torch.allclose(free[:, 1:], v[:, 1:], atol=1e-3)


@pytest.mark.parametrize("context", ["cached", "current"])
def test_a_training_step_at_the_old_policy(kind, context):
    """theta = theta_old: the loss does not depend on r, and its gradient is 2 r - 1 times one and the same."""
    network, told = conditions(kind)
    clean, x0 = randn(2, 8, *CELL), randn(2, 3, 4, *CELL, seed=2)
    sigma = torch.tensor([[0.9, 0.6, 0.3]]).expand(2, 3)
    noisy = flow.noised(x0, randn(*x0.shape, seed=3), sigma)
    losses, gradients = [], []
    for r in (0.0, 0.25, 1.0):
        network.zero_grad()
        v = velocities(network, clean, noisy, sigma, route(2, 12), context, **told)
        loss = nft_loss(v, v.detach(), x0, noisy, sigma, torch.full((2, 3), r), lead=2).mean()
        loss.backward()
        losses.append(loss.item())
        gradients.append(torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None]))
    assert max(losses) - min(losses) <= 1e-6 * losses[0]
    assert gradients[2].abs().max() > 0
    for r, gradient in zip((0.0, 0.25), gradients, strict=False):
        assert apart(gradient, (2 * r - 1) * gradients[2]) <= 1e-5


def test_gradients_stay_within_the_chunk(kind):
    network, told = conditions(kind)
    clean, noisy = randn(2, 8, *CELL).requires_grad_(), randn(2, 3, 4, *CELL).requires_grad_()
    velocities(network, clean, noisy, torch.full((2, 3), 0.5), route(2, 12), **told).square().sum().backward()
    assert clean.grad is None
    assert noisy.grad.abs().flatten(3).amax(-1).min() > 0
    clean.grad, noisy.grad = None, None
    velocities(network, clean, noisy, torch.full((2, 3), 0.5), route(2, 12), "current", **told).square().sum().backward()
    assert clean.grad.abs().max() > 0
    first = randn(2, 3, 4, *CELL).requires_grad_()
    velocities(network, None, first, torch.full((2, 3), 0.5), route(2, 12), **told).square().sum().backward()
    assert bool(first.grad[:, :, 0].any()) == (kind != "wan")
    assert first.grad[:, :, 1:].abs().max() > 0


@torch.no_grad()
def test_the_distilled_schedule():
    assert flow.time_grid(4, 8) == pytest.approx((1, 0.96, 0.8888889, 0.7272727, 0), abs=1e-6)


def test_routes():
    groups = worldplay.pose_string("w-3, right-4")
    actions = torch.as_tensor(worldplay.by_frame(groups))[None]
    walked = Route.acted(actions).check()
    assert walked.labels.tolist() == [[0, 9, 9, 9, 1, 1, 1, 1]]
    with pytest.raises(InputError, match="one length"):
        Route.of([worldplay.walk(groups), worldplay.walk(groups[:3])])
    walked.labels[0, 2] = 1
    with pytest.raises(InputError, match="latent 2 of row 0 has label 1, but its camera moves by label 9"):
        walked.check()


@torch.no_grad()
def test_chunks_that_do_not_fit(kind):
    network, told = conditions(kind)
    rollout = Rollout(network, route(2, 6), **told)
    with pytest.raises(InputError, match="2 rows of 1 to 4 latents"):
        rollout.velocity(randn(3, 4, *CELL), 1.0)
    rollout.append(randn(2, 4, *CELL))
    with pytest.raises(InputError, match="1 to 2 latents"):
        rollout.velocity(randn(2, 4, *CELL), 1.0)
    with pytest.raises(InputError, match="did you mean 'relative'"):
        Rollout(network, route(2, 6), positions="relativ")
