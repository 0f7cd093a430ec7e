"""Files with exactly the published names and shapes load strictly, wrong ones are named in a sentence, none runs code.

Names and shapes are those of the published programs at their published sizes (`tests/fixtures/published_keys.json` and
`mineworld_keys.json`); every tensor is one number, repeated, so that files stay small.
"""

import dataclasses
import functools
import io
import json
import os
import pickle
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from worldgym.errors import InputError
from worldgym.judges import vpt_idm
from worldgym.judges.published import depth_anything, lpips, musiq, qwen_reward, raft
from worldgym.models.files import published_files, torch_file
from worldgym.models.token import mineworld

FIXTURES = Path(__file__).parent.parent / "fixtures"
KEYS = json.loads((FIXTURES / "published_keys.json").read_text())
MINEWORLD = json.loads((FIXTURES / "mineworld_keys.json").read_text())
QWEN = {"VideoReward/checkpoint-9/model.pth": ("2B", "linear"), "HPSv3.safetensors": ("7B", "deep")}


@dataclasses.dataclass(frozen=True)
class Case:
    """A model: its files, how it is loaded from a folder, and some of its weights as (name in a file, name in the error)."""

    files: tuple[str, ...]
    load: Callable
    weights: tuple[tuple[str, str], ...]


def qwen(file, folder):
    return qwen_reward.load(folder / file, *QWEN[file])


def same(*names, prefix=""):
    return tuple((prefix + name, name) for name in names)


def body(*names):
    return tuple(
        (name, re.sub(r"^model\.", "body.language_model.", re.sub(r"^visual\.", "body.visual.", name))) for name in names
    )


LAYER = "model.layers.27.self_attn"
POSES = ("backbone.pretrained.blocks.4.attn.q_norm.bias", "backbone.pretrained.pos_embed", "cam_dec.fc_fov.0.bias")
TRANSFORMER = ("model.embed_tokens.weight", "model.layers.19.mlp.up_proj.weight", "model.norm.weight")
TOKENIZER = ("encoder.conv_in.weight", "quantize.embedding.weight", "decoder.mid_block.resnets.1.conv2.bias")
CASES = {
    "mineworld": Case(  # the other sizes: tests/models/token/test_mineworld_files.py
        ("300M_16f.ckpt",),
        lambda folder: mineworld.load(folder / "300M_16f.ckpt"),
        same(*TRANSFORMER, prefix="transformer.") + same(*TOKENIZER, prefix="tokenizer.model."),
    ),
    "mineworld-tokenizer": Case(
        ("vae.ckpt",), lambda folder: mineworld.load(folder / "vae.ckpt"), same(*TOKENIZER, prefix="model.")
    ),
    "vpt-idm": Case(
        ("4x_idm.weights",),
        lambda folder: vpt_idm.load(folder / "4x_idm.weights"),
        same(
            "net.conv3d_layer.layer.bias",
            "net.recurrent_layer.blocks.1.r.orc_block.b_nd",
            "pi_head.camera.linear_layer.weight",
        ),
    ),
    **{
        f"lpips-{net}": Case(
            (trunk, f"lpips-{net}.pth"),
            lambda _, net=net: lpips.load(net),
            (*same("features.0.weight", f"features.{last}.bias"), ("lin3.model.1.weight", "heads.3")),
        )
        for net, trunk, last in (("alex", "alexnet-owt-7be5be79.pth", 10), ("vgg", "vgg16-397923af.pth", 28))
    },
    "raft": Case(
        ("raft-things.pth",),
        lambda _: raft.load(),
        same("cnet.norm1.running_var", "fnet.layer2.0.downsample.0.weight", "update_block.mask.2.bias", prefix="module."),
    ),
    "musiq": Case(
        ("musiq_spaq_ckpt.npz",),
        lambda _: musiq.load(),
        (
            ("opt/target/Transformer/encoderblock_13/MultiHeadDotProductAttention_1/query/kernel", "blocks.13.query.weight"),
            ("opt/target/Transformer/posembed_input/pos_embedding", "positions"),
            ("opt/target/block1/unit1/gn_proj/scale", "unit.gn_proj.weight"),
            ("opt/target/conv_root/kernel", "conv_root.weight"),
        ),
    ),
    "videoalign": Case(
        ("VideoReward/checkpoint-9/model.pth",),
        functools.partial(qwen, "VideoReward/checkpoint-9/model.pth"),
        (*body("visual.blocks.31.mlp.fc2.bias", f"{LAYER}.k_proj.weight"), ("rm_head.weight", "rm_head.weight")),
    ),
    "hpsv3": Case(
        ("HPSv3.safetensors",),
        functools.partial(qwen, "HPSv3.safetensors"),
        (*body("visual.patch_embed.proj.weight", f"{LAYER}.q_proj.bias"), ("rm_head.5.bias", "rm_head.5.bias")),
    ),
    **{
        f"da3-{size}": Case(
            (f"DA3-{size.upper()}/model.safetensors",),
            lambda _, size=size: depth_anything.load(size),
            same(*POSES, prefix="model."),
        )
        for size in ("small", "base")
    },
}


