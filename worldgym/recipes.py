"""A recipe as JSON: `Recipe`, Gymnasium's `EnvSpec` that says which argument has no JSON form; `HasRecipe` for environments.

What has a form, whether an argument stands alone or inside lists and dicts: None, numbers, texts, paths, ranges, devices,
numpy's numbers, flat arrays of integers (seeds), and configs, which are frozen dataclasses of such values.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
from gymnasium.envs.registration import EnvSpec

from worldgym.errors import InputError

DERIVED = ("namespace", "name", "version")  # Gymnasium makes these from the id


class Recipe(EnvSpec):
    """The recipe of one of this library's environments."""

    @classmethod
    def of(cls, spec: EnvSpec) -> Recipe:
        """What Gymnasium wrote down, as a recipe."""
        recipe = copy.copy(spec)
        recipe.__class__ = cls
        return recipe

    def to_json(self) -> str:
        """The recipe as text, for `EnvSpec.from_json` and `worldgym.make_vec`.

        Raises:
            InputError: an argument of the environment or of a wrapper has no JSON form; says which.
        """
        found = {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in DERIVED}
        found["kwargs"] = _plain_arguments(self.kwargs, self.id)
        found["additional_wrappers"] = [
            {"name": one.name, "entry_point": one.entry_point, "kwargs": _plain_arguments(one.kwargs, one.name)}
            for one in self.additional_wrappers
        ]
        return json.dumps(found)


class HasRecipe:
    """An environment whose `spec`, which Gymnasium sets in `make`, is a `Recipe`."""

    _recipe: Recipe | None = None

    @property
    def spec(self) -> Recipe | None:
        """How this environment was made; None where it was made by hand."""
        return self._recipe

    @spec.setter
    def spec(self, spec: EnvSpec | None) -> None:
        self._recipe = None if spec is None else Recipe.of(spec)


def _plain_arguments(arguments: Mapping[str, Any] | None, owner: str) -> dict[str, Any] | None:
    if arguments is None:
        return None
    return {name: _plain(value, f"argument {name!r} of {owner}", value) for name, value in arguments.items()}


def _plain(value: Any, name: str, whole: Any) -> Any:
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, PurePath) or type(value).__module__ == "torch":  # a device; a tensor's class is elsewhere too
        return str(value) if isinstance(value, PurePath) or type(value).__name__ == "device" else _refuse(name, whole)
    if isinstance(value, np.ndarray) and value.ndim == 1 and value.dtype.kind in "iu":
        return value.tolist()
    if isinstance(value, (list, tuple, range)):
        return [_plain(one, name, whole) for one in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(one, name, whole) for key, one in value.items()}
    return _refuse(name, whole)


def _refuse(name: str, value: Any) -> Any:
    raise InputError(
        f"the recipe has no JSON form, because {name} is an object of type {type(value).__name__}; where a name, a path or "
        "numbers would do, make the environment with those"
    )
