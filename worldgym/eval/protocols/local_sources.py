"""The source files behind somebody's own model: `local_sources`."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import site
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldgym import files

OURS = Path(__file__).parents[2]


def local_sources(found: Any) -> dict[str, str]:
    """SHA-256 of the module that a class or object comes from and of all modules that it imports, by name, in order.

    Modules of this library, of Python and of installed packages are left out; so are names that are put together at run time.
    """
    home = inspect.getmodule(found if inspect.isroutine(found) or isinstance(found, type) else type(found))
    known: dict[str, str] = {}
    waiting = [home.__name__] if home is not None else []
    while waiting:
        name = waiting.pop()
        path = None if name in known else _local_file(name)
        if path is not None:
            known[name] = files.sha256(path)
            waiting += _imports(path, name)
    return dict(sorted(known.items()))


def _local_file(name: str) -> Path | None:
    """The module's source file, if it is neither ours nor installed."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    try:
        spec = None if loaded else importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    path = loaded or (spec.origin if spec else None)
    if path is None or not path.endswith(".py"):
        return None
    path = Path(path).resolve()
    return None if any(path.is_relative_to(place) for place in _installed()) else path


def _installed() -> set[Path]:
    """Folders of this library, of Python's own modules and of installed packages."""
    places = [OURS, *sysconfig.get_paths().values(), *site.getsitepackages(), site.getusersitepackages()]
    kept = {name for key, name in sysconfig.get_paths().items() if key in ("data", "scripts", "include", "platinclude")}
    return {Path(place).resolve() for place in places if place not in kept}


def _imports(path: Path, name: str) -> Iterator[str]:
    """Names of modules that a file imports anywhere in it, packages on the way included."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            start = ".".join(part for part in (base, node.module or "") if part)
            names = [start, *(f"{start}.{alias.name}" for alias in node.names)]
        else:
            continue
        for each in names:
            parts = each.split(".")
            yield from (".".join(parts[: count + 1]) for count in range(len(parts)))
