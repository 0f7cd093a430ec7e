"""A module's source by its hash, without importing anything.

- `find(module)`: its file. `files_of(module)`: with the packages around it and everything local that it imports.
- `sha256(name)`: of "package.module:attribute".

`importlib.util.find_spec("a.b")` runs `a/__init__.py`; here folders are looked through instead. Local is what is neither the
library's own, nor Python's, nor installed. Code that is reached in other ways than by an import statement is not seen.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.machinery
import os
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from pathlib import Path

from worldgym import files

OURS = Path(__file__).parent.parent.parent
INSTALLED = ("stdlib", "platstdlib", "purelib", "platlib")
MOST = 200  # files of one module; a longer list is no baseline


def find(module: str) -> Path | None:
    """The file of a dotted module, as Python would find it from here; None where there is none."""
    roots: Sequence[Path] = [Path(entry or ".") for entry in [*sys.path, os.getcwd()]]
    parts, found = module.split("."), None
    for index, part in enumerate(parts):
        found, roots = _step(part, roots)
        if found is None and not roots:
            return None
        if index < len(parts) - 1 and not roots:
            return None
    return found.resolve() if found else None


def files_of(module: str) -> dict[str, Path]:
    """Dotted name -> file of a module, of the packages around it, and of what they import, where that is local."""
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting and len(found) < MOST:
        name = waiting.pop()
        for inner in _with_packages(name):
            path = None if inner in found else find(inner)
            if path is not None and _local(path):
                found[inner] = path
                waiting += _imports(path, inner)
    return found


def sha256(name: str) -> str | None:
    """Hash of the source behind "package.module:attribute"; of one file its own, of several over their names and hashes.

    None where there is no such file.
    """
    module = name.partition(":")[0]
    found = files_of(module)
    if module not in found:
        return None
    if len(found) == 1:
        return files.sha256(found[module])
    lines = "\n".join(f"{inner} {files.sha256(path)}" for inner, path in sorted(found.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def _step(part: str, roots: Sequence[Path]) -> tuple[Path | None, list[Path]]:
    """One name of a dotted module: its file, and the folders in which its own modules lie."""
    spaces = []
    for root in roots:
        folder = root / part
        package, plain = _file(folder / "__init__"), _file(folder)
        if package:
            return package, [folder]
        if plain:
            return plain, []
        if folder.is_dir():
            spaces.append(folder)
    return None, spaces


def _file(stem: Path) -> Path | None:
    candidates = (stem.with_name(stem.name + ending) for ending in importlib.machinery.all_suffixes())
    return next((path for path in candidates if path.is_file()), None)


def _with_packages(module: str) -> Iterator[str]:
    parts = module.split(".")
    yield from (".".join(parts[:count]) for count in range(1, len(parts) + 1))


def _local(path: Path) -> bool:
    """Neither the library's own, nor Python's, nor installed."""
    installed = any(name in path.parts for name in ("site-packages", "dist-packages"))
    known = [OURS, *(Path(sysconfig.get_path(name)).resolve() for name in INSTALLED)]
    return not installed and not any(path.is_relative_to(folder) for folder in known)


def _imports(path: Path, module: str) -> list[str]:
    """Dotted names that a source file imports, and those that might be attributes of what it imports."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # compiled, or no Python: its bytes are hashed all the same
        return []
    package = module if path.stem == "__init__" else module.rpartition(".")[0]
    found: list[str] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = _base(node, package)
            found += [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names)]
    return [name for name in found if name and not name.startswith("worldgym.") and name != "worldgym"]


def _base(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parts = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])
