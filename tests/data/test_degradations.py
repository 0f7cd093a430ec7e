"""Damage to frames: severity 0 is none, more is worse, and blur is scipy's."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter1d

from worldgym.data.degradations import DEGRADATIONS, corrupted


def picture(count=2):
    """Waves with a little texture, uint8."""
    y, x = np.mgrid[:16, :24]
    base = 128 + 60 * np.sin(x / 3)[..., None] * np.cos(y / 4)[..., None] * np.array([1, 0.7, 0.4])
    texture = np.random.default_rng(0).normal(0, 8, (count, 16, 24, 3))
    return torch.from_numpy(np.clip(base + texture, 0, 255).astype(np.uint8))


def level(value, count=2):
    return torch.full((count,), float(value))


def random(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("name", sorted(DEGRADATIONS))
def test_more_severity_is_further_from_the_original(name):
    frames = picture()
    made = [DEGRADATIONS[name](frames, level(s), random()) for s in (0, 0.3, 0.6, 1)]
    assert all(x.shape == frames.shape and x.dtype == torch.uint8 for x in made)
    errors = [(x.float() - frames.float()).abs().mean().item() for x in made]
    assert errors[0] == 0 and errors[1] < errors[2] < errors[3] and errors[1] > 0.3
    assert torch.equal(DEGRADATIONS[name](frames, level(0.6), random()), made[2])  # the generator decides
    mixed = DEGRADATIONS[name](frames, torch.tensor([0.0, 1.0]), random())
    assert torch.equal(mixed[0], frames[0]) and not torch.equal(mixed[1], frames[1])  # every row its own severity


def test_blur_is_a_gaussian():
    frames = picture(1)
    expected = gaussian_filter1d(frames[0].numpy().astype(float), 1.5, axis=0, mode="nearest", radius=8)
    expected = gaussian_filter1d(expected, 1.5, axis=1, mode="nearest", radius=8)
    found = DEGRADATIONS["blur"](frames, level(0.5, 1), random())[0].numpy()
    assert np.abs(found - expected).max() <= 0.51


def test_darken_and_flatten_by_hand():
    frames = torch.tensor([100, 200], dtype=torch.uint8)[None, None, :, None].expand(1, 1, 2, 3).contiguous()
    assert DEGRADATIONS["darken"](frames, level(0.5, 1), random())[0, 0, :, 0].tolist() == [60, 120]
    assert DEGRADATIONS["flatten"](frames, level(0.5, 1), random())[0, 0, :, 0].tolist() == [120, 180]


def test_mosaic_keeps_every_other_block_and_invents_none():
    frames = picture(1)
    made = DEGRADATIONS["mosaic"](frames, level(1, 1), random())
    cells = lambda x: {x[0, i : i + 8, j : j + 8].numpy().tobytes() for i in (0, 8) for j in (0, 8, 16)}  # noqa: E731
    assert cells(made) <= cells(frames) and cells(made) != cells(frames)


class Codes:
    """A codec whose codes are the pixels of the first row, 256 of them."""

    codes = 256

    def encode(self, frames):
        return frames[:, 0, :, 0].long()

    def decode(self, codes):
        return codes.to(torch.uint8)[:, None, :, None].expand(-1, 2, -1, 3)


class Latents(Codes):
    def encode(self, frames):
        return frames[:, :1, :, 0].float()

    def decode(self, latents):
        return latents


def test_corruption_loses_a_share_of_the_codes_or_adds_noise():
    frames = torch.full((2, 2, 4000, 3), 7, dtype=torch.uint8)
    assert torch.equal(corrupted(Codes(), frames, level(0), random()), frames)
    lost = (corrupted(Codes(), frames, level(1), random())[:, 0, :, 0] != 7).float().mean().item()
    assert lost == pytest.approx(0.3, abs=0.02)  # 8,000 draws: four standard deviations are .02
    assert corrupted(Latents(), frames, level(0.5), random()).std().item() == pytest.approx(0.5, abs=0.02)
