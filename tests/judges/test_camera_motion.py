"""Camera motion networks: shapes, batch = singles, displacements by hand, the mirror, learning, poses as a judge."""

import numpy as np
import pytest
import torch

from worldgym.errors import InputError
from worldgym.judges import camera_motion, matching
from worldgym.judges.camera_motion import PRESETS, CameraMotion, CameraMotionConfig, displacements
from worldgym.judges.camera_poses import FromPoses
from worldgym.zoo import as_camera_judge

TINY = {"widths": (8, 8, 8), "hidden": 32, "layers": 1}


def frames(count=2, steps=5, seed=0):
    return torch.randint(0, 256, (count, steps, 56, 96, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_reads_clips(name):
    torch.manual_seed(0)
    judge = CameraMotion(PRESETS[name]).eval()
    clip = frames(2, 3)
    found = judge.motion(clip)
    assert found.shape == (2, 2, 5) and found.dtype == torch.float32 and not found.requires_grad
    torch.testing.assert_close(judge.motion(clip[1:])[0], found[1], atol=1e-4, rtol=1e-4)


def test_a_mirrored_video_moves_the_other_way():
    torch.manual_seed(0)
    judge = CameraMotion(CameraMotionConfig(**TINY)).eval()
    clip = frames(2, 3)
    other = judge.motion(clip.flip(-2))
    torch.testing.assert_close(other, judge.motion(clip) * torch.tensor([1.0, -1, 1, -1, 1]), atol=1e-5, rtol=1e-5)
    assert other[..., 3].abs().min() > 1e-3


def test_presets_differ_in_architecture():
    reward, heldout = PRESETS["nano"], PRESETS["nano-heldout"]
    assert reward.stem != heldout.stem and reward.trunk != heldout.trunk


@pytest.mark.parametrize(("down", "right"), [(0, 0), (4, 0), (0, -8), (-4, 8), (2, 4)])
def test_displacements_by_hand(down, right):
    """Noise moved by whole blocks: both levels find how far, 8 pixels = 1, away from the borders."""
    picture = np.kron(np.random.default_rng(0).integers(0, 256, (40, 60)), np.ones((4, 4))).astype(np.uint8)
    before, now = (picture[40 - dy : 96 - dy, 60 - dx : 156 - dx] for dy, dx in ((0, 0), (down, right)))
    unit = torch.from_numpy(np.stack([before, now]))[None, ..., None].expand(-1, -1, -1, -1, 3).float() / 255
    found = displacements(matching.match(unit))[0, :, 2:-2, 3:-3]
    for level in range(len(matching.LEVELS)):
        fits = down % 2 ** matching.LEVELS[level][0] == 0
        middle = found[3 * level : 3 * level + 2].mean((1, 2)) * matching.CELL
        if fits:
            np.testing.assert_allclose(middle, [-down, -right], atol=0.8)  # where it came from


def test_the_loss_knows_the_mirror():
    """A perfect network has a perfect loss, mirrored clips included: the target is mirrored with the frames."""
    seen = {}

    class Known(CameraMotion):
        def _scaled(self, unit):
            seen["flipped"] = (unit[0, 0, :, 0] - clip[0, 0, :, -1].float() / 255).abs().mean() < 0.5
            want = motion.clone()
            want[::2] *= torch.tensor([1.0, -1, 1, -1, 1])
            return want / self.scales

    clip, motion = frames(4, 3), torch.randn(4, 2, 5, generator=torch.Generator().manual_seed(0)) * 20
    loss, logs = Known(CameraMotionConfig(**TINY)).loss(clip, motion)
    assert loss < 1e-10 and logs["yaw_off"] < 1e-4 and seen["flipped"]


def test_learns_what_a_shift_means():
    """Pictures that scroll left or right by up to 12 pixels: the yaw that moved them, one degree per pixel.

    Always saying 0 is 7 degrees off on average.
    """
    torch.manual_seed(0)
    judge = CameraMotion(CameraMotionConfig(**TINY, height=24, width=48))
    rng = np.random.default_rng(0)

    def batch(count):
        base = np.kron(rng.integers(0, 256, (count, 6, 12, 3)), np.ones((1, 4, 4, 1))).astype(np.uint8)
        pixels = 4 * rng.integers(-3, 4, (count, 2))
        offset = np.concatenate([np.zeros((count, 1), int), np.cumsum(pixels, 1)], 1)
        clip = np.stack([[np.roll(b, -o, 1) for o in row] for b, row in zip(base, offset, strict=True)])
        motion = np.zeros((count, 2, 5), np.float32)
        motion[..., 3] = pixels
        return torch.from_numpy(clip), torch.from_numpy(motion)

    optimizer = torch.optim.AdamW(judge.parameters(), 3e-3)
    for _ in range(40):
        optimizer.zero_grad()
        judge.loss(*batch(12))[0].backward()
        optimizer.step()
    clip, motion = batch(64)
    assert (judge.eval().motion(clip) - motion)[..., 3].abs().mean() < 2.5


@pytest.mark.parametrize("bad", [torch.zeros(1, 3, 56, 96, 3), frames()[:, :1], frames()[:, :, :48], frames()[0]])
def test_wrong_frames_are_one_sentence(bad):
    with pytest.raises(InputError, match="this judge reads torch.uint8"):
        CameraMotion(CameraMotionConfig(**TINY))(bad)


class Walker:
    """A pose estimator that sees every video as one that goes ahead, 2 units per frame."""

    def poses(self, frames):
        found = torch.eye(4).repeat(*frames.shape[:2], 1, 1)
        found[..., 2, 3] = 2.0 * torch.arange(frames.shape[1])
        return found


def test_a_published_models_poses_are_a_judge():
    judge = as_camera_judge(Walker(), "cpu")
    assert isinstance(judge, FromPoses)
    assert judge.motion(frames(2, 3)).tolist() == [[[2, 0, 0, 0, 0]] * 2] * 2
    own = CameraMotion(CameraMotionConfig(**TINY))
    assert as_camera_judge(own, "cpu") is own and as_camera_judge(judge, "cpu") is judge
    with pytest.raises(InputError, match="motion.frames. or poses.frames., not float"):
        as_camera_judge(1.0, "cpu")
    with pytest.raises(InputError, match="poses gave shape"):
        FromPoses(type("Short", (), {"poses": lambda self, frames: torch.eye(4)})()).motion(frames())
    assert camera_motion.SHIFTS == 6
