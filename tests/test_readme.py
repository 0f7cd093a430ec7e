"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parent.parent / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_there_is_code():
    assert len(BLOCKS) >= 2


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_the_code_runs(block):
    names = {}
    exec(block, names)
    for value in names.values():
        if hasattr(value, "close") and hasattr(value, "step"):
            value.close()


def test_the_two_commands_are_there():
    assert "pip install -e . && python -m worldgym.eval" in README
    assert 'pip install -e ".[dev]" && pytest' in README
