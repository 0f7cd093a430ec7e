"""A game engine in a process of its own: `Engine`.

ViZDoom's engine outlives a Python that is killed, its objects hang in forked processes, and it makes a folder wherever its
maker stands. So `worldgym.worlds.engine_process` holds it, and the two talk through a connection: whatever happens to this
process, the connection breaks, and the other side ends its engine and itself.
"""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import weakref
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from worldgym.errors import InputError

PROGRAM = Path(__file__).with_name("engine_process.py")
GRACE = 2.0  # seconds that an engine gets to end by itself


class Engine:
    """One running game. It belongs to the process that made it and ends with it, at the latest a second later.

    Args:
        scenario: file name in ViZDoom's scenarios folder. map_name: map in that file.
        buttons: names of ViZDoom's buttons, in the order of an action.
        variables: names of the game variables that every look returns.
    """

    def __init__(self, scenario: str, map_name: str, buttons: list[str], variables: list[str]):
        ours, theirs = socket.socketpair()
        with theirs:
            words = [sys.executable, "-S", str(PROGRAM), str(theirs.fileno()), str(os.getpid())]
            self._process = subprocess.Popen(
                words,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,  # the engine talks; an inherited pipe would also never be closed for its reader
                cwd=tempfile.gettempdir(),  # the engine makes a folder where it stands
                start_new_session=True,  # Ctrl-C and a closed terminal are for this process
            )
        self._connection = Connection(ours.detach())
        self._owner, self._number, self._lock = os.getpid(), 0, threading.Lock()
        self._end = weakref.finalize(self, _end, self._process, self._connection, self._owner)
        path = [os.path.abspath(place) for place in sys.path]
        self._exchange({"path": path, "scenario": scenario, "map_name": map_name, "buttons": buttons, "variables": variables})

    @property
    def open(self) -> bool:
        """Whether it can still be asked."""
        return self._end.alive

    def ask(self, name: str, *arguments: Any) -> Any:
        """The answer to a command of `engine_process.COMMANDS`.

        Raises:
            InputError: the engine was closed or has died, or another process made it.
        """
        if os.getpid() != self._owner:
            raise InputError(
                f"this game belongs to process {self._owner}, which made it, and this is process {os.getpid()}; make a game "
                "of its own here, or a copy with copy.deepcopy()"
            )
        with self._lock:
            self._number += 1
            return self._exchange((self._number, name, arguments))

    def close(self) -> None:
        """End the engine; in another process than its maker's, only let go of it."""
        self._end()

    def _exchange(self, message: Any) -> Any:
        try:
            self._connection.send(message)
            number, answer = self._connection.recv()
        except (EOFError, OSError):
            self.close()
            raise InputError("the game's engine has ended; make the environment again") from None
        except BaseException:
            self.close()  # interrupted half-way: the answer would be taken for the next one
            raise
        if number < 0:
            self.close()
            raise InputError(f"the game's engine stopped with {answer!r}; make the environment again")
        return answer


def _end(process: subprocess.Popen, connection: Connection, owner: int) -> None:
    with contextlib.suppress(OSError):
        if os.getpid() == owner:
            connection.send((0, "close", ()))
    connection.close()
    if os.getpid() != owner:
        process.returncode = 0  # nobody's child here, so there is nothing to wait for
        return
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()  # the engine dies with its process
        process.wait()