def expanded(patterns):
    """ "blocks.{4-11}.weight" stands for blocks 4 to 11."""
    found = {}
    for pattern, shape in patterns.items():
        part = re.search(r"\{(\d+)-(\d+)\}", pattern)
        numbers = range(int(part[1]), int(part[2]) + 1) if part else (None,)
        found |= {pattern if n is None else pattern.replace(part[0], str(n)): shape for n in numbers}
    return found


def shapes(file):
    """Published names and shapes of a file."""
    if file == "vae.ckpt":
        return {name.removeprefix("tokenizer."): shape for name, shape in MINEWORLD["tokenizer"].items()}
    if file.endswith("_16f.ckpt"):
        patterns = MINEWORLD["transformer"][file.removesuffix("_16f.ckpt")].items()
        return {**MINEWORLD["tokenizer"], **expanded({name.replace("*", "{0-19}"): shape for name, shape in patterns})}
    return expanded(KEYS[file.replace("checkpoint-9", "checkpoint-*")])


def tensors(file):
    kind = torch.bfloat16 if file in QWEN else torch.float32
    return {name: torch.full((1,) * len(shape), 0.01, dtype=kind).expand(shape) for name, shape in shapes(file).items()}


def write(path, file):
    """The file itself; a .safetensors is a header and a hole, which takes no place on the disk."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npz":
        np.savez_compressed(path, **{name: np.zeros(shape, np.float16) for name, shape in shapes(file).items()})
    elif path.suffix == ".safetensors":
        _write_hole(path, tensors(file))
    else:
        torch.save({"state_dict": tensors(file)} if path.suffix == ".ckpt" else tensors(file), path)


def _write_hole(path, state):
    header, end = {}, 0
    for name, tensor in state.items():
        start, end = end, end + tensor.numel() * tensor.element_size()
        kind = {torch.float32: "F32", torch.bfloat16: "BF16"}[tensor.dtype]
        header[name] = {"dtype": kind, "shape": list(tensor.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Where published files are looked for; hashes are of the true files and are not asked for."""
    monkeypatch.setenv("WORLDGYM_PUBLISHED", str(tmp_path))
    for name, file in published_files.FILES.items():
        monkeypatch.setitem(published_files.FILES, name, dataclasses.replace(file, sha256=""))
    return tmp_path


@pytest.mark.parametrize("name", CASES)
def test_exactly_the_published_names_and_shapes_load_strictly(name, folder):
    case = CASES[name]
    for file in case.files:
        write(folder / file, file)
    loaded = case.load(folder)
    modules = loaded if isinstance(loaded, tuple) else (getattr(loaded, "network", loaded),)
    weights = [x for module in modules if module is not None for x in (*module.parameters(), *module.buffers())]
    assert weights and not any(x.is_meta for x in weights)


class Archive(dict):
    """What `np.load` gives for a .npz, without the file."""

    files = property(list)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize("name", CASES)
def test_a_missing_renamed_or_misshaped_weight_is_named(name, folder, monkeypatch):
    case = CASES[name]
    states = {file: tensors(file) for file in case.files}
    for file in case.files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).touch()
    shown = {}

    def read(path):
        return shown[Path(path).relative_to(folder).as_posix()]

    monkeypatch.setattr(torch_file, "read", read)
    monkeypatch.setattr(np, "load", lambda path, **_: Archive({n: x.numpy() for n, x in read(path).items()}))
    for weight, own in case.weights:
        file = next(file for file in case.files if weight in states[file])
        rest = {n: x for n, x in states[file].items() if n != weight}
        changes = {"missing": {}, "renamed": {f"{weight}_": states[file][weight]}, "misshaped": {weight: torch.zeros(3, 5, 7)}}
        for change, new in changes.items():
            shown.update({**states, file: {**rest, **new}})
            with pytest.raises(InputError) as error:
                case.load(folder)
            start, said = str(error.value).split(" do not fit ")  # the file's path may hold any word
            assert f"'{own}'" in said and "\n" not in start + said and len(said) < 400, (change, weight, said)
            assert ("missing" in said) == (change != "misshaped"), said
            assert ("unexpected" in said) == (change == "renamed"), said
            assert bool(re.search(r"has shape \[\d", said)) == (change == "misshaped"), said


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("kind", ["pickle", "torch", "npz"])
@pytest.mark.parametrize("name", CASES)
def test_a_file_that_runs_code_is_refused_unexecuted(name, kind, folder):
    case = CASES[name]
    for file in case.files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {case.weights[0][0]: Bomb(folder / "boom")}
        if kind == "torch":
            torch.save(content, path)
        else:
            path.write_bytes(pickle.dumps(content, protocol=2))
        if kind == "npz":
            with open(path, "wb") as opened:
                np.savez(opened, **{name: np.array([x], object) for name, x in content.items()})
    with pytest.raises(InputError):
        case.load(folder)
    assert not (folder / "boom").exists()
    opened = io.BytesIO(path.read_bytes())
    live = {"torch": lambda: torch.load(opened, weights_only=False), "pickle": lambda: pickle.load(opened)}
    live.get(kind, lambda: dict(np.load(opened, allow_pickle=True)))()
    assert (folder / "boom").exists()
