"""The re-encoding between video and judges: the same for everybody, gone what nobody sees, there what moves."""

import numpy as np
import pytest

from worldgym.eval.metrics import reencoding
from worldgym.eval.metrics.reencoding import reencode


def clip(seed=0, frames=4):
    y, x = np.mgrid[:56, :96] / 12
    waves = [[np.sin(x + y + k + 0.2 * t) for k in range(3)] for t in range(frames)]
    return np.ascontiguousarray((np.array(waves).transpose(0, 2, 3, 1) * 90 + 125).astype(np.uint8))


def test_the_seed_decides():
    frames = clip()
    one, again, other = reencode(frames, 3), reencode(frames, 3), reencode(frames, 4)
    assert one.dtype == np.uint8 and one.shape == frames.shape
    assert (one == again).all() and (one != other).any()


def test_what_can_be_seen_stays():
    """Soft shapes: what shift, contrast and noise may change, and no more."""
    frames = clip().astype(float)
    for seed in range(5):
        apart = np.abs(reencode(frames.astype(np.uint8), seed).astype(float) - frames)
        assert apart.mean() < 12


def test_two_levels_of_a_checkerboard_do_not(monkeypatch):
    """The finest pattern, +-2 levels: less than a third of it is left."""
    monkeypatch.setattr(reencoding, "NOISE", 0.0)
    frames = clip()
    board = np.where(np.indices((56, 96)).sum(0) % 2, 2, -2)[None, :, :, None]
    difference = reencode((frames + board).astype(np.uint8), 1).astype(float) - reencode(frames, 1)
    assert np.abs(difference).mean() < 2 / 3


def test_a_flat_clip_keeps_its_level(monkeypatch):
    monkeypatch.setattr(reencoding, "NOISE", 0.0)
    monkeypatch.setattr(reencoding, "CONTRAST", 0.0)
    flat = np.full((3, 56, 96, 3), 77, np.uint8)
    assert (reencode(flat, 0) == 77).all()
    assert reencode(flat[:, :8, :8], 0).shape == (3, 8, 8, 3)


@pytest.mark.parametrize("seed", range(3))
def test_moved_by_whole_pixels_on_paper(seed):
    """A shift by exactly one pixel is one: the general formula at its corner."""
    import torch

    picture = torch.from_numpy(np.random.default_rng(seed).random((1, 1, 6, 8)))
    assert torch.equal(reencoding._moved(picture, 0.0, 0.0), picture)
    right = reencoding._moved(picture, 0.0, 1.0)
    assert torch.equal(right[..., 1:], picture[..., :-1])
    half = reencoding._moved(picture, 0.5, 0.0)
    assert torch.allclose(half[..., 1:, :], (picture[..., 1:, :] + picture[..., :-1, :]) / 2)
