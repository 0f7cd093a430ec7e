"""Models by name: bundled ones, files, and published ones.

- `load(name)`: a world model, codec or judge, ready to use. `names()`: what is bundled.
- `load_judge(judge, kind, device)`, `as_camera_judge(judge, device)`: a judge by name or as it is, of the kind that is needed.
- `perceptual_distance(net, bundled, device)`: LPIPS, or features of a bundled net.
- `locate(name)`: the file behind a name. `card(path)`: its card. `from_anywhere(name)`: a name for every working folder.

Bundled files lie in `models/weights/<world>/<name>.safetensors`, each with a card (.json) that tells where it comes from.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from worldgym.errors import InputError, unknown
from worldgym.files import sha256
from worldgym.judges import perceptual, vpt_idm
from worldgym.judges.camera_motion import CameraMotion
from worldgym.judges.camera_poses import CameraJudge, FromPoses
from worldgym.judges.committee import committee
from worldgym.judges.flow_trees import FlowTrees
from worldgym.judges.inverse_dynamics import InverseDynamics
from worldgym.judges.quality import Quality
from worldgym.models.codecs.codec import FrameCodec, LatentCodec
from worldgym.models.codecs.vq_codec import VQCodec
from worldgym.models.diffusion.frame_diffusion import FrameDiffusion
from worldgym.models.files import checkpoint, published_files, torch_file
from worldgym.models.token import mineworld
from worldgym.models.token.token_model import TokenModel
from worldgym.models.world_model import WorldModel

WEIGHTS = Path(__file__).parent / "models" / "weights"
CLASSES = {
    "frame-codec": FrameCodec,
    "vq-codec": VQCodec,
    "latent-codec": LatentCodec,
    "token": TokenModel,
    "diffusion": FrameDiffusion,
    "inverse-dynamics": InverseDynamics,
    "camera-motion": CameraMotion,
    "quality": Quality,
    "vpt-idm": vpt_idm.VPTIDM,
    "flow-trees": FlowTrees,
}
CODEC_OF = {"token": "frame-codec", "diffusion": "latent-codec"}
SERVES_AS = {"vq-codec": "frame-codec"}  # another network for the same work
MINEWORLD = (".ckpt", ".bin", ".pt", ".pth")  # as published; read as tensors only
ENDINGS = (".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".pkl", ".weights")


def names() -> list[str]:
    """Names of the bundled models."""
    return sorted(path.relative_to(WEIGHTS).with_suffix("").as_posix() for path in WEIGHTS.glob("*/*.safetensors"))


def load(
    name: str | Path,
    device: str | torch.device = "cpu",
    codec: str | Path | nn.Module | None = None,
    dtype: torch.dtype | None = None,
    max_frames: int | None = None,
) -> Any:
    """Load a model: frozen, in eval mode.

    Args:
        name: a bundled name ("doom-rooms/token-nano"), the path of a .safetensors file or of a training run's folder,
            "hf://org/name/file.safetensors", or a published file: MineWorld's .ckpt, VPT's .weights.
        device: where to put it.
        codec: for a token or diffusion model, another codec (name, path or module) than the one it was trained with.
        dtype: of the weights; left out, float32, and for MineWorld's files whatever they hold.
        max_frames: of a MineWorld file whose name does not say it (`_16f`, `_32f`).

    Returns:
        A `WorldModel` for kinds "token" and "diffusion"; for codecs and judges the module itself.

    Raises:
        InputError: there is no such model, or its file is damaged, foreign, or not what its card says.
    """
    path = locate(name)
    if path.suffix in MINEWORLD:
        return _mineworld(str(name), path, device, codec, dtype, max_frames)
    module, kind, metadata = _module(path, device)
    module = module.to(dtype) if dtype else module
    if kind not in CODEC_OF:
        return module
    if codec is None:
        codec = _own_codec(str(name), metadata)
    if not isinstance(codec, nn.Module):
        codec = load_codec(codec, CODEC_OF[kind], device)
    return WorldModel(str(name), kind, module, codec.to(device))


def load_judge(
    judge: str | Path | nn.Module, kind: type[nn.Module] | tuple[type[nn.Module], ...], device: str | torch.device
) -> nn.Module:
    """A judge by zoo name or path, or as it is, on a device.

    Args:
        judge: the name, path or module; several names joined by "+" are a committee (`worldgym.judges.committee`).
        kind: the class it must be of, or several of which one.
        device: where to put it.

    Raises:
        InputError: it is something else.
    """
    module = _by_name(str(judge), device) if isinstance(judge, (str, Path)) else judge
    if not isinstance(module, kind):
        names = " or ".join(one.__name__ for one in (kind if isinstance(kind, tuple) else (kind,)))
        raise InputError(f"a judge of kind {names} is needed here, but got {type(module).__name__}")
    return module.to(device)


def as_camera_judge(judge: str | Path | Any, device: str | torch.device) -> CameraJudge:
    """A zoo name, a path, a `CameraMotion`, or any object with a method `motion` or `poses`.

    Raises:
        InputError: none of these.
    """
    if isinstance(judge, (str, Path, CameraMotion)):
        return load_judge(judge, CameraMotion, device)
    if callable(getattr(judge, "motion", None)):
        return judge
    if callable(getattr(judge, "poses", None)):
        return FromPoses(judge)
    raise InputError(
        f"a camera judge is needed: a zoo name, or an object with motion(frames) or poses(frames), not {type(judge).__name__}"
    )


def perceptual_distance(
    net: str, bundled: str | Path | Quality | LatentCodec, device: str | torch.device
) -> perceptual.Distance:
    """How far apart two pictures look: LPIPS where it is at hand, features of a bundled net otherwise.

    Args:
        net: "auto" (LPIPS-VGG where package and trunk are here, the bundled net otherwise), "bundled", "lpips-vgg",
            "lpips-alex", or zoo name or path of a quality net or latent codec.
        bundled: the net behind "bundled": a reward takes another one than an evaluation.
        device: where it runs.

    Raises:
        InputError: what was asked for is not here.
    """
    if net == "auto":
        try:
            return perceptual.PublishedLPIPS("lpips-vgg", device)
        except InputError:
            net = "bundled"
    if net in perceptual.LPIPS_TRUNKS:
        return perceptual.PublishedLPIPS(net, device)
    source = bundled if net == "bundled" else net
    found = load_judge(source, torch.nn.Module, device)
    if not isinstance(found, (Quality, LatentCodec)):
        raise InputError(f"a perceptual distance needs a quality net or a latent codec, but got {type(found).__name__}")
    name = str(source) if isinstance(source, (str, Path)) else f"a {type(found).__name__}"
    return perceptual.FeatureDistance(perceptual.CodecStages(found) if isinstance(found, LatentCodec) else found, name)


def load_codec(name: str | Path, kind: str, device: str | torch.device = "cpu") -> nn.Module:
    """Load a codec of this kind ("frame-codec" or "latent-codec"); MineWorld's tokenizer is a frame codec, too.

    Raises:
        InputError: as `load`, or the file holds something else.
    """
    path = locate(name)
    if path.suffix in MINEWORLD:
        module, found = mineworld.load(path, device)[1], "vq-codec"
        if module is None:
            raise InputError(f"{str(name)!r} holds no tokenizer; give the file that does (vae.ckpt)")
    else:
        module, found, _ = _module(path, device)
    if SERVES_AS.get(found, found) != kind:
        raise InputError(f"{str(name)!r} is a {found}, but a {kind} is needed here")
    return module


def origin(name: str | Path) -> tuple[str, dict[str, Any]]:
    """Kind of a model and the facts stored with it; for a MineWorld file, where its tokenizer is.

    Raises:
        InputError: as `load`.
    """
    path = locate(name)
    if path.suffix not in MINEWORLD:
        _, kind, _, metadata = checkpoint.read(path)
        return kind, metadata
    beside = path.parent / "vae" / "vae.ckpt"
    own = any("quantize.embedding." in name for name in torch_file.read(path))
    codec = path if own or not beside.is_file() else beside
    return "token", {"codec": str(codec), "codec_sha256": sha256(codec)}


def locate(name: str | Path) -> Path:
    """The file behind a name, path or hf:// address.

    Raises:
        InputError: there is none; names the nearest bundled model.
    """
    text = str(name)
    if text.startswith("hf://"):
        return _download(text)
    if text.startswith(published_files.PREFIX):
        return published_files.locate(text)
    path = Path(text).expanduser()
    if path.is_dir():
        return _in_folder(path)
    bundled = WEIGHTS / f"{text}.safetensors"
    if path.is_file() or not bundled.is_file() and _is_path(text):
        return path  # a missing file is reported by who reads it
    if not bundled.is_file():
        raise unknown("model", text, names())
    return bundled


def from_anywhere(name: str) -> str:
    """A model's name as it holds in every working folder: a path becomes a whole one, of a committee ("a+b") each part's."""
    if "+" in name and not Path(name).expanduser().exists():
        return "+".join(from_anywhere(part) for part in name.split("+"))
    path = Path(name).expanduser()
    return name if name in names() or not path.exists() else str(path.resolve())


def card(path: Path) -> dict[str, Any] | None:
    """The card beside a model file, or None.

    Raises:
        InputError: the card is damaged, or the file is not the one it was written for.
    """
    beside = path.with_suffix(".json")
    if not beside.is_file() or path.suffix != ".safetensors":
        return None
    try:
        values = json.loads(beside.read_text())
        expected = values["sha256"]
    except (ValueError, KeyError, TypeError):
        raise InputError(f"the card {str(beside)!r} is damaged: no JSON with a sha256") from None
    if path.is_file() and sha256(path) != expected:
        raise InputError(
            f"{str(path)!r} is not the file its card describes (sha256 differs): it was changed or damaged; "
            "restore it, or delete the card to load it all the same"
        )
    return values


def _by_name(name: str, device: str | torch.device) -> nn.Module:
    if "+" not in name or Path(name).expanduser().exists():
        return load(name, device)
    return committee([load(part, device) for part in name.split("+")])


def _mineworld(name: str, path: Path, device, codec, dtype, max_frames) -> Any:
    """MineWorld's transformer with its tokenizer, which is in the same file or lies in vae/vae.ckpt beside it."""
    token, own = mineworld.load(path, device, dtype, max_frames)
    if token is None:
        return own
    beside = path.parent / "vae" / "vae.ckpt"
    codec = codec or own or (beside if beside.is_file() else None)
    if codec is None:
        raise InputError(f'{name!r} holds no tokenizer; give it: load({name!r}, codec="…/vae.ckpt")')
    if not isinstance(codec, nn.Module):
        codec = load_codec(codec, "frame-codec", device).to(dtype or token.lm_head.weight.dtype)
    return WorldModel(name, "token", token, codec.to(device))


