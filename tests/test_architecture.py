"""The rooms and who may import whom, no circles, file lengths, and what `import worldgym` may cost."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "worldgym"
# From the ground up: a room imports only from rooms before it, and a module of a row from its own row.
ROOMS = [
    ("types", "errors", "rng", "files", "provenance", "recipes", "resize", "untrusted", "actions/"),
    ("worlds/",),
    ("data/",),
    ("models/files/",),
    ("models/layers/",),
    ("models/codecs/",),
    ("models/token/",),
    ("models/diffusion/",),
    ("models/world_model",),
    ("judges/",),
    ("zoo",),
    ("envs/",),
    ("rewards/",),
    ("runs/",),
    ("pretrain/",),
    ("train/",),
    ("eval/metrics/",),
    ("eval/results/",),
    ("eval/protocols/",),
    ("eval/display/",),
    ("eval/running/",),
    ("leaderboard/", "arena/", "record"),
    ("registration",),
]
DOORS = {"__init__": "registration", "models/__init__": "models/files/", "eval/__init__": "eval/running/"}
DOORS["eval/__main__"] = "eval/running/"
# Rooms that must not meet although their order would allow it.
APART = [
    ("data/", "worlds/", {"models/", "judges/"}),
    ("runs/", {"worlds/", "data/", "envs/", "rewards/", "judges/"}),
    ("pretrain/", {"envs/", "rewards/"}),
    ("train/", {"pretrain/"}),
    ("eval/", {"runs/", "pretrain/", "train/"}),
    ("leaderboard/", {"train/", "pretrain/", "models/", "judges/"}),
    ("arena/", {"train/", "pretrain/", "models/", "judges/", "leaderboard/"}),
]
OURS = re.compile(r"^(worldgym(?:\.\w+)*):\w+$")  # "worldgym.envs.token:TokenEnv"


def name_of(path: Path) -> str:
    """worldgym/eval/__main__.py -> "worldgym.eval.__main__", and a package by its own name."""
    return ".".join(("worldgym", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__")


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def imported(source: str, known) -> set[str]:
    """Modules of ours that a source imports: at its head, under TYPE_CHECKING, in functions, or by "module:Class"."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative import"
            whole = [f"{node.module}.{alias.name}" for alias in node.names]
            found += [name if name in known else node.module for name in whole]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and (match := OURS.match(node.value)):
            found.append(match[1])
    return {name for name in found if name in known}


ARROWS = {name: imported(path.read_text(), FILES) - {name} for name, path in FILES.items()}


def place(module: str) -> str:
    """Where a module lies, in the words of ROOMS."""
    path = FILES[module].relative_to(PACKAGE).with_suffix("").as_posix()
    path = DOORS.get(path, path)
    return next(room for row in ROOMS for room in row if path == room or room.endswith("/") and path.startswith(room))


def floor(module: str) -> int:
    room = place(module)
    return next(number for number, row in enumerate(ROOMS) if room in row)


def circle(arrows) -> list[str]:
    """One circle in a graph, as the way around; empty where there is none."""
    done: set[str] = set()

    def walk(node: str, way: list[str]) -> list[str]:
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return []
        found = next((found for other in sorted(arrows[node]) if (found := walk(other, [*way, node]))), [])
        done.add(node)
        return found

    return next((found for node in sorted(arrows) if (found := walk(node, []))), [])


def test_there_are_files():
    assert len(FILES) > 150 and sum(map(len, ARROWS.values())) > 500


def test_every_way_to_import_is_seen():
    source = """
from typing import TYPE_CHECKING
import worldgym.files
if TYPE_CHECKING:
    from worldgym.types import Clip
def late():
    from worldgym import zoo
ENTRY = "worldgym.envs.token:TokenEnv"
"""
    assert imported(source, FILES) == {f"worldgym.{name}" for name in ("files", "types", "zoo", "envs.token")}


def test_a_circle_is_seen():
    assert circle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []


def test_there_is_no_circle():
    assert circle(ARROWS) == []


@pytest.mark.parametrize("module", FILES)
def test_a_room_imports_from_below_alone(module):
    above = sorted(other for other in ARROWS[module] if floor(other) > floor(module))
    assert not above, f"{place(module)} lies below the rooms of {above}"


@pytest.mark.parametrize("module", FILES)
def test_rooms_that_must_not_meet(module):
    path = place(module)
    forbidden = {room for *rooms, others in APART if path.startswith(tuple(rooms)) for room in others}
    met = sorted(other for other in ARROWS[module] if place(other).startswith(tuple(forbidden)))
    assert not met, f"{path} must not import {met}"


def test_the_map_in_contributing_lists_these_rooms_in_this_order():
    table = (ROOT / "CONTRIBUTING.md").read_text().split("## The rooms")[1].split("\n## ")[0]
    rows = [re.findall(r"`([^`]+)`", line.split("|")[1]) for line in table.splitlines() if line.startswith("| `")]
    assert [tuple(row) for row in rows] == ROOMS


def test_every_room_is_inhabited():
    assert {place(module) for module in FILES} == {room for row in ROOMS for room in row}


@pytest.mark.parametrize("module", FILES)
def test_files_are_short(module):
    assert len(FILES[module].read_text().splitlines()) <= 400


def test_importing_the_package_loads_nothing_heavy():
    code = "import worldgym, sys; print(sorted({'torch', 'vizdoom', 'sklearn', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
