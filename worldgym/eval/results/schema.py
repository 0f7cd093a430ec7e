"""Reading result files from strangers: size, JSON, and the published schema, each problem in one sentence.

- `read(path)`: a checked result. `check(value, where)`: the same for a value at hand. `published()`: the JSON Schema.

The file `schemas/result-2.json` is the one source; a small interpreter of the words that it uses checks values without
another package, and a test holds it against the package jsonschema.
"""

from __future__ import annotations

import functools
import json
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from worldgym.errors import InputError

FILE = Path(__file__).parent.parent / "schemas" / "result-2.json"
LARGEST = 64 << 20  # bytes of a result file
DEEPEST = 20  # levels of a JSON value
LARGEST_NUMBER = 1 << 60  # whole numbers beyond it are nobody's seed or count, and would not fit into arrays
TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: not isinstance(value, bool) and (isinstance(value, int) or _real(value)),
    "integer": lambda value: not isinstance(value, bool) and (isinstance(value, int) or _whole(value)),
    "null": lambda value: value is None,
}


def _real(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)


def _finite(value: int | float) -> bool:
    return abs(value) <= LARGEST_NUMBER if isinstance(value, int) else math.isfinite(value)


def _whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


@functools.lru_cache
def published() -> Mapping[str, Any]:
    """The JSON Schema of result files."""
    return json.loads(FILE.read_text(encoding="utf-8"))


def read(path: str | os.PathLike) -> dict[str, Any]:
    """A result file, checked against the schema.

    Raises:
        InputError: missing, huge, no JSON, or not of this schema; says what and where.
    """
    value = read_json(path)
    check(value, f"result file {str(path)!r}")
    return value


def read_json(path: str | os.PathLike) -> Any:
    """A JSON value, without the traps that Python's parser leaves open (NaN, equal keys, endless nesting).

    Raises:
        InputError: missing, huge, or no JSON.
    """
    where, path = f"result file {str(path)!r}", Path(path)
    try:
        if not path.is_file():
            raise InputError(f"{where} is not a file" if path.exists() else f"{where} does not exist")
        size = path.stat().st_size
        if size > LARGEST:
            raise InputError(f"{where} has {size} bytes; at most {LARGEST} are read")
        value = json.loads(path.read_bytes().decode(), object_pairs_hook=_no_equal_keys, parse_constant=_no_constant)
        json.dumps(value, ensure_ascii=False).encode()  # half a surrogate pair is no text
    except InputError as error:
        raise InputError(str(error) if str(error).startswith(where) else f"{where}: {error}") from None
    except RecursionError:
        raise InputError(f"{where} is nested too deeply") from None
    except OSError as error:
        raise InputError(f"{where} cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # JSON, UTF-8, or a number of thousands of digits
        raise InputError(f"{where} is not JSON: {' '.join(str(error).split())[:150]}") from None
    if _depth(value) > DEEPEST:
        raise InputError(f"{where} is nested too deeply")
    return value


def check(value: Any, where: str = "result") -> None:
    """Hold a value against the schema.

    Raises:
        InputError: the first place that does not fit, and why.
    """
    if isinstance(value, dict) and value.get("what") == "summary":
        raise InputError(f"{where} is the summary of a run; name the file of one entry, as in <entry>/<seed>.json")
    if isinstance(value, dict) and value.get("schema") != 2 and "schema" in value:
        raise InputError(f"{where} has schema {str(value['schema'])[:40]!r}, but this version reads schema 2")
    problem = _problem(value, published(), "")
    if problem:
        raise InputError(f"{where} does not fit the schema{problem}")
    if not _finite_throughout(value):
        raise InputError(f"{where} holds a number that is too large")


def _no_equal_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    merged = dict(pairs)
    if len(merged) < len(pairs):
        raise InputError("holds a key twice in one object")
    return merged


def _no_constant(name: str) -> None:
    raise InputError(f"holds {name}, which is not JSON; a hole is null")


def _depth(value: Any) -> int:
    """Levels of nesting, counted without recursion."""
    deepest, level = 0, [value]
    while level:
        deepest += 1
        level = [x for v in level if isinstance(v, (dict, list)) for x in (v.values() if isinstance(v, dict) else v)]
    return deepest


def _finite_throughout(value: Any) -> bool:
    """No infinity and no whole number beyond `LARGEST_NUMBER` anywhere, also where the schema leaves a value open."""
    level = [value]
    while level:
        inner = [x for v in level if isinstance(v, (dict, list)) for x in (v.values() if isinstance(v, dict) else v)]
        if not all(_finite(x) for x in inner if isinstance(x, (int, float))):
            return False
        level = inner
    return True


def _problem(value: Any, schema: Mapping[str, Any], at: str) -> str:
    """ " at /rows/3/id: …", or "" when the value fits."""
    if "$ref" in schema:
        schema = published()["$defs"][schema["$ref"].rpartition("/")[2]]
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(TYPES[name](value) for name in types):
        return f" at {at or '/'}: it is {_kind(value)}, but {' or '.join(types)} is needed"
    for rule in (_value_problem, _size_problem, _object_problem, _array_problem):
        if problem := rule(value, schema, at):
            return problem
    return ""


def _kind(value: Any) -> str:
    return {dict: "an object", list: "an array", str: "a string", bool: "true or false", type(None): "null"}.get(
        type(value), f"the number {str(value)[:30]}"
    )


def _value_problem(value: Any, schema: Mapping[str, Any], at: str) -> str:
    if "const" in schema and value != schema["const"] or "enum" in schema and value not in schema["enum"]:
        wanted = schema.get("enum", [schema.get("const")])
        return f" at {at or '/'}: {str(value)[:40]!r} is not one of {wanted}"
    if isinstance(value, str) and "pattern" in schema and not _matches(schema["pattern"], value):
        return f" at {at}: {value[:40]!r} does not have the form {schema['pattern']}"
    if TYPES["number"](value) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f" at {at}: {str(value)[:40]} is out of range"
    return ""


def _matches(pattern: str, value: str) -> bool:
    """As in JSON Schema, where "$" is the end and not the place before a last line break."""
    return bool(re.search(pattern, value)) and not (pattern.endswith("$") and value.endswith("\n"))


def _size_problem(value: Any, schema: Mapping[str, Any], at: str) -> str:
    kinds = {str: ("minLength", "maxLength"), list: ("minItems", "maxItems"), dict: ("minProperties", "maxProperties")}
    least, most = kinds.get(type(value), ("", ""))
    if least and not schema.get(least, 0) <= len(value) <= schema.get(most, len(value)):
        return f" at {at or '/'}: it has length {len(value)}, which is out of range"
    return ""


def _object_problem(value: Any, schema: Mapping[str, Any], at: str) -> str:
    if not isinstance(value, dict):
        return ""
    for name in schema.get("required", []):
        if name not in value:
            return f" at {at or '/'}: {name!r} is missing"
    rest = schema.get("additionalProperties", True)
    for name, part in value.items():
        known = schema.get("properties", {}).get(name, rest)
        if known is False:
            return f" at {at or '/'}: {name[:60]!r} is unknown"
        if isinstance(known, dict) and (problem := _problem(part, known, f"{at}/{name[:60]}")):
            return problem
    return ""


def _array_problem(value: Any, schema: Mapping[str, Any], at: str) -> str:
    if not isinstance(value, list) or "items" not in schema:
        return ""
    return next(filter(None, (_problem(part, schema["items"], f"{at}/{i}") for i, part in enumerate(value))), "")
