"""Models by name: bundled files against their cards, local files, and a sentence for everything else."""

import json
import sys
from pathlib import Path

import pytest
import torch

from worldgym import zoo
from worldgym.errors import InputError
from worldgym.files import sha256, write_json
from worldgym.models.codecs.codec import FrameCodec, FrameCodecConfig, LatentCodec, LatentCodecConfig
from worldgym.models.diffusion.frame_diffusion import DiffusionConfig, FrameDiffusion
from worldgym.models.files import checkpoint
from worldgym.models.token.token_model import TokenConfig, TokenModel
from worldgym.models.world_model import WorldModel

TINY = {"wide": 8, "fine": 4, "blocks": 1, "height": 16, "width": 24}
SPEC = "doom"


def frame_codec():
    return FrameCodec(FrameCodecConfig(levels=(3, 4), **TINY))


def latent_codec():
    return LatentCodec(LatentCodecConfig(channels=2, **TINY))


def token_model():
    return TokenModel(TokenConfig(codes=12, codes_per_frame=6, hidden=16, mlp=16, heads=2, layers=1))


def diffusion():
    return FrameDiffusion(DiffusionConfig(channels=2, grid=(2, 3), hidden=12, mlp=12, heads=1, layers=1))


@pytest.fixture
def weights(tmp_path, monkeypatch) -> Path:
    """A zoo of tiny random models in place of the bundled one."""
    torch.manual_seed(0)
    monkeypatch.setattr(zoo, "WEIGHTS", tmp_path / "weights")
    folder = tmp_path / "weights" / "toy"
    folder.mkdir(parents=True)
    for name, kind, module in (
        ("frame-codec", "frame-codec", frame_codec()),
        ("latent-codec", "latent-codec", latent_codec()),
        ("token-nano", "token", token_model()),
        ("diffusion-nano", "diffusion", diffusion()),
    ):
        path, extra = folder / f"{name}.safetensors", {}
        if kind in zoo.CODEC_OF:
            codec = f"toy/{zoo.CODEC_OF[kind]}"
            extra = {"codec": codec, "codec_sha256": sha256(zoo.WEIGHTS / f"{codec}.safetensors")}
        checkpoint.save(path, module, kind, extra)
        write_json(path.with_suffix(".json"), {"name": f"toy/{name}", "sha256": sha256(path)})
    return folder


def prompts(clips: int = 2, frames: int = 4, prefix: int = 1):
    generator = torch.Generator().manual_seed(1)
    pictures = torch.randint(256, (clips, prefix, 16, 24, 3), generator=generator, dtype=torch.uint8)
    return pictures, torch.randint(2, (clips, frames - 1, 8), generator=generator)


def test_names(weights):
    assert zoo.names() == ["toy/diffusion-nano", "toy/frame-codec", "toy/latent-codec", "toy/token-nano"]


@pytest.mark.parametrize("name", ["token-nano", "diffusion-nano"])
def test_world_models_generate(weights, name):
    """The prefix comes back untouched; a row depends on its seed only; a batch equals its singles."""
    model = zoo.load(f"toy/{name}")
    assert isinstance(model, WorldModel) and model.kind == name.split("-")[0] and model.spec.name == SPEC
    pictures, actions = prompts(prefix=2)
    options = {"steps": 2} if model.kind == "diffusion" else {}
    frames = model.generate(pictures, actions, [5, 6], **options)
    assert frames.shape == (2, 4, 16, 24, 3) and frames.dtype == torch.uint8
    assert torch.equal(frames[:, :2], pictures)
    assert torch.equal(frames, model.generate(pictures.numpy(), actions.numpy(), [5, 6], **options))
    single = model.generate(pictures[1:], actions[1:], [6], **options)
    # latents of a batch and of singles may differ in the last bit, so a grey level may
    assert (single[0].int() - frames[1].int()).abs().max() <= (0 if model.kind == "token" else 1)
    assert not torch.equal(frames, model.generate(pictures, actions, [7, 8], **options))


@pytest.mark.parametrize("name", ["toy/frame-codec", "toy/token-nano"])
def test_loaded_modules_are_frozen_and_in_eval_mode(weights, name):
    loaded = zoo.load(name)
    for module in (loaded.model, loaded.codec) if isinstance(loaded, WorldModel) else (loaded,):
        assert not module.training and not any(p.requires_grad for p in module.parameters())


def test_path_and_folder_and_name_give_the_same(weights, tmp_path):
    expected = zoo.load("toy/frame-codec").state_dict()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "model.safetensors").write_bytes((weights / "frame-codec.safetensors").read_bytes())
    for name in (weights / "frame-codec.safetensors", str(weights / "frame-codec.safetensors"), tmp_path / "run"):
        assert all(torch.equal(t, expected[n]) for n, t in zoo.load(name).state_dict().items())


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("toy/token-nan", r"unknown model 'toy/token-nan'; did you mean 'toy/token-nano'\? \(known: toy/diffusion-nano, "),
        ("no/file.safetensors", "there is no file 'no/file.safetensors'"),
        ("./nothing", "there is no file"),
        ("hf://org/name", "write hf://org/name/file.safetensors"),
    ],
)
def test_wrong_names(weights, name, sentence):
    with pytest.raises(InputError, match=sentence):
        zoo.load(name)


