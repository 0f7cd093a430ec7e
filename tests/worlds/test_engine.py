"""Engines end with the process that made them, whatever ends it; they stay away from its folder, its children and its signals.

Ways of dying 1 to 11 are one parameter each; `pytest -m long` runs them all, the default run three.
"""

import copy
import gc
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path

import cloudpickle
import gymnasium as gym
import numpy as np
import psutil
import pytest

import worldgym  # noqa: F401  registers the ids
from worldgym.actions import DOOM
from worldgym.errors import InputError
from worldgym.worlds.doom import DoomConfig, DoomWorld

GAME = "worldgym/DoomRooms-Game-v0"
ROOT = Path(__file__).parents[2]
PATIENCE = 5.0  # seconds after which nothing may be left
MARK = "WORLDGYM_TEST_MARK"
START = f"""
import os, signal, sys, threading, time, gymnasium as gym, worldgym
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background has them ignored
signal.signal(signal.SIGHUP, signal.SIG_DFL)
def game():
    env = gym.make("{GAME}")
    env.reset(seed=0)
    return env
def ready():
    print("ready", flush=True)
    sys.stdin.readline()
"""
VECTOR = f"""
if __name__ == "__main__":
    envs = gym.vector.AsyncVectorEnv([lambda: gym.make("{GAME}")] * 2)
    envs.reset(seed=0)
"""
# name: program, and the signal that ends it (None: it goes on by itself)
WAYS = {
    "end without close": ("env = game(); ready()", None),
    "uncaught exception": ("env = game(); ready(); 1 / 0", None),
    "SIGINT": ("env = game(); ready()", signal.SIGINT),
    "SIGTERM": ("env = game(); ready()", signal.SIGTERM),
    "SIGKILL": ("env = game(); ready()", signal.SIGKILL),
    "SIGHUP": ("env = game(); ready()", signal.SIGHUP),
    "os._exit": ("env = game(); ready(); os._exit(3)", None),
    "AsyncVectorEnv.close(terminate=True)": (f"{VECTOR}    ready(); envs.close(terminate=True); time.sleep(60)", None),
    "daemon thread": (
        "def hold():\n    env = game(); ready(); done.set()\n    while True: env.step(env.action_space.sample())\n"
        "done = threading.Event(); threading.Thread(target=hold, daemon=True).start(); done.wait()",
        None,
    ),
    "timeout": ("", signal.SIGTERM),
    "parent of a worker killed": (f"{VECTOR}    ready()", signal.SIGKILL),
    "a forked child keeps the connection": (
        "env = game()\nif os.fork() == 0: time.sleep(30); os._exit(0)\nready()",
        signal.SIGKILL,
    ),
}
QUICK = ("end without close", "SIGKILL", "daemon thread")


def processes(mark: str) -> list[psutil.Process]:
    """All that inherited the mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def engines(mark: str) -> dict[int, str]:
    """Process id and shared-memory name of every engine."""
    found = {}
    for process in processes(mark):
        try:
            words = process.cmdline()
        except psutil.Error:  # gone in this moment
            continue
        if "+viz_instance_id" in words:
            found[process.pid] = words[words.index("+viz_instance_id") + 1]
    return found


def until(true, seconds: float) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.05)
    return True


def start(way: str, mark: str, folder: Path) -> subprocess.Popen:
    words = [sys.executable, "-c", START + WAYS[way][0]]
    if way == "timeout":
        words = ["timeout", "100", sys.executable, "-m", "worldgym.record", "--workers", "2", "--clips", "500", "--out", "d"]
    return subprocess.Popen(
        words,
        env={**os.environ, MARK: mark, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    "way", [pytest.param(way, marks=() if way in QUICK else pytest.mark.long, id=way.replace(" ", "-")) for way in WAYS]
)
def test_nothing_is_left_after(way: str, tmp_path: Path):
    mark = uuid.uuid4().hex
    with start(way, mark, tmp_path) as process:
        try:
            wanted = 2 if "VectorEnv" in WAYS[way][0] or way == "timeout" else 1
            if way != "timeout":
                assert process.stdout.readline() == b"ready\n"
            assert until(lambda: len(engines(mark)) >= wanted, 60)
            known = engines(mark)
            number = WAYS[way][1]
            if number is not None:
                process.send_signal(number)
            else:
                process.stdin.write(b"go on\n")
                process.stdin.flush()
            ended = "terminate" in way or "forked" in way  # its process, or its child, lives on
            if not ended:
                process.wait(30)
            assert until(lambda: not engines(mark), PATIENCE), f"engines {known} live on"
            if not ended:
                assert until(lambda: not processes(mark), PATIENCE), processes(mark)
            assert not [path for path in Path("/dev/shm").glob("*") if path.name.endswith(tuple(known.values()))]
        finally:
            for left in processes(mark):
                left.kill()


def test_an_engine_whose_own_process_is_killed_ends_too(game: gym.Env):
    """The other side of the connection: nothing is left, and the environment says what happened instead of hanging."""
    program = game.unwrapped._engine._process
    engine = psutil.Process(program.pid).children()
    program.kill()
    assert len(engine) == 1 and until(lambda: not engine[0].is_running(), PATIENCE)
    for use in (lambda: game.step(DOOM.null), lambda: game.reset(seed=0), game.unwrapped.blocking_lines):
        with pytest.raises(InputError, match="the game's engine has ended; make the environment again"):
            use()


def test_an_engine_that_crashed_is_a_sentence(game: gym.Env):
    psutil.Process(game.unwrapped._engine._process.pid).children()[0].kill()
    with pytest.raises(InputError, match="the game's engine"):
        game.reset(seed=1)
    with pytest.raises(InputError, match="make the environment again"):
        game.step(DOOM.null)


def test_a_closed_game_is_a_sentence(game: gym.Env):
    game.close()
    for use in (lambda: game.reset(seed=0), lambda: game.step(DOOM.null), game.unwrapped.blocking_lines):
        with pytest.raises(InputError, match="the game was closed; make the environment again"):
            use()
    game.close()  # twice is harmless


def in_child(act) -> int:
    """Exit status of a forked child that runs `act`; -1 when it hangs."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            act()
            status = 0
        finally:
            os._exit(status)
    for _ in range(400):
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return -1


