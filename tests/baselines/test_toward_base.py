"""The program that walks from a model back to its base: weights between on paper, judges of a known video, bad use."""

import math

import pytest
import torch
import trainer_toys as toys

from worldgym.errors import InputError
from worldgym.models.files import checkpoint
from worldgym.train import run


@pytest.fixture(scope="module")
def benchmark(program):
    return program("baselines/toward_base.py")


def test_weights_between_on_paper(benchmark, tmp_path):
    files = toys.files(tmp_path / "files", "token")
    base, path = files / "model.safetensors", run.train(toys.run_config(files, tmp_path / "run", lr=0.1), "x")
    ends = [checkpoint.read(one)[2] for one in (base, path)]
    assert any(not torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
    for share in (0, 0.25, 1):
        found = benchmark.between(str(path), str(base), share).model.state_dict()
        for name, a in ends[0].items():
            torch.testing.assert_close(found[name], (1 - share) * a + share * ends[1][name])


def test_judges_of_a_video_whose_error_is_known(benchmark):
    """The truth made brighter by a fifth everywhere: 10 log10 25 dB; the given frame does not count."""
    truth = torch.randint(0, 204, (3, 4, 8, 8, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    brighter = torch.cat([truth[:, :1], truth[:, 1:] + 51], 1)
    judged = benchmark.Judged.__new__(benchmark.Judged)
    judged.truth, judged.actions, judged.seeds = truth, torch.zeros(3, 3, 2, dtype=torch.int64), [0, 1, 2]
    judged.reader = _Reader()
    judged.quality = lambda frames: frames.float().mean((2, 3, 4)) / 255
    found = judged.of(_Player(brighter))
    assert found["psnr"] == pytest.approx([10 * math.log10(25)] * 3)
    assert found["image_quality"] == pytest.approx((truth[:, 1:].float().mean((1, 2, 3, 4)) / 255 + 0.2).numpy())
    assert found["probability"] == pytest.approx([0.5, 0.5, 0.5])


def test_bad_shares_are_one_sentence(benchmark):
    for shares in ((), (0.0, 0.5), (1.5,)):
        with pytest.raises(InputError, match="give numbers above 0 and at most 1"):
            benchmark.Arguments(model="doom-rooms/token-nano-draft", shares=shares)
    with pytest.raises(InputError, match="differ in"):
        benchmark.between("doom-rooms/token-nano", "doom-rooms/diffusion-nano-v3", 0.5)


class _Reader:
    """Two actions, one always sure and one never: 1/2 in the mean."""

    def probabilities(self, video, actions):
        assert len(video) == len(actions)
        return torch.stack([torch.ones(actions.shape[:2]), torch.zeros(actions.shape[:2])], -1)


class _Player:
    def __init__(self, video):
        self.video = video

    def generate(self, given, actions, seeds):
        assert torch.equal(given, self.video[:, :1]) and len(seeds) == len(actions)
        return self.video
