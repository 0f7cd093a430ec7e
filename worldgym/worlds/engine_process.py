"""The other end of `worldgym.worlds.engine`: a program of its own that plays one game and ends with whoever started it.

Started as `python -S engine_process.py CONNECTION OWNER`: the number of an open connection and the process id of its owner.
It ends when it is told to, when the connection breaks, and when its owner is gone, however that died: another process that was
forked from the owner may still hold the connection open. It imports nothing of this library, so that it starts quickly.
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

PATIENCE = 0.5  # seconds between two looks for the owner
SHARED = Path("/dev/shm")  # where Linux keeps shared memory by name
# Run in the engine's place: the kernel kills the engine when this process ends, even by SIGKILL; 1 is PR_SET_PDEATHSIG.
LAUNCHER = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9)
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.argv[2], sys.argv[2:])
"""


def main() -> None:
    """Play what comes through the connection until nobody is there any more."""
    connection, owner = Connection(int(sys.argv[1])), int(sys.argv[2])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the owner
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    start = connection.recv()
    sys.path[:] = start.pop("path")
    game = None
    with suppress(EOFError, OSError):  # the owner is gone
        try:
            game = _start(**start)
            connection.send((0, None))
            _serve(game, connection, owner)
        except Exception as error:  # whatever the engine has to say reaches the user as a sentence
            connection.send((-1, f"{type(error).__name__}: {error}"))
        finally:
            if game is not None:
                game.close()


def _serve(game: Any, connection: Connection, owner: int) -> None:
    while True:
        while not connection.poll(PATIENCE):
            if os.getppid() != owner:
                return
        number, name, arguments = connection.recv()
        if name == "close":
            return
        connection.send((number, COMMANDS[name](game, *arguments)))


def _episode(game: Any, seed: int, commands: list[str], nothing: list[float], settle: int, still: int) -> tuple:
    game.set_seed(seed)
    game.new_episode()
    for command in commands:
        game.send_game_command(command)
    game.make_action(nothing, settle)
    for _ in range(still):
        game.make_action(nothing, 1)
    return _look(game)


def _act(game: Any, buttons: list[float], tics: int) -> tuple:
    game.make_action(buttons, tics)
    return _look(game)


def _look(game: Any) -> tuple:
    """Screen (H, W, 3) uint8 and game variables; (None, None) when the episode is over."""
    if game.is_episode_finished():
        return None, None
    state = game.get_state()
    return state.screen_buffer, state.game_variables.tolist()


def _lines(game: Any) -> list[tuple[float, ...]]:
    """x1, y1, x2, y2 of every line that blocks."""
    sectors = game.get_state().sectors
    return [(line.x1, line.y1, line.x2, line.y2) for sector in sectors for line in sector.lines if line.is_blocking]


COMMANDS = {"episode": _episode, "act": _act, "lines": _lines}


def _start(scenario: str, map_name: str, buttons: list[str], variables: list[str]) -> Any:
    import vizdoom as vzd  # found only now that the owner's search path is here

    game = vzd.DoomGame()
    game.set_doom_scenario_path(os.path.join(vzd.scenarios_path, scenario))
    game.set_doom_map(map_name)
    game.set_doom_config_path(os.devnull)  # else the engine writes its settings into the user's folder
    game.set_screen_resolution(vzd.ScreenResolution.RES_256X144)
    game.set_screen_format(vzd.ScreenFormat.RGB24)
    game.set_sectors_info_enabled(True)
    game.set_render_hud(False)
    game.set_render_crosshair(False)
    game.set_render_messages(False)
    game.set_window_visible(False)
    game.set_sound_enabled(False)
    game.set_mode(vzd.Mode.PLAYER)
    game.set_episode_timeout(0)
    game.set_available_buttons([getattr(vzd.Button, name) for name in buttons])
    game.set_available_game_variables([getattr(vzd.GameVariable, name) for name in variables])
    game.add_game_args("+sv_cheats 1 +sv_infiniteammo 1")
    engine = os.path.join(os.path.dirname(vzd.__file__), "vizdoom")
    with _launcher(engine) as launcher:
        if launcher is not None:
            game.set_vizdoom_path(launcher)
        game.init()
    _forget_names()
    return game


@contextmanager
def _launcher(engine: str) -> Iterator[str | None]:
    """A program that starts the engine so that it dies with this process; None where there is no way to make one."""
    folder = tempfile.mkdtemp(prefix="worldgym-engine-")
    try:
        path = Path(folder, "vizdoom")
        words = [sys.executable, "-IS", "-c", LAUNCHER, str(os.getpid()), engine]
        path.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        path.chmod(0o700)
        usable = sys.platform == "linux" and os.path.exists(engine) and os.access(path, os.X_OK)
        yield str(path) if usable else None
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _forget_names() -> None:
    """Take the names of the shared memory away: both sides have it open, and without a name nothing can be left over."""
    for pid in _children():
        with suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            instance = words[words.index(b"+viz_instance_id") + 1].decode() if b"+viz_instance_id" in words else None
            for path in SHARED.glob(f"ViZDoom*{instance}") if instance else ():
                path.unlink(missing_ok=True)


def _children() -> list[str]:
    return [pid for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()]


if __name__ == "__main__":
    del sys.path[0]  # this file's folder holds no modules for the outside
    main()
