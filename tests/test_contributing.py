"""CONTRIBUTING: the files to read first are what they are said to be, walks go along calls that exist, words are twenty."""

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "CONTRIBUTING.md").read_text()
PLACE = r"`([\w/]+\.py)` `([\w.]+)`"


def section(title: str) -> str:
    """The text below a heading of the second level."""
    return TEXT.split(f"\n## {title}\n")[1].split("\n## ")[0]


def walks() -> dict[str, list[tuple[str, ...]]]:
    """Title -> (file, function, file, function) of every line: caller and callee."""
    parts = section("Walks").split("\n### ")[1:]
    return {part.partition("\n")[0]: re.findall(rf"^\d\. {PLACE} → {PLACE}: \S", part, re.MULTILINE) for part in parts}


ARROWS = [(title, arrow) for title, arrows in walks().items() for arrow in arrows]


def function(source: str, name: str) -> ast.FunctionDef | None:
    """A function or method by its qualified name."""
    node: ast.AST | None = ast.parse(source)
    for part in name.split("."):
        kinds = (ast.FunctionDef, ast.ClassDef)
        node = next((child for child in getattr(node, "body", []) if isinstance(child, kinds) and child.name == part), None)
    return node if isinstance(node, ast.FunctionDef) else None


def calls(node: ast.AST) -> set[str]:
    """The last names of everything that is called: `self.codec.decode(x)` -> "decode"."""
    called = [child.func for child in ast.walk(node) if isinstance(child, ast.Call)]
    return {func.attr if isinstance(func, ast.Attribute) else getattr(func, "id", "") for func in called}


def test_calls_and_functions_are_seen():
    source = "class A:\n    def f(self):\n        return self.b.g(h(1))\n\ndef f(): ...\n"
    assert calls(function(source, "A.f")) == {"g", "h"} and calls(function(source, "f")) == set()
    assert function(source, "A.g") is None and function(source, "A") is None


def test_every_walk_has_six_lines():
    found = walks()
    assert {"Where a reward enters", "Where a frame is decoded"} <= set(found)
    lines = re.findall(r"^\d\. ", section("Walks"), re.MULTILINE)
    assert [len(arrows) for arrows in found.values()] == [6] * len(found) and len(lines) == 6 * len(found)


@pytest.mark.parametrize("title, arrow", ARROWS, ids=[f"{title}: {arrow[1]} to {arrow[3]}" for title, arrow in ARROWS])
def test_a_walk_goes_along_a_call(title, arrow):
    caller, callee = (function((ROOT / "worldgym" / arrow[i]).read_text(), arrow[i + 1]) for i in (0, 2))
    assert caller is not None, f"{arrow[0]} has no {arrow[1]}"
    assert callee is not None, f"{arrow[2]} has no {arrow[3]}"
    assert callee.name in calls(caller), f"{arrow[1]} does not call {arrow[3]}"


def test_five_files_to_read_first():
    """An environment, a reward, an algorithm, a world model, the evaluation, in this order."""
    names = re.findall(r"^\d\. `([\w/.]+)`", section("Five files to read first"), re.MULTILINE)
    rooms = ("envs/", "rewards/", "train/", "models/", "eval/")
    assert len(names) == 5 and all((ROOT / name).is_file() for name in names)
    assert [name.startswith(f"worldgym/{room}") for name, room in zip(names, rooms, strict=True)] == [True] * 5


def test_twenty_words_with_one_meaning_each():
    words = re.findall(r"^\| ([a-z ]+) \| \S", section("Twenty words").partition("| --- |")[2], re.MULTILINE)
    assert words == sorted(set(words)) and len(words) == 20
    sources = "\n".join(path.read_text() for path in (ROOT / "worldgym").rglob("*.py"))
    assert [word for word in words if not re.search(rf"\b{word}", sources)] == []


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="only a checkout knows what is tracked")
def test_every_folder_is_on_the_map():
    tracked = subprocess.run(["git", "ls-files", "--", "*/*"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    folders = {line.partition("/")[0] for line in tracked.splitlines()} - {"worldgym", ".ci"}
    assert set(re.findall(r"^\| `(\w+)/` \|", section("Beside the package"), re.MULTILINE)) == folders
