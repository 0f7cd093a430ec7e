"""Quality net, perceptual distance, block matching: shapes, hand values, learning a world known on paper."""

import numpy as np
import pytest
import torch

from worldgym.data.degradations import blur
from worldgym.data.prompts import record_prompts
from worldgym.errors import InputError
from worldgym.judges import motion, perceptual
from worldgym.judges.protocols import BundledPreference, FrameQuality, VideoPreference
from worldgym.judges.quality import PRESETS, Quality, QualityConfig, ranking_loss
from worldgym.zoo import perceptual_distance

TINY = {
    "convolution": QualityConfig(widths=(4, 8, 8), height=16, width=24),
    "patches": QualityConfig("patches", (0, 0, 32), 1, 16, 24),
}


def noise(*shape, seed=0):
    return torch.randint(0, 256, (*shape, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_every_preset_scores_frames(name):
    torch.manual_seed(0)
    net = Quality(PRESETS[name]).eval()
    clips = noise(2, 2, 56, 96)
    found = net(clips)
    assert found.shape == (2, 2) and (0 < found).all() and (found < 1).all()
    torch.testing.assert_close(net(clips[1, 0][None])[0], found[1, 0], atol=1e-5, rtol=1e-4)  # batch = singles
    assert all(stage.shape[0] == 4 and stage.ndim == 4 for stage in net.stages(clips))
    assert isinstance(net, FrameQuality)


def test_bundled_sizes_fit():
    """Both bundled copies in half precision, below 1.5 MB."""
    for name in ("nano", "nano-heldout"):
        assert sum(p.numel() for p in Quality(PRESETS[name]).parameters()) * 2 < 1.5e6


def test_ranking_loss_by_hand():
    """q .9 against .4 and .4 against .9: softplus(-5) and softplus(5), one of two right; equal ones: log 2."""
    q = torch.tensor([0.9, 0.4])
    assert ranking_loss(q, torch.tensor([[0, 1]]))[0].item() == pytest.approx(np.log1p(np.exp(-5)), rel=1e-4)
    loss, logs = ranking_loss(q, torch.tensor([[0, 1], [1, 0]]))
    assert loss.item() == pytest.approx((np.log1p(np.exp(-5)) + np.log1p(np.exp(5))) / 2, rel=1e-6)
    assert logs["accuracy"] == 0.5
    assert ranking_loss(q, torch.tensor([[0, 0]]))[0].item() == pytest.approx(np.log(2))


@pytest.mark.parametrize("stem", ["convolution", "patches"])
def test_learns_that_stripes_beat_grey(stem):
    torch.manual_seed(0)
    net = Quality(TINY[stem])
    frames = torch.full((8, 16, 24, 3), 100, dtype=torch.uint8)
    for row in range(4):
        frames[row, :, row % 3 :: 3] = 200
    pairs = torch.cartesian_prod(torch.arange(4), torch.arange(4, 8))
    optimizer = torch.optim.AdamW(net.parameters(), 3e-3)
    for _ in range(30):
        loss, logs = ranking_loss(net(frames), pairs)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1 and logs["accuracy"] == 1


def test_frames_of_another_size_or_type_are_refused():
    net = Quality(TINY["convolution"])
    with pytest.raises(InputError, match=r"reads torch.uint8 \(…, 16, 24, 3\)"):
        net(noise(1, 24, 24))
    with pytest.raises(InputError, match="torch.float32"):
        net(noise(1, 16, 24).float())
    with pytest.raises(InputError, match="stem of a quality net"):
        Quality(QualityConfig(stem="convolutions"))
    assert len(net.stages(noise(1, 24, 40))) == 3  # features of any multiple of 8


class TwoColours:
    """Stages known on paper: unit vectors that depend on whether a pixel is bright."""

    def stages(self, frames):
        bright = (frames[..., 0].flatten(0, -3) > 127).float()
        return [torch.stack([bright, 1 - bright], 1), torch.stack([bright, bright, 1 - bright], 1)]


def test_feature_distance_is_half_of_one_minus_cosine():
    """Opposite pictures: all features turn around, distance 1; equal pictures: 0; half of the pixels turned: a half."""
    a = torch.zeros(1, 4, 4, 3, dtype=torch.uint8)
    a[:, :2] = 255
    half = a.clone()
    half[:, :, :2] = 255 - a[:, :, :2]
    distance = perceptual.FeatureDistance(TwoColours(), "toy")
    assert distance(a, a).item() == 0
    assert distance(a, 255 - a).item() == pytest.approx(1)
    assert distance(a, half).item() == pytest.approx(0.5)
    x, y = (stage[:1] for stage in (torch.randn(2, 5, 3, 4, generator=torch.Generator().manual_seed(0)).split(1)))
    net = type("Net", (), {"stages": lambda self, frames: [x if frames.any() else y]})()
    middle = (x.mean((2, 3), keepdim=True) + y.mean((2, 3), keepdim=True)) / 2
    expected = (1 - torch.cosine_similarity(x - middle, y - middle)).mean() / 2
    torch.testing.assert_close(perceptual.FeatureDistance(net, "toy")(a, a * 0)[0], expected)  # own road = torch's


def test_the_door_never_downloads(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    net = Quality(TINY["convolution"])
    assert perceptual_distance("auto", net, "cpu").name.startswith("features of")
    with pytest.raises(InputError, match="lpips-alex needs its trunk"):
        perceptual_distance("lpips-alex", net, "cpu")
    with pytest.raises(InputError, match="needs a quality net or a latent codec, but got Linear"):
        perceptual_distance("bundled", torch.nn.Linear(1, 1), "cpu")


def test_a_codecs_features_know_places_not_sharpness():
    """On frames of the game: a blurred copy is nearer than the next frame, that is nearer than another place."""
    prompts = record_prompts("doom-rooms", [930_000_009, 930_000_019, 930_000_029], 3)
    now, later = (torch.from_numpy(prompts.truth[:, k]) for k in (1, 2))
    blurred = blur(now, torch.full((3,), 0.5), torch.Generator())
    distance = perceptual_distance("bundled", "doom-rooms/latent-codec", "cpu")
    near, next_, far = (distance(x, now).mean() for x in (blurred, later, now.roll(1, 0)))
    assert distance.name == "features of doom-rooms/latent-codec" and not distance(now, now).any()
    assert near < next_ / 3 < next_ < far < 1


@pytest.mark.parametrize(("down", "right"), [(0, 0), (2, -3), (-1, 4), (4, 10), (-6, -16)])
def test_block_matching_finds_a_shift(down, right):
    """A textured picture moved as a whole; blocks into which nothing new came are exact."""
    big = noise(80, 160, seed=1)[..., :1].expand(-1, -1, 3)
    clip = torch.stack([big[12:68, 32:128], big[12 - down : 68 - down, 32 - right : 128 - right]])[None]
    found, unexplained, variance = motion.flow(clip)
    inner = (slice(None), slice(None), slice(1, -1), slice(2, -2))
    moved = found.movedim(2, -1)[inner]
    assert (moved == torch.tensor([float(down), float(right)])).all() and not unexplained[inner].any()
    inner = found[:, :, :, 1:-1, 2:-2]
    assert motion.strongest(inner).item() == pytest.approx((down**2 + right**2) ** 0.5) and (variance > 0).all()


def test_grey_pictures_do_not_move_and_noise_is_not_explained():
    grey = torch.full((1, 3, 16, 24, 3), 90, dtype=torch.uint8)
    found, unexplained, variance = motion.flow(grey)
    assert not found.any() and not unexplained.any()
    found, unexplained, variance = motion.flow(noise(1, 3, 56, 96))
    assert motion.consistency(unexplained, variance).max() < 0.5


def test_the_stand_in_wants_motion_that_explains_itself():
    """Constant quality: a moving picture scores above a frozen one and above noise; it is named as a stand-in."""
    big = noise(56, 140, seed=2).float()
    big = torch.nn.functional.avg_pool2d(big.movedim(-1, 0), 5, 1, 2).movedim(0, -1).to(torch.uint8)
    pan = torch.stack([big[:, 4 * t : 4 * t + 96] for t in range(5)])[None]
    judge = BundledPreference(lambda frames: torch.full(frames.shape[:-3], 0.5), "nothing")
    moving, frozen, noisy = (
        judge.preferences(clip)[0] for clip in (pan, pan[:, :1].repeat(1, 5, 1, 1, 1), noise(1, 5, 56, 96))
    )
    assert isinstance(judge, VideoPreference) and "stand-in" in judge.name
    assert moving[0] == 0.5 and moving[1] > 0.8 > 0.3 > noisy[1] and frozen[1] == 0
