"""Interaction following: how far the camera of a video moves as commanded (WorldCompass, arXiv 2602.09022).

A camera judge reads relative motion m_i; label_tau(m_i) in {0 … 80} joins one of 9 translations and one of 9 rotations:

    exact = max_tau 1/n sum_i 1{ label_tau(m_i) = y_i }
    fine  = 1/(2n) sum_i ( 1{translation right} + 1{rotation right} )        at that same tau, the first of equals

over the n steps that are clear: whose true label y_i is the same at every tau. See `worldgym.judges.camera_labels`.

- `true_labels`: labels of true poses, and which steps are clear. `interaction_following`: exact, fine and their parts.
"""

from __future__ import annotations

import numpy as np

from worldgym.judges import camera_labels
from worldgym.judges.camera_labels import Rules

PARTS = ("exact", "fine", "translation", "rotation")


def true_labels(poses: np.ndarray, rules: Rules) -> tuple[np.ndarray, np.ndarray]:
    """Labels of what truly happened, at the middle threshold.

    Args:
        poses: (…, T, 6) as a world gives them.
        rules: lengths in the poses' unit.

    Returns:
        (…, T-1) int64 labels and (…, T-1) bool, whether all thresholds agree.
    """
    motion = camera_labels.pose_motion(poses)
    at_every_tau = np.stack([camera_labels.label(motion, tau, rules.rotation).numpy() for tau in rules.translation])
    middle = at_every_tau[len(at_every_tau) // 2]
    return middle, (at_every_tau == middle).all(0)


def interaction_following(motion: np.ndarray, labels: np.ndarray, clear: np.ndarray, rules: Rules) -> dict[str, np.ndarray]:
    """Scores per clip.

    Args:
        motion: (N, T-1, 5) that the judge read.
        labels: (N, T-1) int y. clear: (N, T-1) bool, the steps that count.
        rules: thresholds.

    Returns:
        "exact", "fine", "translation", "rotation" -> (N,) in [0, 1]; NaN where no step counts.
    """
    agreement = camera_labels.agreement(np.asarray(motion, float), labels, rules, clear)
    read, count = agreement.labels.numpy(), clear.sum(1)
    with np.errstate(invalid="ignore"):
        halves = [((a == b) & clear).sum(1) / count for a, b in ((read // 9, labels // 9), (read % 9, labels % 9))]
    return dict(zip(PARTS, (agreement.exact.numpy(), agreement.fine.numpy(), *halves), strict=True))
