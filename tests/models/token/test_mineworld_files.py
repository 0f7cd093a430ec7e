"""MineWorld's checkpoints: every published name and shape, sizes from shapes, wrong files named, nothing executed."""

import pickle
import subprocess
import sys

import pytest
import torch
from mineworld_toys import KEYS, published, random_codec, random_model, write

import worldgym
from worldgym.errors import InputError
from worldgym.models.codecs.vq_codec import VQConfig
from worldgym.models.files import torch_file
from worldgym.models.token import mineworld
from worldgym.models.token.token_model import PRESETS, TokenConfig

SMALL_VQ = VQConfig((8, 8, 8, 8, 16), layers=1, latent=4, embed=4, groups=8)  # 224 x 384 pixels, 8192 codes
SMALL_TOKEN = TokenConfig(
    8192, 336, "minecraft", hidden=64, mlp=32, heads=1, kv_heads=1, layers=1, vocabulary=8262, max_frames=16
)
NAMES = {"300M": "300M", "700M": "700M", "1200M": "1.2B"}


@pytest.mark.parametrize("file", KEYS["files"])
def test_every_published_file_loads_strictly(tmp_path, file):
    size = KEYS["files"][file]
    path = tmp_path / f"{file}.ckpt"
    torch.save({"state_dict": published(size)}, path)
    world = worldgym.load(str(path))
    config = world.model.config
    preset = PRESETS[NAMES[size]]
    assert config.max_frames == int(file[-3:-1]) and config.max_len == config.max_frames * 347
    assert (config.hidden, config.mlp, config.heads, config.kv_heads) == (preset.hidden, preset.mlp, preset.heads, 4)
    assert (config.layers, config.rows, config.rope_theta, config.rms_eps) == (20, 8262, 1e4, 1e-5)
    assert world.kind == "token" and world.codec.config == VQConfig() and world.spec.name == "minecraft"
    assert {p.dtype for m in (world.model, world.codec) for p in m.parameters()} == {torch.float16}  # the file's
    assert not any(p.is_meta for m in (world.model, world.codec) for p in [*m.parameters(), *m.buffers()])


@pytest.mark.parametrize("size", NAMES)
def test_every_missing_renamed_or_misshaped_weight_is_named(monkeypatch, size):
    state, names = published(size), [*KEYS["transformer"][size], *list(KEYS["tokenizer"])[::70]]
    names = names if size == "300M" else names[2:3]  # all patterns once
    broken = dict(state)
    monkeypatch.setattr(torch_file, "read", lambda path: broken)
    for name in (pattern.replace("*", "7") for pattern in names):
        own = name.removeprefix("transformer.").removeprefix("tokenizer.model.")
        for new in ({}, {f"{name}_": state[name]}, {name: torch.zeros(3, 5, 7)}):
            broken.clear()
            broken.update({key: tensor for key, tensor in state.items() if key != name} | new)
            with pytest.raises(InputError) as error:
                mineworld.load("300M_16f.ckpt")
            text = str(error.value)
            assert f"'{own}'" in text, (own, text)
            assert ("has shape [3, 5, 7]" in text) == (name in new)
            assert ("missing" in text) == (name not in new) and (f"'{own}_'" in text) == bool(new.keys() - {name})


class Bomb:
    """Leaves a file when unpickled."""

    def __init__(self, trace):
        self.trace = trace

    def __reduce__(self):
        return open, (self.trace, "w")


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize(("kind", "ending"), [("pickle", ".ckpt"), ("torch", ".ckpt"), ("pickle", ".pt"), ("torch", ".bin")])
def test_a_file_that_runs_code_is_refused_unexecuted(tmp_path, kind, wrapped, ending):
    path, trace = tmp_path / f"300M_16f{ending}", tmp_path / "ran"
    content = {"state_dict": published("300M"), "callbacks": Bomb(str(trace))} if wrapped else Bomb(str(trace))
    if kind == "torch":
        torch.save(content, path)
    else:
        path.write_bytes(pickle.dumps(content, protocol=2))
    with pytest.raises(InputError, match="could run code|no whole torch file"):
        worldgym.load(str(path))
    assert not trace.exists()
    torch.load(path, weights_only=False) if kind == "torch" else pickle.loads(path.read_bytes())
    assert trace.exists()  # the bomb was live


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A whole small MineWorld on disk: one file, and the tokenizer again in a file of its own."""
    folder = tmp_path_factory.mktemp("mineworld")
    codec, model = random_codec(SMALL_VQ), random_model(SMALL_TOKEN)
    write(folder / "tiny_16f.ckpt", model, codec)
    write(folder / "bare_32f.ckpt", model, None)
    state = {f"model.{name}": tensor for name, tensor in codec.state_dict().items()}
    (folder / "vae").mkdir()
    torch.save(state | {"loss.discriminator.weight": torch.zeros(2)}, folder / "vae" / "vae.ckpt")
    return folder, model, codec


def test_other_sizes_are_read_off_the_shapes(small):
    folder, model, codec = small
    world = worldgym.load(str(folder / "tiny_16f.ckpt"))
    assert world.model.config == SMALL_TOKEN and world.codec.config.channels == SMALL_VQ.channels
    for ours, theirs in ((world.model, model), (world.codec, codec)):
        for name, tensor in theirs.state_dict().items():
            assert torch.equal(ours.state_dict()[name], tensor), name
    assert torch.equal(world.model.model.cos, model.model.cos) and torch.equal(world.model._ids, model._ids)


def test_a_tokenizer_of_its_own(small):
    """Published layout: checkpoints/vae/vae.ckpt beside the transformer's file; or given by hand; leftovers are warned of."""
    folder, _, codec = small
    with pytest.warns(UserWarning, match="1 weights that are not used, such as 'loss.discriminator.weight'"):
        world = worldgym.load(str(folder / "bare_32f.ckpt"))
    assert world.model.config.max_frames == 32
    assert torch.equal(world.codec.quantize.embedding.weight, codec.quantize.embedding.weight)
    given = worldgym.load(str(folder / "bare_32f.ckpt"), codec=random_codec(SMALL_VQ, seed=5), max_frames=3)
    assert given.model.config.max_frames == 3 and given.codec is not world.codec
    elsewhere = folder / "vae" / "bare.ckpt"
    elsewhere.write_bytes((folder / "bare_32f.ckpt").read_bytes())
    with pytest.raises(InputError, match="holds no tokenizer; give it: load"):
        worldgym.load(str(elsewhere))


