"""Depth Anything 3's camera poses: numbers of the published code, its file, the reference frame, poses as matrices."""

from pathlib import Path

import numpy as np
import published_toys as toys
import pytest
import torch
from safetensors.torch import save_file

from worldgym.errors import InputError
from worldgym.judges.camera_poses import FromPoses
from worldgym.judges.published import depth_anything as da

FIXTURE = np.load(Path(__file__).parent.parent / "fixtures" / "depth_anything.npz")


@pytest.fixture(scope="module")
def network():
    made = da.CameraPoses(da.SIZES["small"])
    made.load_state_dict(toys.random_state(made.state_dict()))
    return made.eval().requires_grad_(False)


@pytest.mark.parametrize(("name", "frames"), [("two", 2), ("five", 5)])
def test_poses_are_those_of_the_published_network(network, name, frames):
    """With 5 frames a reference frame is chosen, with 2 it is the first; 4x6 patches, so that rows are not columns."""
    x = torch.randn(1, frames, 3, 56, 84, generator=torch.Generator().manual_seed(1))
    np.testing.assert_allclose(network(x).numpy(), FIXTURE[name], atol=1e-4)
    assert FIXTURE[name].std() > 0.3


def test_every_part_that_tells_poses_is_there():
    """Facts of the published small model: 34,299,655 parameters in all, 443 tensors; ours are those of two of its parts."""
    with torch.device("meta"):
        state = da.CameraPoses(da.SIZES["small"]).state_dict()
        base = da.CameraPoses(da.SIZES["base"]).state_dict()
    assert state["backbone.pretrained.camera_token"].shape == (1, 2, 384)
    assert state["backbone.pretrained.pos_embed"].shape == (1, 1370, 384)
    assert "backbone.pretrained.blocks.4.attn.q_norm.weight" in state
    assert "backbone.pretrained.blocks.3.attn.q_norm.weight" not in state
    assert state["cam_dec.fc_qvec.weight"].shape == (4, 768) and base["cam_dec.fc_t.weight"].shape == (3, 1536)
    assert len(state) < 443 and sum(x.numel() for x in state.values()) < 34_299_655


def test_the_reference_is_first_and_the_rest_keeps_its_order():
    tokens = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    for row in da.reference_first(tokens).tolist():
        assert sorted(row) == list(range(6)) and row[1:] == sorted(row[1:])


def test_an_encoding_becomes_a_matrix():
    """A quarter turn about y (scalar last) sends z to x; lengths of quaternions do not matter."""
    encoding = torch.tensor([1.0, 2, 3, 0, 2, 0, 2, 0.5, 0.5])
    found = da.matrices(encoding)
    torch.testing.assert_close(found[:3, 2], torch.tensor([1.0, 0, 0]), atol=1e-6, rtol=0)
    assert found[:3, 3].tolist() == [1, 2, 3] and found[3].tolist() == [0, 0, 0, 1]


def test_it_takes_frames_and_stands_in_for_a_camera_judge():
    assert da.prepare(toys.pictures(1, 56, 96)).shape == (1, 3, 294, 504)
    small = da.DepthAnything(Still())
    assert small.poses(toys.pictures(6, 56, 96).reshape(2, 3, 56, 96, 3)).shape == (2, 3, 4, 4)
    assert FromPoses(small).motion(toys.pictures(3, 56, 96)[None]).abs().max() == 0


class Still:
    """A network that sees no motion."""

    def parameters(self):
        return iter([torch.zeros(1)])

    def __call__(self, x):
        return torch.tensor([0.0, 0, 0, 0, 0, 0, 1, 1, 1]).expand(1, x.shape[1], 9)


def test_the_published_file_loads_without_its_other_parts(network, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDGYM_PUBLISHED", str(tmp_path))
    (tmp_path / "DA3-SMALL").mkdir()
    state = {f"model.{name}": tensor for name, tensor in network.state_dict().items()}
    other = {"model.head.projects.0.weight": torch.zeros(2), "model.cam_enc.trunk.0.norm1.weight": torch.zeros(2)}
    save_file({**state, **other}, tmp_path / "DA3-SMALL" / "model.safetensors")
    loaded = da.load("small").network
    assert all((loaded.state_dict()[name] == x).all() for name, x in network.state_dict().items())
    del state["model.cam_dec.fc_t.bias"]
    save_file(state, tmp_path / "DA3-SMALL" / "model.safetensors")
    with pytest.raises(InputError, match=r"missing 'cam_dec\.fc_t\.bias'"):
        da.load("small")
    with pytest.raises(InputError, match="Depth Anything 3 base.*is not here; get it"):
        da.load("base")
    with pytest.raises(InputError, match="unknown size of Depth Anything 3 'giant'"):
        da.load("giant")
