"""Inverse dynamics models: shapes, which frames a step may see, the mirror, learning on a world known on paper."""

import dataclasses

import numpy as np
import pytest
import torch

from worldgym.actions import DOOM
from worldgym.judges.inverse_dynamics import PRESETS, InverseDynamics, InverseDynamicsConfig, augment, mirror, tints


def frames(count=2, steps=5, seed=0):
    return torch.randint(0, 256, (count, steps, 56, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_reads_clips(name):
    torch.manual_seed(0)
    judge = InverseDynamics(PRESETS[name]).eval()
    clip = frames(2, 3)
    logits = judge(clip)
    assert [tuple(x.shape) for x in logits] == [(2, 2, n) for n in DOOM.sizes]
    torch.testing.assert_close(judge(clip[1:])[0], logits[0][1:], atol=1e-5, rtol=1e-4)  # batch = singles
    labels = judge.labels(clip)
    assert labels.shape == (2, 2, 8) and labels.dtype == torch.int64
    assert judge.features(clip).shape == (2, PRESETS[name].hidden)


@pytest.mark.parametrize("after", [False, True])
def test_the_image_network_sees_its_neighbours_only(after):
    torch.manual_seed(0)
    judge = InverseDynamics(InverseDynamicsConfig(widths=(8, 8, 8), hidden=32, layers=1, after=after)).eval()
    clip = frames(1, 8)
    changed = clip.clone()
    changed[:, 4] = 255 - changed[:, 4]
    one, two = (judge.seen(x) for x in (clip, changed))
    seen = (one != two).any(-1)[0].nonzero().flatten().tolist()
    assert seen == ([2, 3, 4] if after else [3, 4])  # step i is between frames i and i + 1


def test_mirroring_twice_is_nothing():
    clip = frames(4)
    actions = torch.from_numpy(np.random.default_rng(0).integers(0, DOOM.sizes, (4, 4, 8)))
    once = mirror(clip, actions, DOOM)
    assert (once[0][1::2] == clip[1::2]).all() and (once[1][1::2] == actions[1::2]).all()
    assert (once[0][0, :, :, 0] == clip[0, :, :, -1]).all()
    left = DOOM.groups[1].labels.index("left")
    assert ((once[1][0, :, 1] == left) == (actions[0, :, 1] == 3 - left)).all()
    again = mirror(*once, DOOM)
    assert (again[0] == clip).all() and (again[1] == actions).all()


def test_tints_have_no_brightness_and_differ_from_frame_to_frame():
    added = tints(torch.zeros(3, 4, 2, 2, 3))
    assert added.shape == (3, 4, 1, 1, 3)
    torch.testing.assert_close(added.sum(-1), torch.zeros(3, 4, 1, 1), atol=1e-6, rtol=0)
    length = added.norm(dim=-1).flatten(1)
    torch.testing.assert_close(length, length[:, :1].expand(3, 4))  # one strength per clip
    assert (length > 0).all() and (length <= 0.35).all()
    assert (added[:, 1:] - added[:, :-1]).abs().amax((1, 2, 3, 4)).min() > 1e-3


def test_augmented_frames_stay_in_range():
    unit = augment(frames(8).float() / 255)
    assert unit.shape == (8, 5, 56, 96, 3) and 0 <= unit.min() and unit.max() <= 1


def test_learns_what_a_shift_means():
    """Pictures that scroll left, right or not at all: strafe is what moved them.

    Untrained, a third is right (standard error .034).
    """
    torch.manual_seed(0)
    judge = InverseDynamics(InverseDynamicsConfig(widths=(16, 16, 16), hidden=32, layers=1))
    rng = np.random.default_rng(0)

    def batch(count):
        base = np.kron(rng.integers(0, 256, (count, 14, 24, 3)), np.ones((1, 4, 4, 1))).astype(np.uint8)
        strafe = rng.integers(0, 3, (count, 3))
        offset = np.concatenate([np.zeros((count, 1)), np.cumsum(np.array([0, 6, -6])[strafe], 1)], 1).astype(int)
        clip = np.stack([[np.roll(b, o, 1) for o in row] for b, row in zip(base, offset, strict=True)])
        actions = np.tile(DOOM.null, (count, 3, 1))
        actions[..., 1] = strafe
        return torch.from_numpy(clip), torch.from_numpy(actions)

    optimizer = torch.optim.AdamW(judge.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        judge.loss(*batch(16))[0].backward()
        optimizer.step()
    clip, actions = batch(64)
    assert (judge.eval().labels(clip)[..., 1] == actions[..., 1]).float().mean() > 0.6


@pytest.mark.parametrize("bad", [torch.zeros(1, 3, 56, 96, 3), frames()[:, :1], frames()[:, :, :48], frames()[0]])
def test_wrong_frames_are_one_sentence(bad):
    judge = InverseDynamics(dataclasses.replace(PRESETS["nano"], widths=(8, 8, 8), hidden=32))
    with pytest.raises(ValueError, match="this judge reads torch.uint8"):
        judge(bad)
