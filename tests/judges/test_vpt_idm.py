"""VPT's inverse dynamics model: the published network number by number, its file, its labels, its use as a reward."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import torch
import vpt_toys as toys

from worldgym import zoo
from worldgym.actions import spec, vpt
from worldgym.errors import InputError
from worldgym.judges import vpt_idm
from worldgym.judges.vpt_idm import BUTTONS, CAMERA, VPTIDM, VPTConfig
from worldgym.resize import resize

MINECRAFT = spec("minecraft")
FIXTURES = np.load(Path(__file__).parent.parent / "fixtures" / "vpt_idm.npz")


def both(model, frames):
    with torch.no_grad():
        buttons, camera = model(frames)
    return buttons[0].flatten(1).numpy(), camera[0].flatten(1).numpy()


def test_log_probabilities_are_those_of_the_published_network():
    """7 frames, small sizes; the published code gave the same to 5e-7 where the fixture was made."""
    buttons, camera = both(toys.judge(), toys.frames(7))
    assert np.abs(buttons - FIXTURES["small_buttons"]).max() < 1e-4 and FIXTURES["small_buttons"].std() > 0.2
    assert np.abs(camera - FIXTURES["small_camera"]).max() < 1e-4 and FIXTURES["small_camera"].std() > 0.2


@pytest.mark.long
def test_log_probabilities_at_the_published_size():
    """482,330,046 random weights; needs 5 GB of memory and about two minutes."""
    with torch.device("meta"):
        model = VPTIDM(VPTConfig())
    model.load_state_dict(toys.random_state(VPTConfig()), assign=True)
    buttons, camera = both(model.eval(), toys.frames(3))
    assert np.abs(buttons - FIXTURES["full_buttons"]).max() < 1e-4
    assert np.abs(camera - FIXTURES["full_camera"]).max() < 1e-4


def test_names_shapes_and_size_of_the_published_file():
    with torch.device("meta"):
        state = VPTIDM(VPTConfig()).state_dict()
    assert sum(x.numel() for x in state.values()) == 482_330_046
    assert sum(x.numel() for n, x in state.items() if n.startswith("net.")) == 482_076_032
    shapes = {name: tuple(x.shape) for name, x in state.items()}
    block = "net.recurrent_layer.blocks.1"
    wanted = {
        "net.conv3d_layer.layer.weight": (128, 3, 5, 1, 1),
        "net.img_process.cnn.stacks.0.firstconv.norm.weight": (128,),
        "net.img_process.cnn.stacks.2.blocks.1.conv1.layer.weight": (512, 512, 3, 3),
        "net.img_process.cnn.dense.layer.weight": (256, 131072),
        "net.img_process.linear.layer.weight": (4096, 256),
        f"{block}.mlp0.layer.weight": (16384, 4096),
        f"{block}.r.orc_block.b_nd": (10, 0),
        f"{block}.r.orc_block.r_layer.weight": (320, 4096),
        "net.lastlayer.layer.weight": (4096, 4096),
        "pi_head.buttons.linear_layer.weight": (40, 4096),
        "pi_head.camera.linear_layer.bias": (22,),
    }
    assert {name: shapes[name] for name in wanted} == wanted and len(shapes) == 100
    assert "net.img_process.cnn.stacks.0.firstconv.layer.bias" not in shapes and f"{block}.mlp1.norm.weight" not in shapes


def test_all_frames_see_all_frames_and_parts_without_effect_have_none():
    model, clip = toys.judge(), toys.frames(4)
    before = both(model, clip)[0]
    changed = clip.clone()
    changed[:, 3] = 255 - changed[:, 3]
    assert np.abs(both(model, changed)[0][0] - before[0]).max() > 1e-6  # frame 0 is 3 away: through attention only
    for part in (model.net.lastlayer, model.net.recurrent_layer.blocks[0].r.orc_block.r_layer):
        for weight in part.parameters():
            weight.add_(1.0)
    assert (both(model, clip)[0] == before).all()


# --- the file --------------------------------------------------------------------------------------------------------------


def written(tmp_path, change=lambda state: None, config=toys.SMALL):
    state = toys.random_state(config)
    change(state)
    torch.save(state, tmp_path / "4x_idm.weights")
    return tmp_path / "4x_idm.weights"


def test_a_file_of_the_published_form_loads_by_name(tmp_path):
    path = written(tmp_path)
    clip = toys.frames(3)
    for model in (vpt_idm.load(path), zoo.load(str(path))):
        assert model.config == toys.SMALL and not model.training and not any(p.requires_grad for p in model.parameters())
        assert (both(model, clip)[0] == both(toys.judge(), clip)[0]).all()


def rename(state):
    state["net.final_norm.bias"] = state.pop("net.final_ln.bias")


def misshape(state):
    state["pi_head.camera.linear_layer.bias"] = torch.zeros(21)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("net.final_ln.bias"), r"missing 'net\.final_ln\.bias'"),
        (rename, r"missing 'net\.final_ln\.bias'.*unexpected 'net\.final_norm\.bias'"),
        (misshape, r"'pi_head\.camera\.linear_layer\.bias' has shape \[21\], not \[22\]"),
    ],
)
def test_a_wrong_weight_is_named(tmp_path, change, message):
    with pytest.raises(InputError, match=message):
        vpt_idm.load(written(tmp_path, change))


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_pickle_that_runs_code_is_refused_and_not_run(tmp_path):
    def arm(state):
        state["net.final_ln.bias"] = Bomb(tmp_path / "boom")

    with pytest.raises(InputError, match="could run code"):
        vpt_idm.load(written(tmp_path, arm))
    assert not (tmp_path / "boom").exists()


def test_a_missing_or_cut_file_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="wget https://openaipublic"):
        vpt_idm.load(tmp_path / "4x_idm.weights")
    path = written(tmp_path)
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match="no whole torch file"):
        vpt_idm.load(path)


# --- labels ----------------------------------------------------------------------------------------------------------------


def test_every_pair_of_keys_becomes_the_label_that_a_recording_of_them_has():
    """Two roads: judge's buttons to columns, and an action dictionary to columns (conflicting keys are null in both)."""
    for first in BUTTONS[:10]:
        for second in BUTTONS[:10]:
            buttons = torch.zeros(20, dtype=torch.long)
            buttons[[BUTTONS.index(first), BUTTONS.index(second)]] = 1
            found = vpt_idm.columns(MINECRAFT, buttons, torch.tensor([5, 5]))
            action = {**dict.fromkeys(vpt.KEYS, 0), first: 1, second: 1, "camera": [0, 0]}
            assert found.tolist() == vpt.columns(action).tolist(), (first, second)


