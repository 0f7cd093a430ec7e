"""Learned matching: the correlation against its sum written out, a known shift is found, light does not matter."""

import torch

from worldgym.judges.correlation import CHANNELS, COLUMNS, ROWS, Correlation, correlate, normalised
from worldgym.judges.inverse_dynamics import PRESETS, InverseDynamics


def noise(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def test_correlation_is_the_sum_of_products():
    before, now = noise(2, 3, 4, 5), noise(2, 3, 4, 5, seed=1)
    found = correlate(before, now, 1, 2)
    assert found.shape == (2, 15, 4, 5)
    for dy, dx, y, x in ((0, 0, 0, 0), (1, 2, 1, 2), (-1, -2, 1, 2), (1, -1, 3, 4), (-1, 0, 0, 1)):
        inside = 0 <= y + dy < 4 and 0 <= x + dx < 5
        want = (now[:, :, y, x] * before[:, :, y + dy, x + dx]).sum(1) if inside else torch.zeros(2)
        torch.testing.assert_close(found[:, (dy + 1) * 5 + dx + 2, y, x], want)


def test_a_shifted_picture_fits_at_its_shift():
    torch.manual_seed(0)
    wide = noise(1, 56, 120, 3)
    clip = torch.stack([wide[:, :, 12:108], wide[:, :, 4:100]], 1)  # what was at x is now at x + 8: two cells to the right
    found = Correlation()(clip)
    assert found.shape == (1, CHANNELS, 7, 12)
    torch.testing.assert_close(found.sum(1), torch.ones(1, 7, 12))
    assert found[0, :, 3, 6].argmax() == ROWS * (2 * COLUMNS + 1) + COLUMNS - 2


def test_neither_darker_nor_tinted_pictures_change_the_logits():
    torch.manual_seed(0)
    judge = InverseDynamics(PRESETS["nano"]).eval()
    unit = 0.2 + 0.6 * noise(1, 3, 56, 96, 3)
    other = 0.5 * unit + torch.tensor([0.1, 0.0, 0.05])
    with torch.no_grad():
        truth, found, rolled = (torch.cat(judge.logits_of(x), -1) for x in (unit, other, unit.roll(8, 3)))
    torch.testing.assert_close(found, truth, atol=0.05, rtol=0)
    assert (rolled - truth).abs().max() > 0.5
    torch.testing.assert_close(normalised(other, (2, 3)), normalised(unit, (2, 3)), atol=0.1, rtol=0.1)
