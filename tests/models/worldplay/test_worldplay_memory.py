"""Selection of a chunk's context by view overlap."""

import numpy as np
import pytest

from worldgym.actions import worldplay
from worldgym.errors import InputError
from worldgym.models.diffusion.worldplay.view_memory import HUNYUAN, WAN, MemoryRule, ViewMemory


def path(text, pace=worldplay.PUBLISHED):
    return worldplay.walk(worldplay.pose_string(text), pace).camera_to_world


def naive_overlap(memory, current, other):
    """Point by point, in degrees, in the current camera's axes."""
    relative = np.linalg.inv(current) @ other
    ahead = relative[:3, 2]
    found = 0
    for point in memory.points:
        x, y, z = point - relative[:3, 3]
        yaw = np.degrees(np.arctan2(x, z) - np.arctan2(ahead[0], ahead[2]))
        up = np.degrees(np.arctan2(y, np.sqrt(x * x + z * z)) - np.arctan2(ahead[1], np.sqrt(ahead[0] ** 2 + ahead[2] ** 2)))
        yaw, up = (yaw + 180) % 360 - 180, (up + 180) % 360 - 180
        found += abs(yaw) < 30 and abs(up) < 17.5 and np.sqrt(x * x + y * y + z * z) < 8
    return found / len(memory.points)


def test_overlaps_known_on_paper():
    memory = ViewMemory()
    cameras = path("right-60", worldplay.Pace(1, 1))
    overlap = memory.overlap(cameras[:1], cameras)
    assert overlap[0] == 1
    assert np.allclose(overlap[:60], 1 - np.arange(60) / 60, atol=0.03)  # fields of 60 degrees, i degrees apart
    assert overlap[60] == 0
    assert 0.04 < len(memory.points) / 50_000 < 0.06  # solid angle 60/360 * sin 17.5 = 5.0 %
    far = cameras[:1].copy()
    far[0, :3, 3] = [0, 0, -20]  # looks the same way, but nothing is within 8 of it
    assert memory.overlap(cameras[:1], far) == 0


def test_overlap_is_what_the_definition_says():
    memory = ViewMemory(seed=3)
    random = np.random.default_rng(0)
    for _ in range(3):
        one, two = path("w+right-9, up+a-9", worldplay.Pace(0.5, 7.0))[random.choice(19, 2)]
        assert memory.overlap(one, two) == pytest.approx(naive_overlap(memory, one, two), abs=1e-12)


def test_rolling_a_camera_changes_nothing():
    memory, cameras = ViewMemory(), path("w+right-9", worldplay.Pace(0.5, 4.0))
    angle = 0.7
    roll = np.eye(4)
    roll[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    assert memory.overlap(cameras[0], cameras[5] @ roll) == memory.overlap(cameras[0], cameras[5])


@pytest.mark.parametrize(("rule", "budget"), [(WAN, 16), (HUNYUAN, 20)])
def test_the_whole_history_while_it_is_short(rule, budget):
    memory, cameras = ViewMemory(rule), path("w-100")
    for start in range(0, budget + 1, 4):
        assert memory.select(cameras, start).tolist() == list(range(start))
    for start in range(budget + 4, 100, 4):
        chosen = memory.select(cameras, start)
        assert len(chosen) == budget
        assert set(range(start - 12, start)) <= set(chosen)
        assert rule is WAN or set(range(4)) <= set(chosen)
        assert (np.diff(chosen) > 0).all()


@pytest.mark.parametrize("rule", [WAN, HUNYUAN])
def test_it_finds_the_place_that_was_seen_before(rule):
    """Turn right by 16 x 12 degrees and back by as much: the chunk sees again what it saw on the way out."""
    cameras = path("right-31, left-32", worldplay.Pace(0.08, 6.0))
    for start in (44, 48, 52):
        found = sorted(
            set(ViewMemory(rule).select(cameras, start)) - set(range(start - 12, start)) - set(range(4 * rule.first))
        )
        mirrored = 62 - start - 1.5  # latent k on the way back stands where latent 62 - k stood
        assert abs(np.mean(found) - mirrored) <= 2


@pytest.mark.parametrize("rule", [WAN, HUNYUAN])
def test_the_clip_that_overlaps_most_by_the_definition(rule):
    """Latents s and s + 2 of a clip against every latent of the chunk, one pair at a time."""
    memory, random = ViewMemory(rule), np.random.default_rng(5)
    for start in (24, 32, 37):
        cameras = worldplay.walk(random.integers(0, 3, (start + 3, 4)), worldplay.Pace(0.3, 9.0)).camera_to_world
        scores = {
            s: np.mean(
                [(memory.overlap(now, cameras[s]) + memory.overlap(now, cameras[s + 2])) / 2 for now in cameras[start:]]
            )
            for s in range(4 * rule.first, start - 12, 4)
        }
        best = max(scores, key=lambda s: (round(scores[s], 12), -s))
        always = {*range(4 * rule.first), *range(start - 12, start)}
        assert set(memory.select(cameras, start)) == always | set(range(best, best + 4))


def test_latents_0_and_2_of_a_clip_count():
    away = np.diag([-1.0, 1, -1, 1])  # looks back
    cameras = np.tile(away, (32, 1, 1))
    cameras[[4, 5, 7, 8, 10, *range(28, 32)]] = np.eye(4)  # of clip 4 … 7 three see what the chunk sees, of 8 … 11 two
    assert ViewMemory(WAN).select(cameras, 28).tolist() == [8, 9, 10, 11, *range(16, 28)]


def test_the_earliest_of_equals():
    cameras = np.tile(np.eye(4), (40, 1, 1))
    assert ViewMemory(WAN).select(cameras, 32).tolist() == [0, 1, 2, 3, *range(20, 32)]
    assert ViewMemory(HUNYUAN).select(cameras, 32).tolist() == [*range(8), *range(20, 32)]


def test_points_come_from_the_seed():
    assert np.array_equal(ViewMemory(seed=1).points, ViewMemory(seed=1).points)
    assert not np.array_equal(ViewMemory(seed=1).points[:9], ViewMemory(seed=2).points[:9])


def test_a_rule_that_leaves_no_clip():
    with pytest.raises(InputError, match="leaves no whole clip"):
        MemoryRule(14)
