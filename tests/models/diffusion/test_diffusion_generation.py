"""Frame diffusion: generation, its cache, and recomputation of its steps."""

import pytest
import torch
from diffusion_toys import TINY, close, inputs, make

from worldgym.models.diffusion.clip_attention import clip_spans
from worldgym.models.diffusion.clip_rollout import ClipRollout, UncachedClipRollout
from worldgym.rng import RowNoise

# --- generation -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["euler", "dpm++"])
@pytest.mark.parametrize(
    ("prefix", "frames", "clip", "batch"), [(1, 5, 1, 2), (3, 6, 1, 1), (1, 6, 2, 3), (2, 8, 3, 2), (4, 9, 3, 1), (3, 3, 2, 1)]
)
def test_cached_equals_recomputed(prefix: int, frames: int, clip: int, batch: int, sampler: str):
    """Guards the claim that finished frames may be encoded once: short last clips and odd prefixes included."""
    model, (latents, actions) = make(clip), inputs(batch, frames)
    both = [
        model.generate(latents[:, :prefix], actions, RowNoise(range(batch)), steps=3, sampler=sampler, cache=cache)
        for cache in (True, False)
    ]
    close(*both)
    assert both[0].shape == latents.shape
    assert torch.equal(both[0][:, :prefix], latents[:, :prefix])


def test_cached_equals_recomputed_with_noisy_context():
    model, (latents, actions) = make(2), inputs(2, 6)
    clean, *noisy = (
        model.generate(latents[:, :1], actions, RowNoise([1, 2]), steps=3, cache=cache, context_noise=level)
        for cache, level in ((True, 0.0), (True, 0.2), (False, 0.2))
    )
    close(*noisy)
    assert not torch.allclose(clean[:, 3:], noisy[0][:, 3:], atol=1e-2)


def test_generation_by_hand():
    """One step per frame written out with `forward`: which action, which noise, which level each frame gets."""
    model, (latents, actions), level = make(), inputs(1, 4), 0.3
    noise, shown, sigma, video = RowNoise([4]), latents[:, :1], torch.zeros(1, 1), [latents[:, :1]]
    for frame in range(1, 4):
        z = noise.normal(TINY.channels, *TINY.grid)[:, None]
        levels = torch.cat([sigma, torch.ones(1, 1)], dim=1)
        v = model(torch.cat([shown, z], dim=1), levels, actions[:, :frame])[:, -1:]
        video.append(z - v)
        eps = noise.normal(TINY.channels, *TINY.grid)[:, None]
        shown = torch.cat([shown, (1 - level) * video[-1] + level * eps], dim=1)
        sigma = torch.cat([sigma, torch.full((1, 1), level)], dim=1)
    close(model.generate(latents[:, :1], actions, RowNoise([4]), steps=1, context_noise=level), torch.cat(video, dim=1))


@pytest.mark.parametrize("clip", [1, 2])
def test_batch_equals_singles(clip: int):
    model, (latents, actions) = make(clip), inputs(3, 5)
    batch = model.generate(latents[:, :2], actions, RowNoise([7, 8, 9]), steps=3)
    for row, seed in enumerate([7, 8, 9]):
        one = slice(row, row + 1)
        close(batch[one], model.generate(latents[one, :2], actions[one], RowNoise([seed]), steps=3))


def test_other_noise_gives_other_frames():
    model, (latents, actions) = make(), inputs(1, 3)
    one, other = (model.generate(latents[:, :1], actions, RowNoise([seed]), steps=2) for seed in (1, 2))
    assert (one - other)[:, 1:].abs().mean() > 0.1


def test_samplers_share_noise():
    """With one step per clip both samplers say x0 = z - v, so the same z must give the same video."""
    model, (latents, actions) = make(), inputs(1, 3)
    euler, multistep = (
        model.generate(latents[:, :1], actions, RowNoise([1]), steps=1, sampler=name) for name in ("euler", "dpm++")
    )
    close(euler, multistep)