def _module(path: Path, device: str | torch.device) -> tuple[nn.Module, str, dict]:
    if path.suffix == ".weights":  # VPT's inverse dynamics model, as published
        return vpt_idm.load(path, device), "vpt-idm", {}
    config, kind, tensors, metadata = checkpoint.read(path)
    card(path)
    if kind not in CLASSES:
        raise unknown(f"kind of model in {str(path)!r}:", str(kind), CLASSES)
    module = checkpoint.build(CLASSES[kind], config, tensors, str(path))
    return module.to(device), kind, metadata


def _own_codec(name: str, metadata: dict) -> str:
    codec, digest = metadata.get("codec"), metadata.get("codec_sha256")
    if codec is None:
        raise InputError(f"{name!r} does not say which codec it was trained with; give one: load({name!r}, codec=…)")
    try:
        found = sha256(locate(codec)) if digest else None
    except (InputError, OSError):
        raise InputError(
            f"{name!r} was trained with the codec {codec!r}, which is not here; give it: load({name!r}, codec=…)"
        ) from None
    if found != digest:
        raise InputError(
            f"{name!r} was trained with another codec than {codec!r} is now (sha256 differs); its pictures would be wrong; "
            f"give the right one: load({name!r}, codec=…)"
        )
    return codec


def _in_folder(folder: Path) -> Path:
    path = folder / "model.safetensors"
    if path.is_file():
        return path
    if (folder / "run.safetensors").is_file():
        raise InputError(f"the run in {str(folder)!r} is not finished; go on with it by --resume")
    raise InputError(f"the folder {str(folder)!r} holds no model.safetensors")


def _is_path(text: str) -> bool:
    return text.endswith(ENDINGS) or text.startswith((".", "/", "~"))


def _download(address: str) -> Path:
    parts = address.removeprefix("hf://").split("/", 2)
    if len(parts) < 3 or not all(parts):
        raise InputError(f"{address!r} is no address of a model; write hf://org/name/file.safetensors")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise InputError(f'loading {address!r} needs huggingface_hub: pip install "worldgym[hub]"') from None
    try:
        return Path(hf_hub_download("/".join(parts[:2]), parts[2]))
    except Exception as error:  # the hub's errors have no common base; all mean: could not fetch
        raise InputError(f"could not fetch {address!r}: {type(error).__name__}: {str(error).splitlines()[0]}") from None
