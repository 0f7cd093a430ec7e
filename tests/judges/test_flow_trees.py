"""The second judge: trees as scikit-learn grows them, motion that is known on paper."""

import numpy as np
import pytest
import torch
from sklearn.ensemble import HistGradientBoostingClassifier

from worldgym.actions import DOOM
from worldgym.judges.flow_trees import FlowTrees, features, from_boosting
from worldgym.models.files import checkpoint


@pytest.fixture(scope="module")
def fitted():
    """Two columns, of three and of two labels, on made-up features: (classifiers, features, judge)."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 20)).astype(np.float32)
    columns = {"move": (x[:, 3] > 0.3).astype(int) + (x[:, 5] > 0), "attack": (x[:, 0] * x[:, 1] > 0).astype(int)}
    options = {"max_iter": 12, "early_stopping": False, "random_state": 0}
    grown = {name: HistGradientBoostingClassifier(**options).fit(x, y) for name, y in columns.items()}
    return grown, x, from_boosting(grown)


def test_two_roads_to_one_label(fitted):
    """Our arrays and scikit-learn's own predictor, on other points than those of training."""
    grown, x, judge = fitted
    other = np.random.default_rng(1).standard_normal((500, 20)).astype(np.float32)
    votes = judge.votes(torch.from_numpy(other).double()).numpy()
    for index, (name, one) in enumerate(grown.items()):
        size = DOOM.sizes[DOOM.column(name)]
        assert (votes[:, index, :size].argmax(-1) == one.predict(other)).all(), name
    assert np.allclose(votes[:, 1, 1], grown["attack"].decision_function(other))


def test_a_file_and_back(fitted, tmp_path):
    """Arrays in safetensors, no pickle; the same votes."""
    _, x, judge = fitted
    checkpoint.save(tmp_path / "second.safetensors", judge, "flow-trees")
    config, kind, tensors, _ = checkpoint.read(tmp_path / "second.safetensors")
    again = checkpoint.build(FlowTrees, config, tensors, "second")
    seen = torch.from_numpy(x).double()
    assert kind == "flow-trees" and torch.equal(again.votes(seen), judge.votes(seen))


def test_motion_on_paper():
    """A picture that moves three pixels to the right: every band says (0, 3) but where the edge comes in."""
    rng = np.random.default_rng(0)
    wide = rng.integers(0, 256, (56, 120, 3), dtype=np.uint8)
    frames = np.stack([wide[:, 20 - 3 * t : 116 - 3 * t] for t in range(4)])
    seen = features(torch.from_numpy(frames)[None])[0]
    down, right = seen[1, :36].reshape(3, 12), seen[1, 36:72].reshape(3, 12)
    assert (down[:, 1:-1] == 0).all() and (right[:, 1:-1] == 3).all()
    still = features(torch.from_numpy(np.repeat(frames[:1], 4, 0))[None])[0]
    assert not still[:, :72].any()


def test_a_batch_equals_its_singles(fitted):
    """Features of 20 columns do not fit real clips; a judge of the right width reads clip by clip."""
    rng = np.random.default_rng(2)
    frames = torch.from_numpy(rng.integers(0, 256, (3, 5, 56, 96, 3), dtype=np.uint8))
    seen = features(frames[:1])
    grown = {
        "jump": HistGradientBoostingClassifier(max_iter=2).fit(rng.standard_normal((60, seen.shape[-1])), np.arange(60) % 2)
    }
    judge = from_boosting(grown)
    whole = judge.labels(frames)
    assert whole.shape == (3, 4, len(DOOM.sizes))
    assert torch.equal(whole, torch.cat([judge.labels(clip[None]) for clip in frames]))
    unread = [DOOM.column(name) for name in DOOM.names if name != "jump"]
    assert (whole[..., unread] == torch.tensor(DOOM.null)[unread]).all()
