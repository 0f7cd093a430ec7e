"""The sections of settings put together for a run, checked, and as YAML.

- `TrainRun`: everything that a run is told. `ALGORITHMS`: the sections of each algorithm, by kind of model.
- `reachable(sections)`: the fields of a run. `refuse_foreign(names, algorithm, kind)`: a field that acts elsewhere.
- `to_yaml(config)`, `from_yaml(text)`: the same settings as a file.
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from worldgym.errors import InputError, unknown
from worldgym.train.draft import DiffusionDraft, TokenDraft
from worldgym.train.grpo import DiffusionGrpo, TokenGrpo
from worldgym.train.nft import NftSettings
from worldgym.train.settings import Algorithm, DiffusionRollout, Optimisation, Run, Settings, Task, TokenRollout, flag

ALGORITHMS: dict[str, dict[str, type[Algorithm]]] = {
    "grpo": {"token": TokenGrpo, "diffusion": DiffusionGrpo},
    "nft": {"diffusion": NftSettings},
    "draft": {"token": TokenDraft, "diffusion": DiffusionDraft},
}
ROLLOUTS: dict[str, type] = {"token": TokenRollout, "diffusion": DiffusionRollout}

# What may differ between a run and its continuation: where it lives, how long it goes on, what is written when.
FREE = (
    *("out", "prompts", "iterations", "minutes", "device", "threads", "save_every", "snapshot_every", "wandb"),
    *("micro", "checkpointing", "sharded"),
)
FORMAT = 2  # of a run's settings; 1 was one flat class per algorithm


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainRun(Settings):
    """Everything that a run is told; `algorithm`'s class says which algorithm.

    Attributes:
        resume: go on where the run in `run.out` was stopped or killed; start one if there is none.
    """

    run: Run
    resume: bool = False

    @property
    def name(self) -> str:
        """Of the algorithm, as in "grpo"."""
        return algorithm_of(self.algorithm)

    def values(self) -> dict[str, Any]:
        """Every field by its own name, as JSON values; no two sections share a name."""
        parts = {name: section for name, section in sections(self).items()}
        flat = {name: value for section in parts.values() for name, value in dataclasses.asdict(section).items()}
        return {name: _plain(value) for name, value in flat.items()}

    def fixed(self) -> dict[str, Any]:
        """JSON of what must not change when the run is resumed; the budget's kind is part of it."""
        values = {name: value for name, value in self.values().items() if name not in FREE}
        budget = "iterations" if self.run.minutes is None else "minutes"
        return {**values, "algorithm": self.name, "budget": budget, "format": FORMAT}


def algorithm_of(section: Algorithm) -> str:
    """Name of the algorithm that a section belongs to."""
    return next(name for name, kinds in ALGORITHMS.items() if type(section) in kinds.values())


def sections(config: Settings) -> dict[str, Any]:
    """The sections of settings by name."""
    values = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {name: value for name, value in values.items() if dataclasses.is_dataclass(value)}


def section_classes(algorithm: str, kind: str) -> dict[str, type]:
    """The classes of a run's sections.

    Raises:
        InputError: the algorithm does not train this kind of model.
    """
    if algorithm not in ALGORITHMS:
        raise unknown("algorithm", algorithm, ALGORITHMS)
    if kind not in ALGORITHMS[algorithm]:
        others = [name for name, kinds in ALGORITHMS.items() if kind in kinds]
        raise InputError(f"{algorithm} does not train {kind} models; use {' or '.join(others) or 'another model'}")
    own = ALGORITHMS[algorithm][kind]
    return {"task": Task, "rollout": ROLLOUTS[kind], "algorithm": own, "optimisation": Optimisation, "run": Run}


def reachable(classes: Mapping[str, type]) -> dict[str, str]:
    """Fields of a run and the section of each; a test holds their number down."""
    return {field.name: section for section, cls in classes.items() for field in dataclasses.fields(cls)}


