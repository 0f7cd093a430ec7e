"""Metrics of looks, memory and drift: known answers."""

import dataclasses

import numpy as np
import pytest
import torch
from eval_toys import HEIGHT, SUITE, WIDTH, Obedient, Toy, clips_of, entrant

from worldgym.errors import InputError
from worldgym.eval.metrics.drift import brightness_drift, quality_drift
from worldgym.eval.metrics.dynamic_degree import dynamic
from worldgym.eval.metrics.image_quality import image_quality, qualities, visual_quality
from worldgym.eval.metrics.perceptual import distances, perceptual
from worldgym.eval.metrics.revisit_error import first_visit_error, revisit_error, revisits
from worldgym.eval.protocols.looks import METRICS, Looks
from worldgym.eval.protocols.sliding import Continued
from worldgym.eval.results.statistics import Bootstrap
from worldgym.judges.quality import Quality, QualityConfig
from worldgym.models.codecs.codec import LatentCodec, LatentCodecConfig

CODEC = LatentCodec(LatentCodecConfig(channels=4, wide=8, fine=8, height=HEIGHT, width=WIDTH)).eval().requires_grad_(False)


def grey(*levels, height=16, width=24):
    """(1, T, H, W, 3) uint8 frames of one grey each."""
    return np.broadcast_to(np.array(levels, np.uint8)[None, :, None, None, None], (1, len(levels), height, width, 3)).copy()


def bright(frames):
    return frames.float().mean((-1, -2, -3)) / 255


class L1:
    """A distance known on paper."""

    name, highest = "L1", 1.0

    def __call__(self, frames, truth):
        return (frames.float() - truth.float()).abs().mean((-1, -2, -3)) / 255


def test_perceptual_is_the_mean_over_frames():
    frames, truth = grey(0, 51, 102), grey(0, 0, 0)
    assert distances(frames, truth, L1())[0] == pytest.approx([0, 0.2, 0.4])
    assert perceptual(frames, truth, L1()) == pytest.approx([0.2])


def test_image_quality_takes_every_frame_and_vq_every_fourth_from_the_fourth():
    quality = qualities(grey(*range(0, 200, 25)), bright)
    assert quality[0] == pytest.approx(np.arange(0, 200, 25) / 255)
    assert image_quality(quality) == pytest.approx([87.5 / 255])
    assert visual_quality(quality) == pytest.approx([(75 + 175) / 2 / 255])
    assert np.isnan(visual_quality(quality[:, :3])).all()


def test_drift_by_hand():
    """Quality .9, then .8, .5, .3; the last two are .4 and .6 away from the first, whichever way."""
    assert quality_drift(np.array([[0.9, 0.8, 0.5, 0.3]]), last=2) == pytest.approx([0.5])
    assert quality_drift(np.array([[0.1, 0.8, 0.5, 0.3]]), last=2) == pytest.approx([0.3])
    assert quality_drift(np.array([[0.9, 0.8, 0.5, 0.3]])) == pytest.approx([(0.1 + 0.4 + 0.6) / 3])  # the given one never
    assert brightness_drift(grey(0, 51, 102, 0), grey(0, 51, 51, 51), last=2) == pytest.approx([0.2])
    with pytest.raises(ValueError, match="at least a first and a later frame"):
        quality_drift(np.ones((1, 1)))


def pan(step, frames=16, height=56, width=96):
    """(1, T, H, W, 3): noise that moves by `step` pixels per frame."""
    big = np.random.default_rng(0).integers(0, 256, (height, width + 16 * 17, 1), dtype=np.uint8)
    return np.stack([np.broadcast_to(big[:, step * t : step * t + width], (height, width, 3)) for t in range(frames)])[None]


def test_dynamic_degree_is_vbenchs_rule():
    """Threshold 6 * 56 / 256 = 1.3 pixels; 16 frames need 4 moving pairs."""
    assert dynamic(pan(2), 6).tolist() == [1] and dynamic(pan(1), 6).tolist() == [0] and dynamic(pan(0), 6).tolist() == [0]
    three, four = pan(0), pan(0)
    three[:, :4], four[:, :5] = pan(4)[:, :4], pan(4)[:, :5]  # the cut to another picture is one more
    three[:, 4:], four[:, 5:] = three[:, 3:4], four[:, 4:5]
    assert dynamic(three, 6).tolist() == [0] and dynamic(four, 6).tolist() == [1]


def test_dynamic_degree_thins_to_eight_frames_per_second():
    """At 24 fps every third frame counts: 1 pixel per frame is 3 per pair, and 6 of 16 frames need round(1.5) = 2 pairs."""
    assert dynamic(pan(1), 24).tolist() == [1]


def poses(*places):
    """(T, 6) from (x, yaw)."""
    return np.array([(x, 0, 40, yaw, 0, 0) for x, yaw in places], float)


def test_revisits_need_a_way_out_and_back():
    found = revisits(poses((0, 0), (0, 24), (0, 48), (0, 24), (0, 0), (0, 0), (100, 0), (3, 359)))
    assert found.tolist() == [[0, 4], [0, 5], [0, 7]]  # frame 3 sees what frame 1 saw, but was never 40 degrees away from it
    assert not len(revisits(poses((0, 0), (40, 0), (0, 0))))  # never far enough
    assert revisits(poses((0, 0), (60, 0), (7, 1), (9, 0))).tolist() == [[0, 2]]  # 9 units are another place


