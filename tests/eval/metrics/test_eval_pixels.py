"""PSNR, SSIM and the Fréchet distance against closed forms and a second road."""

import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.signal import convolve2d

from worldgym.eval.metrics.frechet import frechet
from worldgym.eval.metrics.psnr import psnr
from worldgym.eval.metrics.ssim import ssim


def frames(rng, clips=2, count=3, height=17, width=21):
    return rng.integers(0, 256, (clips, count, height, width, 3), dtype=np.uint8)


def test_psnr_of_a_constant_error():
    black = np.zeros((1, 2, 16, 16, 3), np.uint8)
    assert psnr(black, black + np.uint8(51)) == pytest.approx(20 * np.log10(5))  # an error of 1/5 everywhere
    assert psnr(black, black).tolist() == [100.0]


def test_psnr_is_a_mean_over_frames_not_of_errors():
    a = np.zeros((1, 2, 16, 16, 3), np.uint8)
    b = a.copy()
    b[0, 1] = 255  # frame 0 is perfect (100 dB), frame 1 is as wrong as can be (0 dB)
    assert psnr(a, b).tolist() == [50.0]


def ssim_by_definition(x, y):
    """One channel (H, W) in [0, 1], window by window."""
    line = np.exp(-(np.arange(-5, 6) ** 2) / 4.5)
    window = np.outer(line, line) / np.outer(line, line).sum()
    blur = lambda image: convolve2d(image, window, mode="valid")  # noqa: E731
    mx, my = blur(x), blur(y)
    vx, vy, cxy = blur(x * x) - mx * mx, blur(y * y) - my * my, blur(x * y) - mx * my
    c1, c2 = 0.01**2, 0.03**2
    return (((2 * mx * my + c1) * (2 * cxy + c2)) / ((mx**2 + my**2 + c1) * (vx + vy + c2))).mean()


def test_ssim_equals_its_definition():
    rng = np.random.default_rng(0)
    a = frames(rng)
    b = np.clip(a * 0.7 + rng.integers(0, 60, a.shape), 0, 255).astype(np.uint8)
    wanted = [
        np.mean([ssim_by_definition(x[..., c] / 255, y[..., c] / 255) for x, y in zip(p, q, strict=True) for c in range(3)])
        for p, q in zip(a, b, strict=True)
    ]
    np.testing.assert_allclose(ssim(a, b), wanted, atol=1e-12)
    np.testing.assert_allclose(ssim(a, a), 1.0, atol=1e-12)


def test_ssim_of_two_greys_is_the_luminance_term():
    a, b = np.full((1, 1, 12, 12, 3), 51, np.uint8), np.full((1, 1, 12, 12, 3), 102, np.uint8)
    assert ssim(a, b) == pytest.approx((2 * 0.2 * 0.4 + 1e-4) / (0.04 + 0.16 + 1e-4))


def test_frechet_of_two_gaussians_in_closed_form():
    """Diagonal covariances: |m|^2 + sum (s_a - s_b)^2. Features are made to have exactly these moments."""
    rng = np.random.default_rng(0)
    raw = rng.normal(size=(500, 4))
    raw -= raw.mean(0)
    white = raw @ np.linalg.inv(np.linalg.cholesky(np.cov(raw.T))).T
    scale_a, scale_b, shift = np.array([1, 2, 3, 0.5]), np.array([2, 2, 1, 0.1]), np.array([1, 0, -2, 3])
    wanted = (shift**2).sum() + ((scale_a - scale_b) ** 2).sum()
    assert frechet(white * scale_a, white[::-1] * scale_b + shift) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize(("clips", "size"), [(60, 5), (6, 20), (10, 10)])
def test_frechet_equals_the_matrix_root(clips, size):
    rng = np.random.default_rng(clips)
    a = rng.normal(size=(clips, size)) @ rng.normal(size=(size, size))
    b = rng.normal(size=(clips, size)) + 1
    root = sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    wanted = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert frechet(a, b) == pytest.approx(wanted, rel=1e-4)  # sqrtm of a singular matrix is only good to about 1e-5
    assert frechet(a, a[::-1]) == pytest.approx(0, abs=1e-8)


def test_psnr_and_ssim_equal_torchmetrics():
    """torchmetrics has the same window (11, sigma 1.5) but also scores windows that reach over the edge, by reflection: its
    SSIM map is compared on the inner part, where both are defined."""
    torch = pytest.importorskip("torch")
    image = pytest.importorskip("torchmetrics.functional.image")
    rng = np.random.default_rng(3)
    a = frames(rng, clips=1, count=4)
    b = np.clip(a * 0.8 + rng.integers(0, 40, a.shape), 0, 255).astype(np.uint8)
    x, y = (torch.from_numpy(v[0] / 255.0).permute(0, 3, 1, 2).double() for v in (a, b))
    each = [float(image.peak_signal_noise_ratio(p[None], q[None], data_range=1.0)) for p, q in zip(x, y, strict=True)]
    assert psnr(a, b)[0] == pytest.approx(np.mean(each), abs=1e-4)
    _, whole = image.structural_similarity_index_measure(x, y, data_range=1.0, return_full_image=True)
    assert ssim(a, b)[0] == pytest.approx(float(whole[..., 5:-5, 5:-5].mean()), abs=1e-4)
