"""From a finished run to a bundled model: weights in half precision, and a card.

- `ExportConfig`, `export(config)`.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import torch

from worldgym import zoo
from worldgym.errors import InputError
from worldgym.files import output_folder, sha256, write_json
from worldgym.models.files import checkpoint
from worldgym.runs.card import portable

LIMIT = 16e6  # bytes of a bundled file
DROPPED = ("sha256", "name")  # of the run's card: said anew


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Copy a finished run's model into the zoo, with its card."""

    run: Path
    """Folder of the run."""
    name: str
    """Name in the zoo, as in doom-rooms/token-nano."""
    half: bool = True
    """Store weights as float16, half the size."""
    codec: str | None = None
    """The codec's name in the zoo, where the run knew it by path; must be the same network."""
    note: str = ""
    """A sentence for the card."""
    zoo: Path = zoo.WEIGHTS
    """Folder of bundled weights."""


def export(config: ExportConfig) -> Path:
    """Write `<zoo>/<name>.safetensors` and its card; returns the path of the weights.

    Raises:
        InputError: the run is not finished, its codec is another network than `codec`, or the file gets too large.
    """
    world, _, name = config.name.partition("/")
    if not world or not name or "/" in name:
        raise InputError(f"--name takes <world>/<name>, as in doom-rooms/token-nano, not {config.name!r}")
    source = zoo.locate(config.run)
    card = zoo.card(source)
    if card is None:
        raise InputError(f"the run in {str(config.run)!r} has no card (model.json): it is not finished; go on with --resume")
    values, kind, tensors, metadata = checkpoint.read(source)
    origin = {key: value for key, value in metadata.items() if key not in ("kind", "config", "format")}
    origin |= _codec(config, metadata)
    path = output_folder(config.zoo / world) / f"{name}.safetensors"
    _write(path, tensors, {**origin, "kind": kind, "config": values, "format": checkpoint.FORMAT}, config.half)
    facts = {key: value for key, value in card.items() if key not in DROPPED}
    facts["command"] = portable(facts["command"])
    facts["settings"] = {key: portable(v) if key == "init" and v else v for key, v in facts["settings"].items()}
    facts |= {"name": config.name, "dtype": "float16" if config.half else "float32", **origin}
    write_json(path.with_suffix(".json"), facts | {"sha256": sha256(path)} | ({"note": config.note} if config.note else {}))
    return path


def _write(path: Path, tensors: dict[str, torch.Tensor], metadata: dict[str, Any], half: bool) -> None:
    if half:
        tensors = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    if any(not t.isfinite().all() for t in tensors.values() if t.is_floating_point()):
        raise InputError("some weights are not finite, or too large for float16: export with --no-half")
    size = sum(t.numel() * t.element_size() for t in tensors.values())
    if size > LIMIT:
        raise InputError(
            f"the weights take {size / 1e6:.1f} MB, a bundled file at most {LIMIT / 1e6:.0f} MB; train a smaller one"
        )
    path.with_suffix(".json").unlink(missing_ok=True)  # a card never lies beside weights it was not written for
    checkpoint.write_tensors(path, tensors, metadata)


def _codec(config: ExportConfig, metadata: dict[str, Any]) -> dict[str, str]:
    """New name and hash of the codec, after a look whether it is the one that the model was trained with."""
    if "codec" not in metadata:
        return {}
    bundled = config.codec or metadata["codec"]
    path = config.zoo / f"{bundled}.safetensors"
    path = path if path.is_file() else zoo.locate(bundled)
    if sha256(path) != metadata["codec_sha256"]:
        _same_network(zoo.locate(metadata["codec"]), path, metadata["codec_sha256"])
    if not (config.zoo / f"{bundled}.safetensors").is_file():
        raise InputError(f"the codec {bundled!r} is not in the zoo: export it first, then say its name there with --codec")
    return {"codec": bundled, "codec_sha256": sha256(path)}


def _encoding(path: Path) -> tuple[dict, str, dict[str, Any]]:
    """Config, kind and tensors of a codec but for its decoder, which may have been trained on: codes stay what they were."""
    config, kind, tensors, _ = checkpoint.read(path)
    return config, kind, {name: tensor for name, tensor in tensors.items() if not name.startswith("decoder.")}


def _same_network(trained: Path, bundled: Path, digest: str) -> None:
    if not trained.is_file() or sha256(trained) != digest:
        raise InputError(f"the codec {str(trained)!r} that the run was trained with is gone or changed; cannot compare")
    one, two = _encoding(trained), _encoding(bundled)
    same = one[:2] == two[:2] and one[2].keys() == two[2].keys()
    # float16 keeps 11 bits; anything beyond its rounding is another network.
    if not same or any(not torch.allclose(t.float(), two[2][n].float(), rtol=1e-3, atol=1e-6) for n, t in one[2].items()):
        raise InputError(
            f"the codec {str(bundled)!r} is another network than {str(trained)!r}, which the run was trained with"
        )