def test_unfinished_run_and_empty_folder(weights, tmp_path):
    with pytest.raises(InputError, match="holds no model.safetensors"):
        zoo.load(tmp_path)
    (tmp_path / "run.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="is not finished; go on with it by --resume"):
        zoo.load(tmp_path)


def test_hub_package_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(InputError, match=r'pip install "worldgym\[hub\]"'):
        zoo.load("hf://org/name/file.safetensors")


def test_hub_error_is_a_sentence(monkeypatch):
    hub = pytest.importorskip("huggingface_hub")

    def fail(repo, file):
        raise ConnectionError(f"no route to {repo} {file}\nand more")

    monkeypatch.setattr(hub, "hf_hub_download", fail)
    with pytest.raises(InputError, match="could not fetch .*ConnectionError: no route to org/name sub/file.safetensors$"):
        zoo.load("hf://org/name/sub/file.safetensors")


def test_hub_file_is_loaded(weights, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    monkeypatch.setattr(hub, "hf_hub_download", lambda repo, file: str(weights / file))
    assert isinstance(zoo.load("hf://org/name/frame-codec.safetensors"), FrameCodec)


def test_changed_weights_do_not_pass_their_card(weights):
    path = weights / "frame-codec.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # one bit of the last weight: still a valid file
    path.write_bytes(content)
    with pytest.raises(InputError, match="is not the file its card describes"):
        zoo.load("toy/frame-codec")
    path.with_suffix(".json").unlink()
    zoo.load("toy/frame-codec")


def test_damaged_card(weights):
    (weights / "frame-codec.json").write_text("{")
    with pytest.raises(InputError, match="card .* is damaged"):
        zoo.load("toy/frame-codec")


def test_unknown_kind(weights, tmp_path):
    checkpoint.save(tmp_path / "x.safetensors", frame_codec(), "frame-codex")
    with pytest.raises(InputError, match="did you mean 'frame-codec'"):
        zoo.load(tmp_path / "x.safetensors")


def test_another_codec_than_in_training_is_refused(weights):
    path = weights / "frame-codec.safetensors"
    checkpoint.save(path, frame_codec(), "frame-codec")
    write_json(path.with_suffix(".json"), {"sha256": sha256(path)})
    with pytest.raises(InputError, match="was trained with another codec than 'toy/frame-codec' is now"):
        zoo.load("toy/token-nano")
    assert zoo.load("toy/token-nano", codec="toy/frame-codec").codec.codes == 12  # on one's own word


def test_missing_codec(weights):
    (weights / "frame-codec.safetensors").unlink()
    with pytest.raises(InputError, match="trained with the codec 'toy/frame-codec', which is not here"):
        zoo.load("toy/token-nano")
    assert isinstance(zoo.load("toy/token-nano", codec=frame_codec()), WorldModel)


def test_codec_of_the_other_kind(weights):
    with pytest.raises(InputError, match="is a latent-codec, but a frame-codec is needed"):
        zoo.load("toy/token-nano", codec="toy/latent-codec")


def test_codec_that_does_not_fit(weights):
    with pytest.raises(InputError, match=r"codes and codes per frame are \(20, 6\), the model needs \(12, 6\)"):
        zoo.load("toy/token-nano", codec=FrameCodec(FrameCodecConfig(levels=(4, 5), **TINY)))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda p, a, s: (p.float(), a, s), "prefix is torch.float32"),
        (lambda p, a, s: (p[0], a, s), "must be uint8"),
        (lambda p, a, s: (p[:, :, :8], a, s), r"frames of \[8, 24\] pixels, the codec reads \[16, 24\]"),
        (lambda p, a, s: (p, a[:, :, :7], s), "needs 8 columns"),
        (lambda p, a, s: (p, a + 9, s), "takes 0 to"),
        (lambda p, a, s: (p, a[:1], s), "actions have shape"),
        (lambda p, a, s: (p, a[:, :0], s), "actions have shape"),
        (lambda p, a, s: (p, a, s[:1]), "1 seeds came for 2 clips"),
    ],
)
def test_wrong_input_to_generate(weights, change, sentence):
    with pytest.raises(InputError, match=sentence):
        zoo.load("toy/token-nano").generate(*change(*prompts(), [0, 1]))


def test_shown_in_one_line(weights):
    assert repr(zoo.load("toy/token-nano")) == "WorldModel('toy/token-nano', token, 0.0 M parameters, on cpu)"


def bundled():
    return sorted(zoo.WEIGHTS.glob("*/*.safetensors"))


@pytest.mark.parametrize("path", bundled(), ids=lambda path: path.stem)
def test_every_bundled_model_loads_and_has_a_whole_card(path):
    zoo.load(path.relative_to(zoo.WEIGHTS).with_suffix("").as_posix())
    card = json.loads(path.with_suffix(".json").read_text())
    needed = {"name", "kind", "config", "architecture", "parameters", "command", "data_sha256", "commit", "hardware"}
    assert needed | {"versions", "minutes", "steps", "scores", "sha256"} <= card.keys()
    assert path.stat().st_size < 16e6


def test_all_bundled_models_are_small():
    assert sum(path.stat().st_size for path in bundled()) < 60e6
