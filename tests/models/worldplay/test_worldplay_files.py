"""Reading published weights: every form of file, every way of being wrong, and what it costs in memory."""

import json
import os
import pickle
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file
from worldplay_toys import CONFIGS, toy

from worldgym.errors import InputError
from worldgym.models.diffusion.worldplay.files import load, recognise, weights
from worldgym.models.diffusion.worldplay.wan import WanConfig, WanWorldPlay

KINDS = {"wan": "5b", "hunyuan": "8b"}


@pytest.fixture(params=list(KINDS))
def kind(request):
    return request.param


@pytest.fixture
def folder(kind, tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[kind]))
    return tmp_path


def tensors(kind, dtype=torch.bfloat16):
    return {name: value.detach().to(dtype) for name, value in toy(kind, 1)[0].state_dict().items()}


def same(network, expected):
    got = network.state_dict()
    assert got.keys() == expected.keys()
    assert all(torch.equal(got[name], expected[name].to(got[name].dtype)) for name in expected)


def test_one_file_keeps_its_dtype(kind, folder):
    saved = tensors(kind)
    save_file(saved, folder / "diffusion_pytorch_model.safetensors")
    for path in (folder, folder / "diffusion_pytorch_model.safetensors"):
        network = load(path)
        same(network, saved)
        for name, value in network.named_parameters():
            assert value.dtype == (torch.float32 if any(part in name for part in network.FLOAT32) else torch.bfloat16)
            assert not value.requires_grad
    assert next(load(folder, dtype=torch.float32).parameters()).dtype == torch.float32
    assert recognise(folder) == KINDS[kind]


@pytest.mark.parametrize("with_index", [True, False])
def test_shards(kind, folder, with_index):
    saved = tensors(kind)
    names = sorted(saved)
    parts = {f"m-0000{i + 1}-of-00003.safetensors": names[i::3] for i in range(3)}
    for file, members in parts.items():
        save_file({name: saved[name] for name in members}, folder / file)
    if with_index:
        index = {name: file for file, members in parts.items() for name in members}
        (folder / "m.safetensors.index.json").write_text(json.dumps({"weight_map": index}))
    same(load(folder), saved)
    os.remove(folder / "m-00002-of-00003.safetensors")
    with pytest.raises(InputError, match="m-00002-of-00003" if with_index else "missing"):
        load(folder)


def test_model_pt_with_two_generators_and_prefixes(kind, folder):
    saved = tensors(kind, torch.float32)
    other = {name: value + 1 for name, value in saved.items()}

    def dressed(values):
        return {f"model.{name.replace('.', '._fsdp_wrapped_module.', 1)}": value for name, value in values.items()}

    torch.save({"generator": dressed(saved), "generator_ema": dressed(other)}, folder / "model.pt")
    same(load(folder), saved)
    same(load(folder, generator="generator_ema"), other)
    torch.save({"generator_ema": dressed(other)}, folder / "model.pt")
    with pytest.raises(InputError, match="no 'generator', but 'generator_ema'"):
        load(folder)
    with pytest.raises(InputError, match="unknown generator 'ema'"):
        load(folder, generator="ema")
    torch.save(saved, folder / "model.pt")
    same(load(folder / "model.pt"), saved)


def test_tensors_that_do_not_fit_are_named(kind, folder):
    saved = tensors(kind)
    name = next(name for name in saved if name.endswith("linear_1.weight") and "action" not in name)
    for change, sentence in (
        ({name: None}, f"missing '{name}'"),
        ({name: None, name.replace("linear_1", "linear_l"): saved[name]}, f"missing '{name}' \\(is it '.*linear_l.weight'"),
        ({name: saved[name][:-1].clone()}, f"'{name}' has shape .*, not"),
        ({"extra.weight": saved[name].clone()}, "unexpected 'extra.weight'"),
    ):
        changed = {key: value for key, value in {**saved, **change}.items() if value is not None}
        save_file(changed, folder / "m.safetensors")
        with pytest.raises(InputError, match=sentence) as error:
            load(folder)
        assert "\n" not in str(error.value)
    save_file({**saved, f"model.{name}": saved[name].clone()}, folder / "m.safetensors")
    with pytest.raises(InputError, match="twice"):
        load(folder)


class Evil:
    def __reduce__(self):
        return os.mkdir, ("was-run",)


@pytest.mark.parametrize("form", ["pickle", "torch"])
def test_code_is_refused(kind, folder, form, monkeypatch):
    monkeypatch.chdir(folder)
    if form == "pickle":
        (folder / "model.pt").write_bytes(pickle.dumps({"generator": Evil()}))
    else:
        torch.save({"generator": {**tensors(kind), "x": Evil()}}, folder / "model.pt")
    with pytest.raises(InputError, match="refused|no whole torch file"):
        load(folder / "model.pt")
    assert not (folder / "was-run").exists()


def test_other_things_are_not_recognised(tmp_path):
    assert recognise(tmp_path) is None
    save_file({"a": torch.zeros(2)}, tmp_path / "a.safetensors")
    assert recognise(tmp_path) is None
    with pytest.raises(InputError, match="no WorldPlay model"):
        load(tmp_path)
    save_file({"a": torch.zeros(2)}, tmp_path / "b.safetensors")
    with pytest.raises(InputError, match="several models \\(a.safetensors, b.safetensors\\)"):
        weights(tmp_path)
    with pytest.raises(InputError, match="no file or folder"):
        weights(tmp_path / "nothing")


PROGRAM = """
import re, sys
import torch
from worldgym.models.diffusion.worldplay.files import load

def peak():  # of this process; getrusage would tell that of the test which started it
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])

before = peak()
network = load(sys.argv[1])
total = sum(float(value.sum()) for value in network.parameters())  # every page is touched
print(peak() - before, total)
"""


@pytest.mark.long
@pytest.mark.parametrize("form", ["safetensors", "shards", "pt"])
def test_memory_of_loading_a_gigabyte(tmp_path, form):
    config = {"num_attention_heads": 8, "attention_head_dim": 128, "ffn_dim": 4096, "num_layers": 14, "in_channels": 48}
    (tmp_path / "config.json").write_text(json.dumps(config))
    saved = WanWorldPlay(WanConfig.published(config)).state_dict()
    if form == "pt":
        torch.save({"generator": saved}, tmp_path / "model.pt")
    elif form == "safetensors":
        save_file(saved, tmp_path / "m.safetensors")
    else:
        names = sorted(saved)
        for i in range(4):
            save_file({name: saved[name] for name in names[i::4]}, tmp_path / f"m-{i}-of-4.safetensors")
    size = sum(file.stat().st_size for file in tmp_path.iterdir())
    assert size > 1e9
    out = subprocess.run([sys.executable, "-c", PROGRAM, tmp_path], capture_output=True, text=True, check=True).stdout
    ratio = int(out.split()[0]) / size
    print(f"{form}: {size / 1e9:.2f} GB, peak {ratio:.3f} of the file")
    assert 0.9 < ratio <= 1.3
