"""What all tests may ask for: `program`, a file beside the package as a module; and a cache of their own."""

import importlib.util
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
ROOT = TESTS.parent
TOYS = ("*_toys.py", "eval_finished.py", "gaussian_world.py")
sys.path += sorted({str(path.parent) for pattern in TOYS for path in TESTS.rglob(pattern)})  # any test may use any toy


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """What the library remembers of clip stores goes to a folder of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def program():
    """`program("benchmarks/camera.py")`: the module behind a path from the repository's root, loaded once."""
    loaded = {}

    def load(path):
        name = "program_" + path.removesuffix(".py").replace("/", "_")
        if name not in loaded:
            spec = importlib.util.spec_from_file_location(name, ROOT / path)
            loaded[name] = sys.modules[name] = importlib.util.module_from_spec(spec)  # dataclasses look there for types
            sys.path.append(str((ROOT / path).parent))  # where Python finds its neighbours when it is the program
            spec.loader.exec_module(loaded[name])
            sys.path.pop()
        return loaded[name]

    yield load
    for name in loaded:
        del sys.modules[name]
