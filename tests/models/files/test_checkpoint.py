"""Model files: what is written comes back, and everything else is refused in a sentence."""

import dataclasses
import json
import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from worldgym.errors import InputError
from worldgym.models.files import checkpoint


@dataclasses.dataclass(frozen=True)
class Config:
    width: int = 3
    sizes: tuple[int, ...] = (1, 2)


class Net(nn.Module):
    def __init__(self, config: Config):
        super().__init__()
        self.config = config
        self.linear = nn.Linear(config.width, 2)
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("scratch", torch.zeros(2), persistent=False)


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, Net(Config(width=4)), "net", {"codec": "some/codec"})
    return path


def rebuild(path):
    config, _, tensors, _ = checkpoint.read(path)
    return checkpoint.build(Net, config, tensors, str(path))


def rewrite(path, **changes):
    tensors, metadata = checkpoint.read_tensors(path)
    tensors.update(changes)
    checkpoint.write_tensors(path, {n: t for n, t in tensors.items() if t is not None}, metadata)


def test_round_trip(tmp_path):
    module, path = Net(Config(width=4, sizes=(5, 6))), tmp_path / "net.safetensors"
    checkpoint.save(path, module, "net", {"codec": "some/codec"})
    config, kind, _, metadata = checkpoint.read(path)
    assert (kind, metadata["codec"], metadata["format"]) == ("net", "some/codec", 1)
    again = rebuild(path)
    assert again.config == module.config  # lists of JSON are tuples again
    assert not again.training and not any(p.requires_grad for p in again.parameters())
    for name, tensor in module.state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor)


def test_half_precision_halves_the_file_and_loads_as_float32(tmp_path):
    module = Net(Config(width=3000))
    for half in (False, True):
        checkpoint.save(tmp_path / f"{half}.safetensors", module, "net", half=half)
    sizes = [(tmp_path / f"{half}.safetensors").stat().st_size for half in (False, True)]
    assert sizes[1] < 0.55 * sizes[0]
    again = rebuild(tmp_path / "True.safetensors")
    assert again.linear.weight.dtype == torch.float32 and again.count.dtype == torch.int64
    torch.testing.assert_close(again.linear.weight, module.linear.weight, rtol=1e-3, atol=1e-6, check_stride=False)
    assert not torch.equal(again.linear.weight, module.linear.weight)


def test_other_tensors_under_the_same_names(tmp_path):
    module, path = Net(Config()), tmp_path / "net.safetensors"
    average = {name: tensor * 0 for name, tensor in module.state_dict().items()}
    checkpoint.save(path, module, "net", tensors=average)
    assert rebuild(path).linear.weight.abs().max() == 0


def test_tied_weights_and_memory_layouts_are_written(tmp_path):
    tensor = torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    checkpoint.write_tensors(tmp_path / "x.safetensors", {"a": tensor, "b": tensor}, {})
    tensors, _ = checkpoint.read_tensors(tmp_path / "x.safetensors")
    assert torch.equal(tensors["a"], tensor) and torch.equal(tensors["b"], tensor)


def test_others_may_read_the_file(saved):
    assert saved.stat().st_mode & 0o044 == 0o044


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="there is no file .*nothing.safetensors"):
        checkpoint.read(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("share", [0.0, 0.001, 0.02, 0.5, 0.99])
def test_truncated_file(saved, share):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(share * len(content))])
    with pytest.raises(InputError, match="no whole safetensors file"):
        checkpoint.read(saved)


def test_foreign_safetensors(tmp_path):
    save_file({"a": torch.zeros(2)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="without worldgym metadata"):
        checkpoint.read(tmp_path / "x.safetensors")


class Bomb:
    """Leaves a file when unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


@pytest.mark.parametrize("kind", ["pickle", "torch"])
def test_a_pickle_is_refused_unexecuted(tmp_path, kind):
    path, trace = tmp_path / "model.pt", tmp_path / "ran"
    if kind == "torch":
        torch.save(Bomb(str(trace)), path)
    else:
        path.write_bytes(pickle.dumps(Bomb(str(trace))))
    with pytest.raises(InputError, match="is a pickle .* can run code when loaded"):
        checkpoint.read(path)
    assert not trace.exists()
    torch.load(path, weights_only=False) if kind == "torch" else pickle.loads(path.read_bytes())
    assert trace.exists()  # so it would have run


def test_training_state_is_no_model(tmp_path):
    checkpoint.write_tensors(tmp_path / "x.safetensors", {"a": torch.zeros(1)}, {"run": {}})
    with pytest.raises(InputError, match="lack config, format, kind"):
        checkpoint.read(tmp_path / "x.safetensors")


def test_newer_format(saved):
    tensors, metadata = checkpoint.read_tensors(saved)
    checkpoint.write_tensors(saved, tensors, {**metadata, "format": 99})
    with pytest.raises(InputError, match="format 99, this version reads 1"):
        checkpoint.read(saved)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"linear.bias": None}, "missing linear.bias"),
        ({"extra": torch.zeros(1)}, "unexpected extra"),
        ({f"x{i}": torch.zeros(1) for i in range(5)}, "unexpected x0, x1, x2 and 2 more"),
        ({"linear.weight": torch.zeros(2, 5)}, r"weight 'linear.weight' .* has shape \[2, 5\], its config needs \[2, 4\]"),
    ],
)
def test_wrong_keys_and_shapes_are_named(saved, changes, sentence):
    rewrite(saved, **changes)
    with pytest.raises(InputError, match=sentence):
        rebuild(saved)


def test_wrong_config_fields_are_named(saved):
    tensors, metadata = checkpoint.read_tensors(saved)
    checkpoint.write_tensors(saved, tensors, {**metadata, "config": {"width": 4, "depth": 2}})
    with pytest.raises(InputError, match="does not fit Config: unexpected depth"):
        rebuild(saved)


def test_required_config_fields_are_named():
    @dataclasses.dataclass(frozen=True)
    class Strict:
        width: int

    with pytest.raises(InputError, match="missing width"):
        checkpoint.config_from(Strict, {}, "a test")


def test_nothing_half_written(tmp_path, monkeypatch):
    """A write that fails leaves the old file, and no other."""
    path = tmp_path / "net.safetensors"
    checkpoint.save(path, Net(Config()), "net")
    before = path.read_bytes()

    def fail(tensors, target, metadata):
        target.write_bytes(b"half")
        raise checkpoint.SafetensorError("I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.save(path, Net(Config(width=9)), "net")
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_metadata_are_readable_json(saved):
    with checkpoint.safe_open(saved, framework="pt") as file:
        values = json.loads(file.metadata()["worldgym"])
    assert values == {"kind": "net", "config": {"width": 4, "sizes": [1, 2]}, "format": 1, "codec": "some/codec"}
