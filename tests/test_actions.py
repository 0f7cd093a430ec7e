"""Action specs: bins on paper, round trips, segments, and errors that teach."""

import numpy as np
import pytest

from worldgym.actions import DOOM, MINECRAFT, SPECS, ActionTokens, spec
from worldgym.errors import InputError


def test_minecraft_camera_centres_are_mineworlds():
    expected = [0, 2.25, 5.1462, 8.8743, 13.6732, 19.8503, 27.8016, 38.0367, 51.2115, 68.1703, 90]
    for axis in MINECRAFT.camera:
        np.testing.assert_allclose(axis.centers[10:], expected, atol=2e-4)
        np.testing.assert_allclose(axis.centers[:11], -np.array(expected[::-1]), atol=2e-4)


def test_minecraft_camera_edges_are_mineworlds():
    edges = [1.0541, 3.6068, 6.8928, 11.1225, 16.567, 23.5754, 32.5966, 44.2089, 59.1564, 78.3971]
    axis = MINECRAFT.camera[0]
    for index, edge in enumerate(edges):
        assert axis.quantise(edge - 1e-3) == 10 + index
        assert axis.quantise(edge + 1e-3) == 11 + index
        assert axis.quantise(-edge - 1e-3) == 9 - index


@pytest.mark.parametrize("name", sorted(SPECS))
def test_every_bin_comes_back(name):
    for axis in spec(name).camera:
        bins = np.arange(axis.bins)
        np.testing.assert_array_equal(axis.quantise(axis.degrees(bins)), bins)
        assert axis.degrees(axis.null) == 0
        assert axis.quantise(1e6) == axis.bins - 1 and axis.quantise(-1e6) == 0


def test_words_and_degrees_make_an_action():
    action = DOOM.action(move="forward", pace="sprint", yaw=-24.0)
    np.testing.assert_array_equal(action, [1, 0, 1, 0, 0, 0, 5, 0])


SHARED_SLOTS = {"minecraft": 2}  # use with attack, drop with pickItem
NEVER_SHOWN = {"minecraft": 3}  # swapHands, inventory, ESC


@pytest.mark.parametrize("name", sorted(SPECS))
def test_segments_have_fixed_slots_and_own_ids(name):
    actions = spec(name)
    tokens, shared = ActionTokens(actions, first=1000), SHARED_SLOTS.get(name, 0)
    every = [np.array([*actions.null[:k], v, *actions.null[k + 1 :]]) for k, n in enumerate(actions.sizes) for v in range(n)]
    segments = tokens.encode(np.stack(every))
    assert segments.shape == (len(every), len(actions.sizes) + 2 - shared)
    assert (segments[:, 0] == tokens.bos).all() and (segments[:, -1] == tokens.eos).all()
    assert segments.min() >= 1000 and segments.max() < tokens.vocabulary
    assert len(np.unique(segments, axis=0)) == len(np.unique(np.stack(every), axis=0))  # no two actions alike
    # Each id belongs to one slot, but for the null that groups share.
    slots = [set(segments[:, s]) - {tokens.null} for s in range(segments.shape[1])]
    assert sum(map(len, slots)) == len(set().union(*slots)) == tokens.vocabulary - 1000 - 1 - NEVER_SHOWN.get(name, 0)


def test_the_null_segment_is_mineworlds_pattern():
    tokens = ActionTokens(MINECRAFT, first=8192)
    segment = tokens.encode(MINECRAFT.null)
    assert len(segment) == 11
    np.testing.assert_array_equal(segment, [8257, 8225, 8246, *[8258] * 7, 8259])
    assert tokens.vocabulary == 8260


@pytest.mark.parametrize(
    ("actions", "words"),
    [
        (np.zeros((4, 7), int), ["shape (4, 7)", "8 columns"]),
        (np.zeros((4, 8)), ["float64", "integers"]),
        (np.full((4, 8), 9), ["holds 9", "'move'", "0 to 2"]),
        (np.full((4, 8), -1), ["holds -1", "'move'"]),
        (np.int64(3), ["shape ()"]),
    ],
)
def test_wrong_arrays_get_one_sentence(actions, words):
    with pytest.raises(InputError) as error:
        DOOM.check(actions)
    assert all(word in str(error.value) for word in words), error.value


def test_wrong_names_get_the_nearest_right_one():
    with pytest.raises(InputError, match="did you mean 'minecraft'"):
        spec("minecraf")
    with pytest.raises(InputError, match="did you mean 'forward'"):
        DOOM.action(move="foward")
    with pytest.raises(InputError, match="did you mean 'strafe'"):
        DOOM.column("straf")
