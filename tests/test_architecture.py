"""The rooms and who may import whom, file lengths, and what `import worldgym` may cost."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "worldgym"
GROUND = {"types", "rng", "actions", "errors", "files", "resize", "provenance"}
MAY_IMPORT = {
    "worlds": GROUND,
    "data": GROUND | {"worlds"},
    "models": GROUND,
    "judges": GROUND | {"models"},
    "envs": GROUND | {"data", "models"},
    "rewards": GROUND | {"envs", "judges", "models"},  # pictures as a codec's viewer sees them
    "pretrain": GROUND | {"worlds", "data", "models", "judges"},
    "trainers": GROUND | {"data", "models"},  # rewards reach a trainer through env.step alone
    "train": GROUND | {"envs", "rewards", "trainers", "data", "models", "pretrain"},  # its run folder, bar and cards
    "eval": GROUND | {"worlds", "data", "models", "judges", "envs", "rewards"},
    "leaderboard": GROUND | {"eval"},
    "arena": GROUND | {"eval"},
    "record": GROUND | {"worlds", "data"},
    **{name: {"errors"} for name in GROUND},
    "registration": set(),
    "__init__": {"models", "registration"},
}
FILES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """Rooms of ours that a file imports, anywhere in it, `TYPE_CHECKING` or not."""
    names = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
            assert node.level == 0, f"{path}: relative import"
    return {parts[1] for parts in (name.split(".") for name in names) if parts[0] == "worldgym" and len(parts) > 1}


def test_there_are_files():
    assert len(FILES) > 30


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_no_forbidden_arrow(path):
    rooms = {name for name in imported_rooms(path) if (PACKAGE / name).is_dir() or (PACKAGE / f"{name}.py").is_file()}
    forbidden = rooms - {room(path)} - MAY_IMPORT[room(path)]
    assert not forbidden, f"{room(path)} must not import {sorted(forbidden)}"


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_files_are_short(path):
    assert len(path.read_text().splitlines()) <= 400


def test_every_room_has_its_rule():
    assert {room(path) for path in FILES} == set(MAY_IMPORT)


def test_importing_the_package_loads_nothing_heavy():
    code = "import worldgym, sys; print(sorted({'torch', 'vizdoom', 'sklearn', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