def refuse_foreign(names: Iterable[str], algorithm: str, kind: str) -> None:
    """Refuse fields that this run does not have.

    Raises:
        InputError: says where the field acts, or the nearest name.
    """
    known = reachable(section_classes(algorithm, kind))
    for name in names:
        if name in known:
            continue
        places = sorted({cls.place for cls in _every_section() if name in {field.name for field in dataclasses.fields(cls)}})
        if places:
            raise InputError(f"{flag(name)} is a setting of {' and of '.join(places)}; this is {algorithm} of a {kind} model")
        raise unknown("setting", flag(name), map(flag, known))


def replaced(config: Settings, **fields: Any) -> Any:
    """Settings with other values, each by its own name, whatever section it is in.

    Raises:
        InputError: a field that these settings do not have.
    """
    refuse_foreign(fields, algorithm_of(config.algorithm), config.rollout.kind)
    parts = {}
    for name, section in sections(config).items():
        mine = {field.name: fields[field.name] for field in dataclasses.fields(section) if field.name in fields}
        parts[name] = dataclasses.replace(section, **mine)
    return dataclasses.replace(config, **parts)


def to_yaml(config: TrainRun) -> str:
    """The settings as YAML; `from_yaml` reads them."""
    parts = {name: {k: _plain(v) for k, v in dataclasses.asdict(part).items()} for name, part in sections(config).items()}
    head = {"method": config.name, "kind": config.rollout.kind}
    return yaml.safe_dump({**head, **parts}, sort_keys=False)


def from_yaml(text: str) -> TrainRun:
    """Settings from YAML; what is left out has its default.

    Raises:
        InputError: no such section or field, or a value of another type.
    """
    try:
        values = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise InputError(f"the settings are no YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict) or not {"method", "kind", "run"} <= set(values):
        raise InputError("settings in YAML name `method` (grpo, nft, draft), `kind` (token, diffusion) and a section `run`")
    algorithm, kind = str(values.pop("method")), str(values.pop("kind"))
    classes = section_classes(algorithm, kind)
    parts = {}
    for name, fields in values.items():
        if name not in classes:
            raise unknown("section", name, classes)
        own = {field.name: field for field in dataclasses.fields(classes[name])}
        foreign = [field for field in fields or {} if field not in own]
        if foreign:
            refuse_foreign(foreign, algorithm, kind)
            right = reachable(classes)[foreign[0]]
            raise InputError(f"{foreign[0]} stands in the section {name!r}, but belongs to {right!r}")
        hints = typing.get_type_hints(classes[name])
        parts[name] = classes[name](**{key: _typed(key, value, hints[key]) for key, value in (fields or {}).items()})
    parts = {name: parts[name] if name in parts else cls() for name, cls in classes.items()}
    return TrainRun(**parts)


def _every_section() -> list[type]:
    kinds = {cls for kinds in ALGORITHMS.values() for cls in kinds.values()}
    return [Task, *ROLLOUTS.values(), Optimisation, Run, *sorted(kinds, key=lambda cls: cls.place)]


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return str(value) if isinstance(value, Path) else value


def _typed(name: str, value: Any, kind: Any) -> Any:  # noqa: C901 - one line per kind of field
    """A YAML value as its field's type."""
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):
        if value is None and type(None) in choices:
            return None
        return _typed(name, value, next(choice for choice in choices if choice is not type(None)))
    if origin is typing.Literal:
        if value not in choices:
            raise unknown(f"value of {name}", str(value), map(str, choices))
        return value
    if origin is tuple and isinstance(value, list):
        return tuple(str(part) for part in value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 3e-5 as a word
        try:
            return float(value)
        except ValueError:
            number = False
    if kind is float and number:
        return float(value)
    if not isinstance(kind, type) or not isinstance(value, kind) or isinstance(value, bool) and kind is not bool:
        raise InputError(f"{name} is {value!r}, but must be {getattr(kind, '__name__', str(kind))}")
    return value
