"""What a resumed evaluation compares: the local modules behind somebody's own class, however they are imported."""

import importlib
import sys

import pytest

from worldgym.errors import InputError
from worldgym.eval.protocols.local_sources import local_sources
from worldgym.eval.running.parts import Parts, Piece

FILES = {
    "my_model.py": "import my_helper\nfrom my_package import inner\nimport numpy, json, worldgym.errors\n"
    "class Model:\n    def generate(self):\n        import my_late\n",
    "my_helper.py": "from my_deep import x\nimport my_model\n",  # a circle
    "my_deep.py": "x = 1\n",
    "my_late.py": "y = 1\n",
    "my_package/__init__.py": "from . import inner\n",
    "my_package/inner.py": "from .other import z\n",
    "my_package/other.py": "z = 1\n",
    "my_stranger.py": "nobody imports this\n",
}


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    importlib.invalidate_caches()
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("my_")]:
        del sys.modules[name]


@pytest.mark.parametrize("changed", ["my_model.py", "my_helper.py", "my_deep.py", "my_late.py", "my_package/other.py"])
def test_every_local_module_counts(place, changed: str):
    model = importlib.import_module("my_model").Model
    before = local_sources(model)
    names = {name.removesuffix(".py").removesuffix("/__init__").replace("/", ".") for name in FILES}
    assert set(before) == names - {"my_stranger"} and before == local_sources(model())
    (place / "my_stranger.py").write_text("changed")
    assert local_sources(model) == before
    (place / changed).write_text(FILES[changed] + "# changed\n")
    module = changed.removesuffix(".py").replace("/", ".")
    after = local_sources(model)
    assert {name for name in after if after[name] != before[name]} == {module}


def test_ours_and_installed_modules_do_not_count():
    import numpy as np

    from worldgym.rewards import IDMReward

    assert local_sources(IDMReward) == local_sources(np.ndarray) == local_sources(dict) == {}


def test_a_changed_module_starts_again_and_says_so(tmp_path, capsys):
    def parts(modules, entrant="mine"):
        found = Parts(tmp_path, {"entrant": entrant, "modules": modules})
        found.introduce(entrant, modules)
        return found

    first = parts({"helper": "1", "model": "2"})
    first.write(0, Piece([{"id": "a"}], 1.0, {}))
    assert parts({"helper": "1", "model": "2"}).read(0) is not None and capsys.readouterr().err == ""
    assert parts({"helper": "3", "model": "2"}).read(0) is None
    assert capsys.readouterr().err == "'mine' changed since the run was stopped (helper): its clips are made again\n"
    parts({"other": "1"}, "yours")
    assert capsys.readouterr().err == ""
    (first.folder / "entry.json").write_text("[]")  # somebody's damage is no reason to stop
    parts({"helper": "3", "model": "2"})


def test_a_preset_of_another_algorithm_is_named():
    from worldgym.train.presets import PRESETS, preset

    for algorithm, name in (("grpo", "worldcompass-nano"), ("draft", "worldcompass-nano"), ("nft", "rlir-token-nano")):
        home = next(each for each in PRESETS if name in PRESETS[each])
        with pytest.raises(
            InputError, match=f"'{name}' is a preset of {home}, not of {algorithm}; type: python -m worldgym.train {home}"
        ):
            preset(algorithm, name)
    with pytest.raises(InputError, match="did you mean"):
        preset("grpo", "rlir-token-nana")
