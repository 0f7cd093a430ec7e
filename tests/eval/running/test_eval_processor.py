"""On a processor with AVX-512 a check starts again under AVX2; elsewhere, and in anybody's own program, nothing happens."""

import os
import sys
from types import SimpleNamespace

import pytest

from worldgym.eval.running import processor


class Started(Exception):
    pass


@pytest.fixture
def program(monkeypatch):
    """`python -m worldgym.eval --verify x` on a processor with AVX-512, before torch is loaded; what it is replaced by."""
    found = []

    def replace(path, arguments, environment):
        found.append((arguments, environment))
        raise Started

    monkeypatch.setattr(os, "execve", replace)
    monkeypatch.setattr(processor, "has_avx512", lambda: True)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "worldgym.eval", "--verify", "x"])
    monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=SimpleNamespace(name="worldgym.eval.__main__")))
    monkeypatch.delitem(sys.modules, "torch", raising=False)
    for name in processor.AVX2:
        monkeypatch.delenv(name, raising=False)
    return found


def test_it_starts_again_once(program, monkeypatch):
    with pytest.raises(Started):
        processor.everywhere_the_same()
    (arguments, environment), *_ = program
    assert arguments[1:] == ["-m", "worldgym.eval", "--verify", "x"]
    assert all(environment[name] == value for name, value in processor.AVX2.items())
    for name, value in processor.AVX2.items():
        monkeypatch.setenv(name, value)
    processor.everywhere_the_same()


@pytest.mark.parametrize("case", ["another program", "a prompt", "no AVX-512", "torch is loaded"])
def test_nothing_happens_elsewhere(program, monkeypatch, case):
    if case == "another program":
        monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=SimpleNamespace(name="pytest.__main__")))
    elif case == "a prompt":
        monkeypatch.setitem(sys.modules, "__main__", SimpleNamespace(__spec__=None))
    elif case == "no AVX-512":
        monkeypatch.setattr(processor, "has_avx512", lambda: False)
    else:
        monkeypatch.setitem(sys.modules, "torch", SimpleNamespace())
    processor.everywhere_the_same()
    assert not program


def test_who_knows_avx512(tmp_path):
    (tmp_path / "cpuinfo").write_text("flags : fpu avx avx2 avx512f avx512dq\n")
    assert processor.has_avx512(tmp_path / "cpuinfo") and not processor.has_avx512(tmp_path / "none")
    (tmp_path / "cpuinfo").write_text("flags : fpu avx avx2\n")
    assert not processor.has_avx512(tmp_path / "cpuinfo")