def test_revisit_errors_by_hand():
    apart, pairs = np.array([0, 0.1, 0.2, 0.4, 0.6]), np.array([[0, 3], [1, 4]])
    assert revisit_error(apart, pairs) == pytest.approx(0.5)
    assert first_visit_error(apart, pairs) == pytest.approx(0.15)  # the given frame is nobody's work
    assert np.isnan(revisit_error(apart, pairs[:0]))


class Counter:
    """Frame i + 1 shows frame i plus the action plus 1; remembers how it was called."""

    kind = "token"

    def __init__(self):
        self.calls = []

    def generate(self, prefix, actions, seeds, **options):
        self.calls.append((prefix.shape[1], actions.shape[1] + 1, tuple(seeds)))
        frames = list(np.moveaxis(prefix, 1, 0))
        for step in range(prefix.shape[1] - 1, actions.shape[1]):
            frames.append(frames[-1] + 1 + actions[:, step, 0].astype(np.uint8)[:, None, None, None])
        return torch.from_numpy(np.stack(frames, 1))


def test_sliding_windows_make_the_same_video_as_one_long_one():
    """A counter needs its last frame only, so windows must not lose, double or shift a frame or an action."""
    actions = np.random.default_rng(0).integers(0, 2, (2, 20, 1))
    prefix = np.zeros((2, 1, 4, 4, 3), np.uint8)
    whole = Counter().generate(prefix, actions, [1, 2]).numpy()
    for window, context in ((6, 1), (6, 3), (7, 6), (40, 3)):
        model = Counter()
        assert np.array_equal(Continued(model, window, context).generate(prefix, actions, [1, 2]), whole)
        assert model.calls[0] == (1, min(window, 21), (1, 2))
        assert all(given == context and made <= window for given, made, _ in model.calls[1:])
        assert len({seeds for *_, seeds in model.calls}) == len(model.calls)  # no noise twice
    with pytest.raises(InputError, match="context is 6 and window is 6"):
        Continued(Counter(), 6, 6)
    lazy = type("Lazy", (), {"generate": lambda self, prefix, actions, seeds: prefix})()
    with pytest.raises(InputError, match="but 2 clips of 6 frames are needed"):
        Continued(lazy, 6, 3).generate(prefix, actions, [1, 2])
    with pytest.raises(InputError, match="9 frames are given"):
        Continued(Counter(), 6, 3).generate(np.zeros((1, 9, 4, 4, 3), np.uint8), np.zeros((1, 20, 1), int), [0])


def test_looks_measures_what_is_named():
    torch.manual_seed(0)
    net = Quality(QualityConfig(widths=(4, 8, 8), height=HEIGHT, width=WIDTH)).eval().requires_grad_(False)
    looks = Looks(net, CODEC)
    frames = np.random.default_rng(0).integers(0, 256, (2, 9, HEIGHT, WIDTH, 3), dtype=np.uint8)
    found = looks.measure(["f1", *METRICS], frames, 255 - frames, 1, 6)
    assert set(found) == set(METRICS) and all(values.shape == (2,) for values in found.values())
    assert found["image_quality"] == pytest.approx(net(torch.from_numpy(frames[:, 1:])).mean(1).numpy())
    assert (found["perceptual"] > 0).all()
    assert set(looks.measure(METRICS, frames, None, 1, 6)) == set(METRICS) - {"perceptual"}
    assert looks.measure(["psnr"], frames, frames, 1, 6) == {}


def test_action_following_takes_looks_where_the_suite_names_them():
    """The true frames have no distance to themselves; the same judge gives the same quality to the same frames."""
    suite = dataclasses.replace(SUITE, metrics=("f1", "psnr", *METRICS))
    protocol = Toy(suite)
    assert protocol.judges() == (suite.judge, "doom-rooms/quality-heldout", "doom-rooms/latent-codec") and Toy(
        SUITE
    ).judges() == (SUITE.judge,)
    protocol.load_judges()
    torch.manual_seed(0)
    net = Quality(QualityConfig(widths=(4, 8, 8), height=HEIGHT, width=WIDTH)).eval().requires_grad_(False)
    protocol.looks = Looks(net, CODEC)
    tasks = protocol.with_donors(clips_of(3), 0, suite)
    truth = protocol.answer(protocol.enter("truth"), tasks, [0] * 3).rows
    model = protocol.answer(entrant("toy", Obedient()), tasks, [0, 1, 2]).rows
    assert all("perceptual" not in row["scores"] and row["scores"]["image_quality"] > 0 for row in truth)
    assert all(set(row["scores"]) == {"psnr", *METRICS} for row in model)
    expected = net(torch.from_numpy(np.stack([task.truth for task in tasks])))[:, 1:].mean(1)
    assert [row["scores"]["image_quality"] for row in truth] == pytest.approx(expected.tolist(), abs=1e-6)
    scored = protocol.scores(model, Bootstrap.draw(3, 20, np.random.default_rng(0)))
    assert set(scored) == set(suite.metrics) and scored["perceptual"].score.value > 0