def test_a_new_model_gives_back_its_noise():
    """Velocity zero leaves the start where it was: the frames are the streams' draws, in order, frame by frame."""
    model, (latents, actions) = make(clip=2, awake=False), inputs(1, 6)
    video = model.generate(latents[:, :1], actions, RowNoise([5]), steps=4, sampler="euler")
    noise = RowNoise([5])
    drawn = torch.stack([noise.normal(TINY.channels, *TINY.grid) for _ in range(5)], dim=1)
    assert torch.equal(video[:, 1:], drawn)


def test_gpu_sized_step_equals_cpu_step():
    """A captured graph gets its position as a tensor and attends over the whole masked buffer: same numbers."""
    model, (latents, actions) = make(2), inputs(2, 5)
    rollout = ClipRollout(model, latents[:, :3], actions[:, :2])
    z, sigma, ids = latents[:, 3:], torch.full((2, 2), 0.6), model.action_ids(actions[:, 2:4], first=False)
    plain = rollout._step(z, sigma, ids, 3)
    close(rollout._step(z, sigma, ids, torch.tensor(3)), plain)


# --- stepping and teacher forcing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("clip", [1, 2])
def test_one_pass_equals_cached_stepping(clip: int):
    """What reinforcement learning needs for ratio 1: all denoising steps of all clips, recomputed side by side."""
    model, (latents, actions) = make(clip), inputs(2, 6)
    spans = [span for span in clip_spans(6, clip) if span[0] > 0]
    levels = (1.0, 0.7, 0.2)
    stepped, noisy, repeated = [], [], []
    rollout = ClipRollout(model, latents[:, :1], actions[:, :0])
    generator = torch.Generator().manual_seed(3)
    for start, stop in spans:
        clip_actions = actions[:, start - 1 : stop - 1]
        for level in levels:
            z = torch.randn(latents[:, start:stop].shape, generator=generator)
            stepped.append(rollout.velocity(z, level, clip_actions))
            noisy.append(z)
            repeated.append((start, stop))
        rollout.append(latents[:, start:stop], clip_actions)
    lengths = torch.tensor([stop - start for start, stop in repeated])
    sigma = torch.tensor(levels).repeat(len(spans)).repeat_interleave(lengths).expand(2, -1)
    close(model.velocities(latents, torch.cat(noisy, 1), sigma, actions, repeated), torch.cat(stepped, 1))


def test_one_pass_is_differentiable_and_stepping_is_not():
    model, (latents, actions) = make(), inputs(1, 3)
    sigma = torch.full((1, 1), 0.5)
    v = model.velocities(latents[:, :2], latents[:, 2:], sigma, actions, [(2, 3)])
    v.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not ClipRollout(model, latents[:, :2], actions[:, :1]).velocity(latents[:, 2:], sigma, actions[:, 1:]).requires_grad


@pytest.mark.parametrize("kind", [ClipRollout, UncachedClipRollout])
def test_fork_continues_as_if_alone(kind: type):
    """Row b of the fork's parent becomes rows b G … b G + G - 1; the parent is not touched."""
    model, (latents, actions) = make(), inputs(2, 5)
    parent = kind(model, latents[:, :2], actions[:, :1])
    child = parent.fork(3)
    z, moves = latents[:, 2:3], actions[:, 1:2]
    alone = parent.velocity(z, 0.5, moves)
    close(child.velocity(z.repeat_interleave(3, 0), 0.5, moves.repeat_interleave(3, 0)), alone.repeat_interleave(3, 0))
    child.append(torch.randn(6, *z.shape[1:]), moves.repeat_interleave(3, 0))
    assert (parent.frames, child.frames) == (2, 3)
    close(parent.velocity(z, 0.5, moves), alone)


def test_row_levels_and_frame_levels_of_noise():
    """sigma as a number, per row and per frame mean the same thing."""
    model, (latents, actions) = make(2), inputs(2, 3)
    rollout = ClipRollout(model, latents[:, :1], actions[:, :0])
    number, rows, frames = (
        rollout.velocity(latents[:, 1:], sigma, actions) for sigma in (0.4, torch.full((2,), 0.4), torch.full((2, 2), 0.4))
    )
    assert torch.equal(number, rows) and torch.equal(rows, frames)


# --- who sees whom --------------------------------------------------------------------------------------------------
