"""Threads in a forked process: `settle_threads`.

A process that was forked has the parent's OpenMP pool on its books but none of its threads: the first operation that torch
spreads over several threads waits for ever. One thread needs no pool.
"""

from __future__ import annotations

import os
from pathlib import Path

import torch

FORKED = 0x40  # Linux' PF_FORKNOEXEC: forked, and not yet another program

_LOADED_BY = os.getpid()
_settled: int | None = None  # the process that was looked at last


def settle_threads() -> None:
    """In a process that was forked, let torch compute on one thread from now on; elsewhere, and a second time, nothing.

    Called where an environment of this library is made, copied or reset, so that other forked processes of a user's program
    stay as they are.
    """
    global _settled
    if _settled == os.getpid():
        return
    _settled = os.getpid()
    if was_forked():
        torch.set_num_threads(1)


def was_forked() -> bool:
    """Whether this process is a copy of another one."""
    try:
        flags = Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[6]
    except OSError:  # not Linux: what can be known is whether this module was loaded by another process
        return os.getpid() != _LOADED_BY
    return bool(int(flags) & FORKED)
