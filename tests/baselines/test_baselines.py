"""The single-file programs: they start, learn with public names only, and the template stays short."""

import ast
import importlib
import re
from pathlib import Path

import pytest
import torch

import worldgym

FOLDER = Path(__file__).parents[2] / "baselines"
PROGRAMS = sorted(FOLDER.glob("*.py"))
NAMES = [path.stem for path in PROGRAMS]
OWN = ["preference", "reinforce", "rlir_diffusion", "rlir_draft", "rlir_token", "rlvr_world", "worldcompass"]
TINY = {"iterations": 1, "frames": 2, "group": 2}


def imports(path):
    """(module, name or None) of everything of ours that a file imports."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.module, alias.name) for alias in node.names)


def test_the_list_is_whole():
    """Every program of the list is there, and the README tells of every program that is there."""
    assert set(OWN) <= set(NAMES)
    told = set(re.findall(r"(\w+)\.py\b", (FOLDER / "README.md").read_text()))
    assert not set(NAMES) - told


@pytest.mark.parametrize("path", PROGRAMS, ids=NAMES)
def test_imports_are_public_names(path):
    ours = [(module, name) for module, name in imports(path) if module.split(".")[0] == "worldgym"]
    assert ours
    for module, name in ours:
        public = [part for part in (*module.split("."), *([name] if name else []))]
        assert not any(part.startswith("_") for part in public), f"{module}.{name} is private"
        if name:
            assert hasattr(importlib.import_module(module), name) or importlib.util.find_spec(f"{module}.{name}")


@pytest.mark.parametrize("path", PROGRAMS, ids=NAMES)
def test_attributes_are_public_names(path):
    """No `thing._private` either."""
    private = [
        n.attr for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Attribute) and n.attr.startswith("_")
    ]
    assert not [name for name in private if not name.startswith("__")]


@pytest.mark.parametrize("name", OWN)
def test_the_header_tells_command_hardware_time_and_what_to_expect(name):
    lines = ast.get_docstring(ast.parse((FOLDER / f"{name}.py").read_text())).splitlines()
    for word in ("command", "hardware", "time", "expected"):
        assert any(line.startswith(word) for line in lines), f"{name}.py does not say {word}"


def test_the_template_is_under_100_lines():
    assert len((FOLDER / "reinforce.py").read_text().splitlines()) < 100


@pytest.fixture(scope="module")
def reinforce(program):
    return program("baselines/reinforce.py")


def test_the_template_learns_and_its_model_loads(reinforce, tmp_path):
    path = str(tmp_path / "model.safetensors")
    rewards = reinforce.train(reinforce.Arguments(**{**TINY, "group": 8}, prompts=2, source=toy_prompts(), out=path))
    assert len(rewards) == 1 and 0 <= rewards[0] <= 1
    before, after = (worldgym.load(name).model.state_dict() for name in ("doom-rooms/token-nano", path))
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_the_template_repeats_for_a_seed(reinforce):
    runs = [reinforce.train(reinforce.Arguments(**TINY, prompts=1, source=toy_prompts())) for _ in range(2)]
    assert runs[0] == runs[1]


@pytest.mark.long
@pytest.mark.parametrize("name", ["preference", "rlir_diffusion", "rlir_token", "rlvr_world", "worldcompass"])
def test_the_others_run_one_iteration(name, program, tmp_path):
    module = program(f"baselines/{name}.py")
    more = {"best_of": 0, "group": 3} if name == "worldcompass" else {}
    path = str(tmp_path / "model.safetensors")
    assert len(module.train(module.Arguments(**{**TINY, **more}, prompts=toy_prompts(), prompt_batch=1, out=path))) == 1
    worldgym.load(path)


def toy_prompts():
    """Two recorded-looking tasks of two frames, without the game."""
    import numpy as np

    from worldgym.actions import DOOM
    from worldgym.types import Prompts

    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (2, 2, 56, 96, 3), np.uint8)
    actions = np.stack([random.integers(0, n, (2, 1)) for n in DOOM.sizes], -1)
    return Prompts(frames[:, :1].copy(), actions, frames, ("toy/0", "toy/1"))
