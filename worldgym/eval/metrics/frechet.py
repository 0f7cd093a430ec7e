"""Fréchet distance between two sets of features, as if each were Gaussian.

    d^2 = |m_a - m_b|^2 + tr(S_a) + tr(S_b) - 2 tr((S_a S_b)^(1/2))

(Dowson and Landau 1982; squared, as FID and FVD report it.) It depends on the network that made the features and on
the number of clips (it is biased upward when they are few): compare only values with equal judge and equal N, and
never call it "FVD", which means the I3D network.
"""

from __future__ import annotations

import numpy as np


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    """The squared distance; never negative.

    With centred features A and B (rows divided by sqrt(N - 1)), the eigenvalues of S_a S_b other than 0 are the squared
    singular values of A B^T. So tr((S_a S_b)^(1/2)) is a sum of singular values: no matrix root, nothing complex, and
    fewer clips than dimensions are no trouble.

    Args:
        a: (N, D) features, N >= 2.
        b: (M, D) features, M >= 2.
    """
    a, b = np.asarray(a, float), np.asarray(b, float)
    mean_a, mean_b = a.mean(0), b.mean(0)
    a, b = _root(a - mean_a), _root(b - mean_b)
    cross = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    distance = ((mean_a - mean_b) ** 2).sum() + (a**2).sum() + (b**2).sum() - 2 * cross
    return float(max(distance, 0.0))


def _root(centred: np.ndarray) -> np.ndarray:
    """R with R^T R the covariance; at most D rows, so that many clips cost no more than D."""
    scaled = centred / np.sqrt(len(centred) - 1)
    return np.linalg.qr(scaled, mode="r") if len(centred) > centred.shape[1] else scaled
