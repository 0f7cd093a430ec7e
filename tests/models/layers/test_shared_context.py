"""Candidates behind one context: read once, it gives the velocities and gradients of reading it in every row."""

import diffusion_toys as toys
import pytest
import torch

from worldgym.models.layers.shared_context import Runs


def candidates(sizes, clip, frames=4, levels=2):
    """A model, and rows in runs of these sizes: context, noisy clips at `levels` noise levels, sigma, actions, spans."""
    model = toys.make(clip)
    latents, actions = toys.inputs(len(sizes), frames + clip)
    latents, actions = (x.repeat_interleave(torch.tensor(sizes), 0) for x in (latents, actions))
    draw = torch.Generator().manual_seed(2)
    noisy = torch.randn(sum(sizes), levels * clip, *latents.shape[2:], generator=draw)
    sigma = torch.rand(sum(sizes), levels, generator=draw).repeat_interleave(clip, 1)
    return model, latents[:, :frames], noisy, sigma, actions, [(frames, frames + clip)] * levels


def work(model, monkeypatch):
    """A list that receives the frames of every pass."""
    seen, run = [], model._run
    monkeypatch.setattr(
        model, "_run", lambda latents, *rest: (seen.append(latents.shape[0] * latents.shape[1]), run(latents, *rest))[1]
    )
    return seen


@pytest.mark.parametrize(("sizes", "frames"), [([4, 4], 2 * (4 + 4 * 2)), ([2, 5, 4], 3 * (4 + 5 * 2)), ([6], 4 + 6 * 2)])
@pytest.mark.parametrize("clip", [1, 2])
def test_same_velocities_and_gradients(monkeypatch, sizes, frames, clip):
    model, clean, noisy, sigma, actions, spans = candidates(sizes, clip)
    seen, results = work(model, monkeypatch), []
    for road in ("shared", "each row"):
        model.zero_grad()
        rows = [slice(None)] if road == "shared" else [slice(i, i + 1) for i in range(len(clean))]
        v = torch.cat([model.velocities(*(x[row] for x in (clean, noisy, sigma, actions)), spans) for row in rows])
        (v * torch.arange(1.0, 1 + len(v))[:, None, None, None, None]).square().sum().backward()  # rows count differently
        results.append((v.detach(), [p.grad.clone() for p in model.parameters()]))
    (shared, ours), (single, theirs) = results
    toys.close(shared, single)
    for one, other in zip(ours, theirs, strict=True):
        assert (one - other).norm() <= 1e-5 * other.norm()
    expected = frames if clip == 1 else frames + len(sizes) * max(sizes) * 2  # twice the noisy frames
    assert seen[0] == expected < sum(seen[1:])


def test_runs_by_hand():
    clean, actions = torch.tensor([[0.0], [0.0], [1.0], [0.0], [0.0]])[..., None].expand(-1, 3, -1), torch.zeros(5, 3, 2)
    runs = Runs.of(clean, actions, 1)
    assert (runs.run.tolist(), runs.place.tolist(), runs.first.tolist()) == ([0, 0, 1, 2, 2], [0, 1, 0, 0, 1], [0, 2, 3])
    x = torch.arange(5.0)[:, None]
    assert runs.gather(x).tolist() == [[0, 1], [2, 0], [3, 4]]
    assert runs.scatter(runs.gather(x)).equal(x)


def test_other_actions_are_another_context():
    clean, actions = torch.zeros(4, 3, 1), torch.zeros(4, 3, 2)
    actions[2:, 1, 0] = 1
    assert Runs.of(clean, actions, 1).first.tolist() == [0, 2]


@pytest.mark.parametrize("clean", [torch.arange(4.0)[:, None], torch.tensor([0.0, 1, 2, 3, 4, 5, 5, 5, 5, 5])[:, None]])
def test_nothing_to_gain(clean):
    """No neighbours alike; one long run among single rows, which would be filled up to its length."""
    assert Runs.of(clean, torch.zeros(len(clean), 1, 2), 1) is None


def test_what_comes_after_the_clip_does_not_matter(monkeypatch):
    model, clean, noisy, sigma, actions, spans = candidates([4], 1)
    later = torch.cat([actions, actions], 1)
    later[1:, actions.shape[1] :] = 1 - later[1:, actions.shape[1] :].clamp(0, 1)
    seen = work(model, monkeypatch)
    assert model.velocities(clean, noisy, sigma, later, spans).equal(model.velocities(clean, noisy, sigma, actions, spans))
    assert seen[0] == seen[1] == 4 + 4 * 2
