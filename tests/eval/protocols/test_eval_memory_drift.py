"""The suite of memory and drift: tours that come back, rows, scores, models that hold few frames."""

import dataclasses

import numpy as np
import pytest
import torch
from eval_toys import HEIGHT, WIDTH

from worldgym.actions import DOOM
from worldgym.errors import InputError
from worldgym.eval import protocols
from worldgym.eval.metrics.revisit_error import revisits
from worldgym.eval.protocols.memory_drift import MemoryDrift, Options
from worldgym.eval.protocols.sliding import Continued
from worldgym.eval.protocols.tours import LAP, SCRIPTS, Guide
from worldgym.eval.results import suite as suites
from worldgym.eval.results.answers import Entrant, Question
from worldgym.eval.results.statistics import Bootstrap
from worldgym.judges.quality import Quality, QualityConfig

SUITE = suites.load("memory-drift-doom-rooms-v1")


def tour(script, frames=65):
    """A tour on paper: yaw as the actions say, and a place per yaw; no walls."""
    actions = SCRIPTS[script](frames - 1, 1)
    turned = DOOM.camera[1].degrees(actions[:, DOOM.column("yaw")])
    walked = np.array([0.0, 30.0, -30.0])[actions[:, DOOM.column("move")]]
    poses = np.zeros((frames, 6))
    poses[1:, 3], poses[1:, 0] = np.cumsum(turned), np.cumsum(walked)
    shade = np.random.default_rng(0).integers(0, 256, (1000, HEIGHT, WIDTH, 3), dtype=np.uint8)
    truth = shade[(np.round(poses[:, 3] + poses[:, 0]) % 360).astype(int)]
    extra = {"poses": poses, "revisits": revisits(poses)}
    return Question(f"toy/{script}", truth[:1], actions, truth, {"tour": script}, extra)


@pytest.fixture
def protocol(tmp_path):
    torch.manual_seed(0)
    from worldgym.models.files import checkpoint

    path = str(tmp_path / "quality.safetensors")
    checkpoint.save(path, Quality(QualityConfig(widths=(4, 8, 8), height=HEIGHT, width=WIDTH)), "quality")
    found = protocols.load(dataclasses.replace(SUITE, size=(HEIGHT, WIDTH), judge=path))
    found.load_judges()
    return found


def test_scripts_come_back():
    for script in SCRIPTS:
        task = tour(script)
        assert task.actions.shape == (64, len(DOOM.sizes))
        later = task.extra["revisits"][:, 1]
        assert len(later) > 30 and len(set(later.tolist())) == len(later)
    round_ = tour("full-turns").extra["revisits"]
    assert round_[0].tolist() == [0, LAP] and (np.diff(round_, axis=1) == LAP).sum() == LAP  # then laps of laps


def test_truth_is_consistent_and_a_frozen_video_is_not_right(protocol):
    tasks = [tour(script) for script in SCRIPTS]
    truth = protocol.answer(protocol.enter("truth"), tasks, [0] * 3).rows
    frozen = Entrant("frozen", "baseline", Frozen(), source="baseline")
    stood = protocol.answer(frozen, tasks, [0] * 3).rows
    assert all(row["scores"]["revisit_error"] is None and row["scores"]["revisit_consistency"] == 0 for row in truth)
    assert all(row["scores"]["revisit_consistency"] == 0 and row["scores"]["revisit_error"] > 0.01 for row in stood)
    assert all(row["scores"]["quality_drift"] == 0 for row in stood)
    scored = protocol.scores(stood, Bootstrap.draw(3, 50, np.random.default_rng(0)))
    assert set(scored) == set(SUITE.metrics) and set(scored["revisit_error"].groups) == set(SCRIPTS)
    assert list(scored["image_quality"].groups) == ["frames 1-16", "frames 17-32", "frames 33-48", "frames 49-64"]
    parts = [part.value for part in scored["image_quality"].groups.values()]
    assert np.mean(parts) == pytest.approx(scored["image_quality"].score.value, abs=1e-3)  # rows hold half precision


class Frozen:
    kind = "baseline"

    def generate(self, prefix, actions, seeds):
        return np.repeat(prefix[:, :1], actions.shape[1] + 1, 1)


def test_a_model_of_sixteen_frames_goes_on_window_by_window():
    entrant = MemoryDrift(SUITE).enter("doom-rooms/token-nano")
    assert isinstance(entrant.player, Continued) and (entrant.player.window, entrant.player.context) == (16, 8)
    assert entrant.sampling == SUITE.sampling["token"] and entrant.weights
    assert not isinstance(MemoryDrift(SUITE).enter("last-frame").player, Continued)


def test_options_are_checked():
    assert MemoryDrift(SUITE).options == Options()
    with pytest.raises(InputError, match="unknown option of protocol 'memory-drift' 'windows'"):
        MemoryDrift(dataclasses.replace(SUITE, protocol_options={"windows": 3}))
    with pytest.raises(InputError, match="unknown tour 'full-turn'; did you mean 'full-turns'"):
        MemoryDrift(dataclasses.replace(SUITE, protocol_options={"tours": ["full-turn"]}))


def test_real_tours_come_back_and_are_the_same_again():
    """One tour of each kind from the game; a second guide plays the same frames."""
    seeds = suites.suite_seeds(SUITE, 0, 16)
    first, second = Guide("doom-rooms", 33), Guide("doom-rooms", 33)
    try:
        found = first.tours(tuple(SCRIPTS), iter(seeds), 3)
        again = [second.tour(task.condition["tour"], int(task.id.split("/")[1])) for task in found]
    finally:
        first.close()
        second.close()
    assert [task.condition["tour"] for task in found] == list(SCRIPTS)
    for one, two in zip(found, again, strict=True):
        assert np.array_equal(one.truth, two.truth) and np.array_equal(one.truth[:1], one.prefix)
        pairs, frames = one.extra["revisits"], one.truth.astype(float)
        back = np.abs(frames[pairs[:, 0]] - frames[pairs[:, 1]]).mean()
        rest = np.abs(frames[pairs[:, 0]] - frames[(pairs[:, 0] + 5) % 33]).mean()
        assert back < 0.7 * rest  # the same place looks the same
