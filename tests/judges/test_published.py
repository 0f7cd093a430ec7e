"""Published metric networks: numbers of the published code, their files, what is said when one is missing or wrong."""

import hashlib
import os
from pathlib import Path

import numpy as np
import published_toys as toys
import pytest
import torch

from worldgym.errors import InputError
from worldgym.judges.published import fvd, lpips, raft
from worldgym.judges.published.lpips import LPIPS
from worldgym.judges.published.raft import RAFT
from worldgym.models.files import published_files

FIXTURES = np.load(Path(__file__).parent.parent / "fixtures" / "published_networks.npz")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDGYM_PUBLISHED", str(tmp_path))
    return tmp_path


def filled(model, state):
    model.load_state_dict(state)
    return model.eval()


# --- numbers ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("net", ["alex", "vgg"])
def test_lpips_is_that_of_its_authors(net):
    model = LPIPS(net)
    filled(model, toys.random_state(model.state_dict()))
    one, two = toys.pictures(2, 72, 96), toys.pictures(2, 72, 96, seed=1)
    with torch.no_grad():
        found = np.stack([model(one, two).numpy(), model(one, two, spatial=False).numpy()])
        assert model(one, one).abs().max() == 0
    np.testing.assert_allclose(found, FIXTURES[f"lpips_{net}"], atol=1e-6)
    if net == "alex":  # whose maps are no whole fraction of the picture: there enlarging first matters
        assert np.abs(FIXTURES["lpips_alex"][0] - FIXTURES["lpips_alex"][1]).max() > 1e-6


def test_raft_is_that_of_its_authors():
    """132x156 is no multiple of 8: the padding is tested too. Flow of up to 10 pixels; 5 corrections."""
    model = RAFT()
    filled(model, toys.raft_state(model))
    picture = toys.pictures(1, 132, 156)
    flow = model(picture, picture.roll(3, 2), 5)
    assert flow.shape == (1, 2, 132, 156)
    np.testing.assert_allclose(flow[..., ::12, ::12].numpy(), FIXTURES["raft"], atol=1e-3)
    assert FIXTURES["raft"].std() > 0.5 and sum(p.numel() for p in model.parameters()) == 5_257_536


class Mean(torch.nn.Module):
    """In place of I3D: 400 numbers that say how many frames came, their mean and their last brightness."""

    def forward(
        self, x: torch.Tensor, rescale: bool = True, resize: bool = True, return_features: bool = False
    ) -> torch.Tensor:
        if rescale or resize or not return_features:
            raise RuntimeError("wrong keywords")
        parts = torch.stack([torch.tensor(float(x.shape[2])), x.mean(), x[:, :, -1].mean()])
        return torch.cat([parts, torch.zeros(397)])[None]


def test_fvd_reads_every_prefix_and_the_middle_of_the_picture():
    clip = torch.zeros(1, 15, 224, 384, 3, dtype=torch.uint8)
    clip[:, :, :, 80:304] = 255  # the middle 224 columns
    clip[:, 14] = 0
    found = fvd.FVDFeatures(Mean())(clip)
    assert found.shape == (1, 6, 400) and found[0, :, 0].tolist() == [10, 11, 12, 13, 14, 15]
    assert found[0, :, 2].tolist() == [1, 1, 1, 1, 1, -1] and found[0, 0, 1] == 1
    assert fvd.prepare(torch.zeros(1, 56, 96, 3, dtype=torch.uint8)).shape == (1, 3, 224, 224)
    with pytest.raises(InputError, match="have 12 frames, but FVD over 15"):
        fvd.FVDFeatures(Mean())(clip[:, :12])


# --- files -----------------------------------------------------------------------------------------------------------------


def write_lpips(folder, monkeypatch, change=lambda trunk, heads: None):
    state = toys.random_state(LPIPS("alex").state_dict())
    trunk = {name: x for name, x in state.items() if name.startswith("features.")}
    trunk["classifier.1.weight"] = torch.zeros(2, 2)  # torchvision's file has a classifier
    heads = {f"lin{k}.model.1.weight": state[f"heads.{k}"][None, :, None, None] for k in range(5)}
    change(trunk, heads)
    for name, content in (("alexnet-owt-7be5be79.pth", trunk), ("lpips-alex.pth", heads)):
        torch.save(content, folder / name)
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        known = published_files.FILES[name]
        changed = type(known)(**{**vars(known), "sha256": digest})
        monkeypatch.setitem(published_files.FILES, name, changed)
    return state


def test_lpips_loads_from_both_files(folder, monkeypatch):
    state = write_lpips(folder, monkeypatch)
    loaded = lpips.load("alex")
    assert all((loaded.state_dict()[name] == state[name]).all() for name in state) and not loaded.training


def test_raft_loads_as_it_was_saved_by_several_gpus(folder):
    state = toys.raft_state(RAFT())
    torch.save({f"module.{name}": x for name, x in state.items()}, folder / "raft-things.pth")
    loaded = raft.load()
    assert all((loaded.state_dict()[name] == state[name]).all() for name in state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s.pop("module.cnet.conv1.bias"), r"missing 'cnet\.conv1\.bias'"),
        (lambda s: s.update({"module.new": torch.zeros(1)}), r"unexpected 'new'"),
        (lambda s: s.update({"module.cnet.conv1.bias": torch.zeros(3)}), r"'cnet\.conv1\.bias' has shape \[3\], not \[64\]"),
    ],
)
def test_a_wrong_weight_is_named(folder, change, message):
    state = {f"module.{name}": x for name, x in toys.raft_state(RAFT()).items()}
    change(state)
    torch.save(state, folder / "raft-things.pth")
    with pytest.raises(InputError, match=message):
        raft.load()


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_no_loader_runs_a_pickle(folder, monkeypatch):
    def arm(trunk, heads):
        heads["lin0.model.1.weight"] = Bomb(folder / "boom")

    write_lpips(folder, monkeypatch, arm)
    torch.save({"module.fnet": Bomb(folder / "boom")}, folder / "raft-things.pth")
    for load in (lpips.load, raft.load):
        with pytest.raises(InputError, match="could run code"):
            load()
    assert not (folder / "boom").exists()


def test_i3d_runs_only_when_its_hash_is_vouched_for(folder):
    path = folder / "i3d_torchscript.pt"
    torch.jit.save(torch.jit.script(Mean()), str(path))
    with pytest.raises(InputError, match="will not be run before you vouch for it"):
        fvd.load()
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    (folder / "i3d_torchscript.pt.sha256").write_text(f"{digest}  {path}\n")
    assert fvd.load()(torch.zeros(1, 15, 224, 384, 3, dtype=torch.uint8)).shape == (1, 6, 400)
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(InputError, match="will not be run before you vouch for it"):
        fvd.load()


def test_a_missing_file_says_what_to_type(folder):
    for name, file in published_files.FILES.items():
        assert not published_files.present(name)
        with pytest.raises(InputError, match="is not here; get it: mkdir -p") as caught:
            published_files.locate(name)
        assert file.url in str(caught.value) and str(folder / name) in str(caught.value) and file.licence in str(caught.value)
    with pytest.raises(InputError, match="did you mean 'raft-things.pth'"):
        published_files.locate("raft-thing.pth")


def test_another_file_under_a_known_name_is_refused(folder):
    (folder / "vgg16-397923af.pth").write_bytes(b"not it")
    with pytest.raises(InputError, match="is not the published vgg16-397923af.pth"):
        published_files.locate("vgg16-397923af.pth")
