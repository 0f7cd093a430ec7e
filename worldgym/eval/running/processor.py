"""One arithmetic on every x86-64 processor: `everywhere_the_same()` starts a program again with AVX2's instructions.

Questions of the reward suite hold videos that a model makes, and those are compared bit for bit. A processor with AVX-512
rounds differently unless it is told not to, and it must be told before torch is loaded.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "MKL_CBWR": "AVX2",
}


def has_avx512(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Does this processor know AVX-512? False where the system does not tell."""
    try:
        return "avx512f" in cpuinfo.read_text()
    except OSError:
        return False


def everywhere_the_same() -> None:
    """Replace a program `python -m worldgym.…` by itself under AVX2, on a processor with more; else do nothing."""
    program = getattr(sys.modules["__main__"], "__spec__", None)
    ours = program is not None and program.name.startswith("worldgym.")
    wanted = any(os.environ.get(name) != value for name, value in AVX2.items())
    if ours and wanted and has_avx512() and "torch" not in sys.modules:
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **AVX2})