def test_camera_bins_go_to_the_nearest_bin_of_the_spec():
    pairs = torch.tensor([[k, 10 - k] for k in range(11)])
    found = vpt_idm.columns(MINECRAFT, torch.zeros(11, 20, dtype=torch.long), pairs)[:, 7:9]
    assert found[:, 0].tolist() == [7, 8, 9, 9, 10, 10, 10, 11, 11, 12, 13]  # +-10, 5.8, 3.2, 1.6, .6, 0 degrees
    assert found[:, 1].tolist() == found[:, 0].tolist()[::-1]
    np.testing.assert_allclose(CAMERA.centers[5:], [0, 0.6154, 1.6095, 3.2154, 5.8095, 10], atol=1e-4)


def test_labels_are_about_all_frames_but_the_first():
    model, clip = toys.judge(), toys.frames(5)
    labels = model.labels(clip)
    assert labels.shape == (1, 4, 11) and labels.dtype == torch.int64
    changed = clip.clone()
    changed[:, 0] = 0
    assert (model.labels(changed) == labels).all()
    buttons, camera = model.read(clip[:, 1:])
    assert (vpt_idm.columns(MINECRAFT, buttons, camera) == labels).all()
    assert set(model.reads) == set(MINECRAFT.names[:9])


def test_turns_beyond_the_judges_reach_count_as_its_furthest():
    model = toys.judge()
    given = torch.from_numpy(np.stack([MINECRAFT.action(yaw=d) for d in (-80.0, 9.0, 20.0, 3.0)]))[None]
    read = given.clone()
    read[0, :, 8] = torch.tensor([7, 13, 13, 12])
    assert model.agrees(read, given)[0, :, 8].tolist() == [True, True, True, False]


def test_frames_of_any_size_are_resized_to_128(monkeypatch):
    model, clip = toys.judge(), toys.frames(3, 224, 384)
    assert (both(model, clip)[0] == both(model, resize(clip, 128, 128))[0]).all()


def test_resizing_takes_the_middle_pixel_of_three_and_mixes_rows():
    """384 -> 128 columns: pixel 3i + 1 alone. 224 -> 128 rows: centre of row 0 lies at 0.375, so 5/8 and 3/8."""
    picture = torch.zeros(224, 384, 3, dtype=torch.uint8)
    picture[0, 4], picture[1, 4], picture[0, 3] = 160, 80, 255
    small = resize(picture, 128, 128)
    assert small[0, 1].tolist() == [round(160 * 5 / 8 + 80 * 3 / 8)] * 3 and small[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("before", "after", "digest"),
    [
        ((224, 384), (128, 128), "9a0f950639e4fe17"),
        ((360, 640), (128, 128), "0d55e3cdb968b052"),
        ((360, 640), (224, 384), "bcedb47314d9968f"),
    ],
)
def test_resized_noise_is_opencvs_to_the_byte(before, after, digest):
    """The digests are those of OpenCV 5.0's INTER_LINEAR on the same noise."""
    noise = torch.randint(0, 256, (*before, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert hashlib.sha256(resize(noise, *after).numpy().tobytes()).hexdigest().startswith(digest)
