"""A suite: one fixed protocol, kept as data in `suites/<name>.toml`.

- `Suite`: the frozen record, with the hash of its file. `load(name)`: by name, or from a path that ends in .toml.
- `names()`: the suites that are shipped.
- `suite_seeds(suite, seed, clips)`: world seeds of the clips, drawn from the reserved range and the suite's split only.
"""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from worldgym.data.splits import SPLITS, SUITE_SEEDS, split_of_seed
from worldgym.errors import InputError, unknown
from worldgym.rng import generator
from worldgym.untrusted import check_types

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

FOLDER = Path(__file__).parent.parent / "suites"
DEFAULT_MODELS = FOLDER / "default" / "models.toml"
LARGEST = 1 << 20  # bytes of a suite file
FIRST_SEED = SUITE_SEEDS


@dataclasses.dataclass(frozen=True)
class BootstrapConfig:
    """How intervals are made."""

    level: float = 0.95
    """Share of resamples inside the interval."""
    resamples: int = 1000
    """Resamples of sums and means."""
    refits: int = 200
    """Resamples of statistics that are refitted each time."""


@dataclasses.dataclass(frozen=True)
class Suite:
    """One fixed protocol."""

    name: str
    """File name without .toml; ends in its version, as in "-v1"."""
    about: str
    """One sentence."""
    world: str
    """The world that the clips come from."""
    spec: str
    """Name of the action spec."""
    size: tuple[int, int]
    """Height and width of a frame in pixels."""
    prefix: int
    """P, frames that are given."""
    frames: int
    """T, frames in all."""
    clips: int
    """N, clips when nothing else is asked for."""
    metrics: tuple[str, ...]
    """What is scored, in the order of the table; the first one ranks."""
    sha256: str
    """Hash of the file's bytes."""
    models: tuple[str, ...] = ()
    """Entries when nothing else is asked for: models, or rewards in a suite that judges rewards. Where the file names none,
    those of `default/models.toml`, which no hash covers: a better model may take another's place."""
    judge: str = ""
    """The held-out judge, by zoo name, where the protocol has one."""
    sampling: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    """Sampling options per kind of model."""
    bootstrap: BootstrapConfig = BootstrapConfig()
    """How intervals are made."""
    protocol: str = "action-following"
    """Which protocol of `worldgym.eval.protocols` it is an instance of."""
    protocol_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    """The protocol's own options."""
    split: str = "test"
    """Which world seeds; "validation" in a copy of a suite with which settings are chosen."""

    @property
    def version(self) -> int:
        """The number at the end of the name."""
        return int(self.name.rpartition("-v")[2])


def names() -> list[str]:
    """The suites that are shipped."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name: str) -> Suite:
    """A shipped suite by name, or any suite by the path of its .toml file.

    Raises:
        InputError: no such suite, or a file that is not a suite.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    if not name.endswith(".toml") and name not in names():
        raise unknown("suite", name, names())
    if path.stat().st_size > LARGEST:
        raise InputError(f"suite file {str(path)!r} has {path.stat().st_size} bytes; at most {LARGEST} are read")
    content = path.read_bytes()
    try:
        fields = tomllib.loads(content.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InputError(f"suite file {str(path)!r} is not TOML: {error}") from None
    return _suite(fields, path, hashlib.sha256(content).hexdigest())


def _suite(fields: dict[str, Any], path: Path, sha256: str) -> Suite:
    known = {field.name: field for field in dataclasses.fields(Suite) if field.name != "sha256"}
    needed = {name for name, field in known.items() if _required(field)}
    for problem, keys in (("lacks", needed - set(fields)), ("has the unknown", set(fields) - set(known))):
        if keys:
            raise InputError(f"suite file {str(path)!r} {problem} field {sorted(keys)[0]!r}")
    check_types(Suite, {name: fields[name] for name in fields if name != "bootstrap"}, f"suite file {str(path)!r}")
    try:
        fields["bootstrap"] = BootstrapConfig(**fields.get("bootstrap", {}))
        fields.setdefault("models", default_models(str(fields["name"])))
        tuples = {key: tuple(fields[key]) for key in ("size", "models", "metrics")}
        suite = Suite(**{**fields, **tuples}, sha256=sha256)
        _check(suite)
    except (TypeError, ValueError, AttributeError) as error:
        raise InputError(f"suite file {str(path)!r} is not a suite: {error}") from None
    return suite


def default_models(name: str) -> list[str]:
    """Who runs in a suite whose file names nobody, when nothing else is asked for."""
    return tomllib.loads(DEFAULT_MODELS.read_text()).get(name, [])


def _required(field: dataclasses.Field) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _check(suite: Suite) -> None:
    if not 1 <= suite.prefix < suite.frames:
        raise InputError(f"prefix {suite.prefix} must be at least 1 and less than frames {suite.frames}")
    if suite.clips < 2 or len(suite.size) != 2 or min(suite.size) < 1:
        raise InputError(f"clips {suite.clips} must be at least 2 and size {list(suite.size)} must be [height, width]")
    if not 0 < suite.bootstrap.level < 1 or min(suite.bootstrap.resamples, suite.bootstrap.refits) < 2:
        raise InputError(f"bootstrap level must lie in (0, 1) and counts be at least 2, not {suite.bootstrap}")
    if not (isinstance(suite.protocol_options, Mapping) and isinstance(suite.sampling, Mapping)):
        raise InputError("protocol_options and sampling must be tables")
    if suite.split not in SPLITS:
        raise unknown("split", suite.split, SPLITS)
    if not suite.name.rpartition("-v")[2].isdigit():
        raise InputError(f"name {suite.name!r} must end in its version, as in '-v1'")


def suite_seeds(suite: Suite, seed: int, clips: int, split_of: Callable[[int], str] = split_of_seed) -> list[int]:
    """Different world seeds of the reserved range and the suite's split; the first n are the same for any number of clips.

    Args:
        suite: whose clips.
        seed: the run's seed.
        clips: how many.
        split_of: seed -> "train", "validation" or "test".
    """
    draw = generator(seed, suite.name, "world seeds")
    seeds: dict[int, None] = {}
    while len(seeds) < clips:
        candidate = int(draw.integers(FIRST_SEED, 2**31))
        if split_of(candidate) == suite.split:
            seeds[candidate] = None
    return list(seeds)
