"""WorldPlay's actions: label tables, pose strings, camera paths and camera files."""

import itertools
import json

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from worldgym.actions import worldplay
from worldgym.errors import InputError

ALL = np.array(list(itertools.product(range(3), repeat=4)))  # all 81 combinations


def test_labels_of_single_keys_and_corners():
    text = "none-1, w-1, s-1, d-1, a-1, right-1, left-1, up-1, down-1, w+right-1, w+d-1, s+a+left+down-1"
    got = worldplay.labels(worldplay.pose_string(text))
    assert got.tolist() == [0, 0, 9, 18, 27, 36, 1, 2, 3, 4, 10, 45, 80]


def test_81_labels_there_and_back():
    labels = worldplay.labels(ALL)
    assert sorted(labels) == list(range(81))
    assert (worldplay.groups(labels) == ALL).all()


@pytest.mark.parametrize("pace", [worldplay.PUBLISHED, worldplay.TRAINING])
def test_a_walked_path_has_the_labels_that_were_walked(pace):
    order = np.random.default_rng(0).permutation(81)
    groups = np.concatenate([[[0, 0, 0, 0]], ALL[order]])
    path = worldplay.walk(groups, pace)
    assert (path.labels == worldplay.labels(groups)).all()


def test_a_path_known_on_paper():
    """30 turns of 3 degrees to the right, then 5 moves: the camera looks along x and has gone .4 that way."""
    path = worldplay.walk(worldplay.pose_string("right-30, w-5"))
    assert len(path) == 36
    assert np.allclose(path.camera_to_world[0], np.eye(4))
    assert np.allclose(path.camera_to_world[-1, :3, 2], [1, 0, 0])
    assert np.allclose(path.camera_to_world[-1, :3, 3], [0.4, 0, 0])
    up = worldplay.walk(worldplay.pose_string("up-30, w-1")).camera_to_world[-1]
    assert np.allclose(up[:3, 3], [0, -0.08, 0])  # y points down
    assert np.allclose(path.intrinsics[0], [[0.5050505, 0, 0.5], [0, 0.8978676, 0.5], [0, 0, 1]])


def reference_label(before, after):
    """The published rule in angles, with scipy's Euler angles."""
    step = np.linalg.inv(before) @ after
    x, y, z = step[:3, 3]
    length = np.sqrt(x * x + y * y + z * z)
    forward = right = 0
    if length > 1e-4:
        to_z, to_x = np.degrees(np.arccos(z / length)), np.degrees(np.arccos(x / length))
        forward, right = (1 if angle < 60 else 2 if angle > 120 else 0 for angle in (to_z, to_x))
    _, yaw, pitch = Rotation.from_matrix(step[:3, :3]).as_euler("ZYX", degrees=True)
    turns = [1 if angle > 0.05 else 2 if angle < -0.05 else 0 for angle in (yaw, pitch)]
    table = {(0, 0): 0, (1, 0): 1, (2, 0): 2, (0, 1): 3, (0, 2): 4, (1, 1): 5, (1, 2): 6, (2, 1): 7, (2, 2): 8}
    return 9 * table[forward, right] + table[tuple(turns)]


def test_a_thousand_random_steps_by_the_published_rule():
    random = np.random.default_rng(1)
    cameras = np.tile(np.eye(4), (1001, 1, 1))
    for i in range(1, 1001):
        step = np.eye(4)
        step[:3, :3] = Rotation.from_rotvec(random.normal(size=3) * random.choice([0, 0.0005, 0.05])).as_matrix()
        step[:3, 3] = random.normal(size=3) * random.choice([0, 3e-5, 0.1])
        cameras[i] = cameras[i - 1] @ step
    expected = [0, *(reference_label(a, b) for a, b in itertools.pairwise(cameras))]
    assert worldplay.path_labels(cameras).tolist() == expected
    assert len(set(expected)) > 40


def test_climbing_counts_as_length_but_not_as_forward():
    """Steeply upward is more than 60 degrees away from z: a move that is neither forward nor right."""
    camera = np.tile(np.eye(4), (2, 1, 1))
    camera[1, :3, 3] = [0, -1, 0.5]
    assert worldplay.path_labels(camera).tolist() == [0, 0]
    camera[1, :3, 3] = [0, -0.5, 1]
    assert worldplay.path_labels(camera).tolist() == [0, 9]


@pytest.mark.parametrize(("frames", "latents"), [(1, 1), (5, 2), (13, 4), (125, 32), (253, 64), (381, 96)])
def test_frames_and_latents(frames, latents):
    assert worldplay.latents_of(frames) == latents
    assert worldplay.frames_of(latents) == frames


def test_lengths_that_are_none():
    with pytest.raises(InputError, match="use 121 or 125"):
        worldplay.latents_of(124)
    assert worldplay.frames_of(0) == 0


def test_frame_actions_and_latent_actions():
    groups = worldplay.pose_string("w-2, right-1")
    actions = worldplay.by_frame(np.stack([groups, groups]))
    assert actions.shape == (2, 12, 4)
    assert (worldplay.by_latent(actions) == groups).all()
    actions[1, 6] = 0
    with pytest.raises(InputError, match="within latent 2; hold each action for the 4 frames 5 to 8"):
        worldplay.by_latent(actions)
    assert worldplay.by_latent(np.zeros((0, 4), int)).tolist() == [[0, 0, 0, 0]]


def test_key_lists_and_fractions():
    assert (worldplay.key_list([["w", "right"], []]) == worldplay.pose_string("w+right-1.9, none-1")).all()


@pytest.mark.parametrize(
    ("text", "sentence"), [("w", "'w-8'"), ("w-0", "'w-8'"), ("q-3", "unknown key 'q'"), ("w+s-3", "both ways of move")]
)
def test_bad_pose_strings(text, sentence):
    with pytest.raises(InputError, match=sentence):
        worldplay.pose_string(text)


def camera_file(folder, cameras, lens):
    entries = {str(i): {"extrinsic": camera.tolist(), "K": lens} for i, camera in enumerate(cameras)}
    path = folder / "cameras.json"
    path.write_text(json.dumps(entries))
    return path, entries


LENS = [[969.697, 0, 960.0], [0, 969.697, 540.0], [0, 0, 1]]


def test_a_camera_file_gives_the_path_it_was_written_from(tmp_path):
    path = worldplay.walk(worldplay.pose_string("w+right-3, a-2"))
    got = worldplay.read_cameras(camera_file(tmp_path, path.camera_to_world, LENS)[0])
    assert np.array_equal(got.camera_to_world, path.camera_to_world)
    assert np.array_equal(got.intrinsics, path.intrinsics)
    assert got.labels.tolist() == path.labels.tolist() == [0, 10, 10, 10, 36, 36]


def test_bad_camera_files(tmp_path):
    path, entries = camera_file(tmp_path, np.tile(np.eye(4), (2, 1, 1)), LENS)
    for change, sentence in [
        (lambda e: e.pop("0"), "none named '0'"),
        (lambda e: e["1"].pop("K"), "camera 1 .* needs 'extrinsic'"),
        (lambda e: e["1"].update(extrinsic=(2 * np.eye(4)).tolist()), "no rotation and translation"),
        (lambda e: e["1"].update(K=[[1, 0], [0, 1]]), "'K' 3x3"),
    ]:
        changed = json.loads(json.dumps(entries))
        change(changed)
        path.write_text(json.dumps(changed))
        with pytest.raises(InputError, match=sentence):
            worldplay.read_cameras(path)
    path.write_text("{")
    with pytest.raises(InputError, match="no camera file"):
        worldplay.read_cameras(path)