@pytest.fixture
def game():
    env = gym.make(GAME)
    env.reset(seed=0)
    yield env
    env.close()


@pytest.mark.parametrize("name", ["collected", "closed", "refused", "copied"])
def test_a_forked_child_does_not_touch_its_parents_game(name: str):
    holder = [gym.make(GAME)]
    holder[0].reset(seed=0)
    expected = copy.deepcopy(holder[0]).step(DOOM.null)[0]

    def collect():
        holder.clear()
        gc.collect()

    def refuse():
        with pytest.raises(InputError, match="this game belongs to process"):
            holder[0].step(DOOM.null)
        with pytest.raises(InputError, match="this game belongs to process"):
            holder[0].reset(seed=1)

    def copied():
        np.testing.assert_array_equal(copy.deepcopy(holder[0]).step(DOOM.null)[0], expected)

    acts = {"collected": collect, "closed": lambda: holder[0].close(), "refused": refuse, "copied": copied}
    assert in_child(acts[name]) == 0
    np.testing.assert_array_equal(holder[0].step(DOOM.null)[0], expected)
    holder[0].close()


def test_making_a_game_stays_in_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """While another thread makes games, relative paths mean what they meant."""
    monkeypatch.chdir(tmp_path)
    seen, stop = set(), threading.Event()

    def watch():
        while not stop.is_set():
            seen.add(os.getcwd())

    thread = threading.Thread(target=watch)
    thread.start()
    for make in (lambda: gym.make(GAME), DoomWorld, lambda: gym.make_vec(GAME, 1, vectorization_mode="sync")):
        env = make()
        env.reset(seed=0)
        env.close()
    stop.set()
    thread.join()
    assert seen == {str(tmp_path)} and list(tmp_path.iterdir()) == []


def test_games_are_made_by_several_threads_at_once():
    frames = {}

    def make(seed: int):
        env = DoomWorld()
        frames[seed] = env.reset(seed=7)[0]
        env.close()

    threads = [threading.Thread(target=make, args=(seed,)) for seed in range(3)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert all((frames[seed] == frames[0]).all() for seed in range(3))


@pytest.mark.parametrize(
    "again",
    [copy.deepcopy, lambda env: pickle.loads(pickle.dumps(env)), lambda env: cloudpickle.loads(cloudpickle.dumps(env))],
    ids=["deepcopy", "pickle", "cloudpickle"],
)
@pytest.mark.parametrize("steps", [None, 0, 5])
def test_a_copy_goes_on_where_it_was_copied(again, steps: int | None):
    env = gym.make(GAME, config=DoomConfig(tics=4), render_mode="rgb_array")
    random = np.random.default_rng(0).integers(0, DOOM.sizes, (9, len(DOOM.sizes)))
    if steps is not None:
        env.reset(seed=11)
        for action in random[:steps]:
            env.step(action)
    other = again(env)
    if steps is not None:
        np.testing.assert_array_equal(other.render(), env.render())
        for action in random[steps : steps + 2]:
            (frame, *_, info), (same, *_, known) = env.step(action), other.step(action)
            np.testing.assert_array_equal(frame, same)
            np.testing.assert_array_equal(info["pose"], known["pose"])
    np.testing.assert_array_equal(env.reset()[0], other.reset()[0])  # the next seed is the same as well
    env.close(), other.close()


def test_signals_stay_the_users(game: gym.Env):
    """The library sets no handlers."""
    code = (
        "import signal, gymnasium as gym, worldgym\n"
        "numbers = [n for n in signal.valid_signals() if n not in (9, 19)]\n"
        "before = [signal.getsignal(n) for n in numbers]\n"
        f"env = gym.make('{GAME}'); env.reset(seed=0)\n"
        "assert [signal.getsignal(n) for n in numbers] == before\n"
        "caught = int([line.split()[1] for line in open('/proc/self/status') if line.startswith('SigCgt')][0], 16)\n"
        "assert caught & (1 << 14 | 1) == 0, hex(caught)\n"  # SIGTERM and SIGHUP act as ever
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})


def test_keys_play_the_game(game: gym.Env):
    keys = game.unwrapped.get_keys_to_action()
    assert all(game.action_space.contains(action) for action in keys.values())
    np.testing.assert_array_equal(keys[()], DOOM.null)
    np.testing.assert_array_equal(keys[("w",)], DOOM.action(move="forward"))
    np.testing.assert_array_equal(keys[("a", "s")], DOOM.action(move="back", strafe="left"))
    assert (
        DOOM.camera[1].centers[keys[("l",)][DOOM.column("yaw")]]
        > 0
        > DOOM.camera[0].centers[keys[("i",)][DOOM.column("pitch")]]
    )


def test_pictures_before_the_first_reset_are_a_sentence():
    env = DoomWorld(render_mode="rgb_array")
    for use in (env.render, env.snapshot):
        with pytest.raises(InputError, match="call reset"):
            use()
    env.close()
    with pytest.raises(InputError, match="render_mode is 'human', but the game knows"):
        DoomWorld(render_mode="human")
