"""From a preset's name and overrides to a network's config.

- `configure(presets, name, overrides, **known)`.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from typing import Any

from worldgym.errors import InputError, unknown


def configure(presets: Mapping[str, Any], name: str, overrides: Sequence[str] = (), **known: Any) -> Any:
    """A preset with fields replaced.

    Args:
        presets: config dataclasses by name.
        name: of the preset.
        overrides: "field=value" each, values as JSON (`hidden=128`, `widths=[32,64]`), or plain text for names.
        known: fields that follow from data or codec.

    Raises:
        InputError: unknown preset or field, or a value of the wrong type.
    """
    if name not in presets:
        raise unknown("preset", name, presets)
    preset = presets[name]
    fields = {field.name for field in dataclasses.fields(preset)}
    values = dict(known)
    for text in overrides:
        field, found, value = text.partition("=")
        if not found:
            raise InputError(f"--override takes field=value, not {text!r}")
        if field not in fields:
            raise unknown(f"field of {type(preset).__name__}", field, fields)
        if field in known:
            raise InputError(f"--override {field} cannot be set: it is {known[field]!r} because of the data or the codec")
        values[field] = _parse(field, value, getattr(preset, field))
    return dataclasses.replace(preset, **values)


def _parse(field: str, text: str, old: Any) -> Any:
    try:
        value = json.loads(text)
    except json.JSONDecodeError:
        value = text
    value = tuple(value) if isinstance(value, list) else value
    if isinstance(old, float) and isinstance(value, int):
        value = float(value)
    if type(value) is not type(old):
        raise InputError(f"--override {field} takes {type(old).__name__}, as in {field}={json.dumps(old)}, not {text!r}")
    return value