def test_a_whole_small_world_generates_by_every_schedule(small):
    """Frames of 224 x 384 through tokenizer, transformer and back; a short row of codes for the clock's sake."""
    folder = small[0]
    world = worldgym.load(str(folder / "tiny_16f.ckpt"), dtype=torch.float32)
    prefix = torch.randint(256, (1, 1, 224, 384, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    actions = torch.from_numpy(world.spec.null).repeat(1, 1, 1)
    made = {
        name: world.generate(prefix, actions, [7], schedule=name, top_p=0.8)
        for name in ("raster", "diagonal", "diagonal-compat")
    }
    for frames in made.values():
        assert frames.shape == (1, 2, 224, 384, 3) and torch.equal(frames[:, :1], prefix)
    assert not torch.equal(made["raster"], made["diagonal"])
    again = world.generate(prefix, actions, [7], schedule="diagonal", top_p=0.8)
    assert torch.equal(made["diagonal"], again)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_dtypes(small, dtype):
    world = worldgym.load(str(small[0] / "tiny_16f.ckpt"), dtype=dtype)
    assert {p.dtype for m in (world.model, world.codec) for p in m.parameters()} == {dtype}
    assert world.model.model.cos.dtype == torch.float32


def test_weights_stay_in_the_file(small):
    """Without conversion nothing is copied: the parameters lie in the mapped file."""
    path = small[0] / "tiny_16f.ckpt"
    world = worldgym.load(str(path))
    with open("/proc/self/maps") as maps:
        spans = [line.split()[0].split("-") for line in maps if line.rstrip().endswith(path.name)]
    inside = [any(int(a, 16) <= p.data_ptr() < int(b, 16) for a, b in spans) for p in world.model.parameters()]
    assert inside and all(inside)


def test_other_files_are_named(tmp_path):
    torch.save({"conv.weight": torch.zeros(2)}, tmp_path / "other.pt")
    with pytest.raises(InputError, match="holds no MineWorld weights: its names are like 'conv.weight'"):
        worldgym.load(str(tmp_path / "other.pt"))
    with pytest.raises(InputError, match="there is no file"):
        worldgym.load(str(tmp_path / "700M_16f.ckpt"))
    torch.save({"transformer.model.norm.weight": torch.zeros(2)}, tmp_path / "part.pt")
    with pytest.raises(InputError, match="lacks 'model.embed_tokens.weight', from which sizes are read"):
        worldgym.load(str(tmp_path / "part.pt"))


LOADING = """
import resource, sys, time
import worldgym, worldgym.models.token.mineworld, worldgym.models.world_model
def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) * 1024
before = status("VmHWM")
start = time.perf_counter()
world = worldgym.load(sys.argv[1])
seconds = time.perf_counter() - start
touched = sum(float(p.float().sum()) for module in (world.model, world.codec) for p in module.parameters())
print(status("VmHWM") - before, status("RssAnon"), seconds, touched)
"""


@pytest.mark.long
def test_loading_the_largest_file_holds_its_weights_once(tmp_path):
    """1.2 B in float16, 2.75 GB: the peak, all weights read, stays below 1.3 times the file, and none of it is a copy."""
    path = tmp_path / "1200M_16f.ckpt"
    torch.save({"state_dict": {name: tensor.contiguous() for name, tensor in published("1200M").items()}}, path)
    size = path.stat().st_size
    assert size > 2.7e9
    done = subprocess.run([sys.executable, "-c", LOADING, str(path)], capture_output=True, text=True, check=True)
    peak, private, seconds, touched = map(float, done.stdout.split())
    print(f"file {size / 1e9:.2f} GB; peak {peak / size:.3f} of it; {private / 1e9:.2f} GB private; {seconds:.1f} s to load")
    assert touched > 1e7
    assert peak < 1.3 * size
    assert private < 0.3 * size  # what is not in the mapped file: the program itself


@pytest.mark.parametrize(
    "name",
    [
        "tokenizer.loss.discriminator.weight",
        "tokenizer.model_ema.decay",
        "tokenizer.model.loss.logvar",
        "transformer.value_head.weight",
        "optimizer.state",
        "transformer.model.value.bias",
    ],
)
def test_what_training_left_behind_is_warned_of_whatever_its_name(small, name: str):
    """Beside tokenizer and transformer in one file, and beside the tokenizer alone."""
    state = torch_file.read(small[0] / "tiny_16f.ckpt")
    known = mineworld.split(state, "it")
    with pytest.warns(UserWarning, match=f"1 weights that are not used, such as '{name}'"):
        found = mineworld.split({**state, name: torch.zeros(2)}, "it")
    assert [part.keys() for part in found] == [part.keys() for part in known]
    path = small[0] / "left_16f.ckpt"
    torch.save({**state, name: torch.zeros(2)}, path)
    with pytest.warns(UserWarning, match="not used"):
        assert worldgym.load(str(path)).model is not None
