"""Attacks by code: a file that names it, a module that is run, a package that runs when it is looked for."""

import json
import sys
import textwrap

import numpy as np
import pytest
from attack_toys import committed, git, read, sealed, write
from eval_toys import SUITE as TOY

from worldgym.errors import InputError
from worldgym.eval.protocols import sources
from worldgym.eval.running import trust
from worldgym.eval.running.sandbox import Guest, Limits
from worldgym.eval.running.verify import accepted, verify
from worldgym.leaderboard.check import check

HONEST = """
import numpy as np

class Mine:
    def generate(self, prefix, actions, seeds):
        rest = np.repeat(prefix[:, -1:], actions.shape[1] + 1 - prefix.shape[1], axis=1)
        return np.concatenate([prefix, rest], axis=1)
"""


def module(folder, name, text):
    (folder / f"{name}.py").write_text(textwrap.dedent(text))
    return f"{name}:Mine"


@pytest.fixture
def place(tmp_path, monkeypatch):
    folder = tmp_path / "place"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return folder


DANGEROUS = ["sys:exit", "os:abort", "http.server:test", "builtins:input", "antigravity:fly", "trap:Mine"]


@pytest.mark.parametrize("origin", DANGEROUS)
def test_what_a_file_names_is_not_run(boards, place, monkeypatch, origin):
    """Exit, abort, a server, a question at the terminal, a module that writes a file when it is imported: nothing happens."""
    module(place, "trap", "open('ran', 'w')\n" + HONEST)
    found = read(boards, "toy--sloppy")
    found["entry"].update(name="mine", origin=origin, source="module", weights_sha256=sources.sha256(origin), kind="model")
    path = write(boards, sealed(found))
    modules = set(sys.modules)
    findings = verify(path, sample=2)
    assert [f.agrees for f in findings if f.what in ("weights", "sample")] == [None, None], list(map(str, findings))
    assert "is not run" in next(f.says for f in findings if f.what == "weights")
    assert not (place / "ran").exists() and not {"trap", "antigravity"} & (set(sys.modules) - modules)
    problems = check(boards, sample=2)
    assert all("has the answers of" in problem for problem in problems)  # of toy/sloppy, whose rows these are


@pytest.mark.parametrize(
    "origin", ["hf://org/name/model.safetensors", "../../etc/passwd", "/dev/zero", "https://example.org/x"]
)
def test_an_address_is_not_followed(boards, origin, monkeypatch):
    from worldgym import zoo

    monkeypatch.setattr(zoo, "locate", lambda name: pytest.fail("something was looked for"))
    found = read(boards, "toy--sloppy")
    found["entry"].update(name="mine", origin=origin, weights_sha256="3" * 64)
    findings = verify(write(boards, sealed(found)), sample=2)
    assert next(f for f in findings if f.what == "weights").agrees is None


def test_a_folder_in_the_place_of_a_bundled_model(boards, place):
    """A pull request adds doom-rooms/token-nano/model.safetensors: the name must not lead there."""
    (place / "toy" / "sloppy").mkdir(parents=True)
    assert (
        next(f for f in verify(boards / "action-following-doom-rooms-v1/toy--sloppy/0.json") if f.what == "weights").agrees
        is None
    )


# --- the wall --------------------------------------------------------------------------------------------------------------


def question(rows=2):
    rng = np.random.default_rng(0)
    prefix = rng.integers(0, 256, (rows, 1, 8, 12, 3), dtype=np.uint8)
    return prefix, np.zeros((rows, 3, 8), np.int64), list(range(rows))


def test_a_guest_answers(place):
    """The honest twin: prompts in, frames out."""
    guest = Guest(module(place, "honest_twin", HONEST), TOY)
    prefix, actions, seeds = question()
    frames = guest.generate(prefix, actions, seeds)
    assert frames.shape == (2, 4, 8, 12, 3) and (frames == prefix).all() and guest.kind == "model"
    assert "honest_twin" not in sys.modules


PATCH = (
    HONEST
    + """
from worldgym.eval.metrics import action_following
from worldgym.eval.results import scores
action_following.confusions = lambda *a: 1 / 0
scores.of_rows = None
"""
)
HOSTILE = {
    "raises": ("import no_such_thing_at_all", "No module named"),
    "exits": ("import sys; sys.exit(0)", "ended without an answer"),
    "dies": ("import os; os.abort()", "ended without an answer"),
    "is killed": ("import os; os.kill(os.getpid(), 9)", "ended without an answer"),
    "hangs": ("import time; time.sleep(60)", "did not answer within 4 s"),
    "spins": ("while True: pass", "did not answer within 4 s"),
    "asks": ("input()", "raised EOFError"),
    "takes all memory": ("x = bytearray(1 << 38)", "raised MemoryError"),
    "deep": ("def f(): f()\nf()", "raised RecursionError"),
    "no class": ("x = 1", "raised InputError"),
    "lies in its answer": (
        "import os\n[os.write(fd, b'[]\\n') for fd in range(3, 9) if os.path.exists(f'/proc/self/fd/{fd}')]",
        "",
    ),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_module_costs_a_sentence(place, case):
    text, sentence = HOSTILE[case]
    name = module(place, "hostile", text)
    with pytest.raises(InputError) as error:
        Guest(name, TOY, limits=Limits(seconds=4))
    assert sentence in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400


ANSWERS = {
    "text": "return 'frames'",
    "none": "return None",
    "objects": "return np.array([object()])",
    "fewer": "return super().generate(prefix, actions, seeds)[:, :-1]",
    "floats": "return super().generate(prefix, actions, seeds).astype(float)",
    "huge": "return np.zeros((1 << 14, 1 << 10), np.uint8)",
    "a shape that is none": "class F:\n            shape = dtype = 'x'\n        return F()",
}


@pytest.mark.parametrize("case", ANSWERS)
def test_other_answers_than_frames(place, case):
    text = f"\nclass Other(Mine):\n    def generate(self, prefix, actions, seeds):\n        {ANSWERS[case]}\n"
    guest = Guest(module(place, "other", HONEST + text).replace("Mine", "Other"), TOY, limits=Limits(seconds=30))
    with pytest.raises(InputError) as error:
        guest.generate(*question())
    assert len(str(error.value)) < 400


def test_a_module_that_patches_the_evaluator_patches_its_own(boards, place):
    """The evaluator that judges is another process than the one that is patched."""
    from worldgym.eval.metrics import action_following
    from worldgym.eval.results import scores

    before = action_following.confusions, scores.of_rows
    name = module(place, "patching", PATCH)
    found = read(boards, "last-frame")
    found["entry"].update(name="mine", origin=name, source="module", kind="model", weights_sha256=sources.sha256(name))
    path = write(boards, sealed(found))
    findings = verify(path, model=name, sample=2)
    assert accepted(findings) and findings[-1].what == "sample", list(map(str, findings))  # it does repeat the last frame
    assert (action_following.confusions, scores.of_rows) == before and "patching" not in sys.modules
    for row in found["rows"]:
        row["predicted"] = dict(row["given"])
    from attack_toys import again

    assert not accepted(verify(write(boards, again(found)), model=name, sample=2))


def test_the_guest_has_no_network_and_sees_no_truth(place):
    """What can be seen from inside: a network of its own where the system allows one, and no array but the questions."""
    text = """
    import os, socket, sys

    def reachable():
        try:
            socket.create_connection(("127.0.0.1", PORT), 1).close()
            return True
        except OSError:
            return False
    """
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code = textwrap.dedent(text).replace("PORT", str(port)) + HONEST + "\nassert not reachable(), 'it has a network'\n"
        name = module(place, "curious", code)
        probe = Guest(module(place, "calm", HONEST), TOY)
        if not probe.alone:
            pytest.skip("this system gives no namespaces to programs")
        assert Guest(name, TOY).kind == "model"


# --- hashes ------------------------------------------------------------------------------------------------------------------


def test_looking_for_a_module_runs_nothing(place):
    """`find_spec("a.b")` runs a/__init__.py; this does not."""
    (place / "a").mkdir()
    (place / "a" / "__init__.py").write_text("open('ran', 'w')")
    (place / "a" / "b.py").write_text(HONEST)
    assert set(sources.files_of("a.b")) == {"a", "a.b"} and sources.sha256("a.b:Mine") is not None
    assert not (place / "ran").exists()


def test_a_hash_covers_local_imports(place):
    """The class is the same to the letter; what it imports, at any depth and in functions, is not."""
    name = module(place, "one", "import numpy, torch, worldgym\ndef f():\n    from two import x\n" + HONEST)
    (place / "two.py").write_text("from pack.three import y as x\n")
    (place / "pack").mkdir()
    (place / "pack" / "three.py").write_text("y = 1\n")
    before = sources.sha256(name)
    assert set(sources.files_of("one")) == {"one", "two", "pack.three"}  # neither ours nor what is installed
    (place / "pack" / "three.py").write_text("y = 2\n")
    assert sources.sha256(name) != before
    from worldgym import files

    alone = module(place, "alone", HONEST)
    assert sources.sha256(alone) == files.sha256(place / "alone.py")  # as it always was


def test_pinned_code_is_that_of_the_commit_before(boards, place):
    """A pull request may not change the code that it is checked with; what was here before runs, behind the wall."""
    module(place, "pinned", "import beside\n" + HONEST)
    (place / "beside.py").write_text("x = 1\n")
    committed(place)
    assert trust.Pins("HEAD").hold("pinned:Mine") and not trust.Pins().hold("pinned:Mine")
    (place / "beside.py").write_text("x = 2\n")
    assert not trust.Pins("HEAD").hold("pinned:Mine")
    git(place, "commit", "-qam", "the change itself")
    assert not trust.Pins("HEAD~1").hold("pinned:Mine")
    (place / "new.py").write_text(HONEST)
    assert not trust.Pins("HEAD").hold("new:Mine")


def test_another_class_than_the_one_that_answered(boards, place):
    name = module(place, "later", HONEST)
    found = read(boards, "last-frame")
    found["entry"].update(name="mine", origin=name, source="module", kind="model", weights_sha256=sources.sha256(name))
    path = write(boards, sealed(found))
    assert accepted(verify(path))
    module(place, "later", HONEST + "\n# changed\n")
    assert [f.what for f in verify(path) if f.agrees is False] == ["weights"]
    assert json.loads(path.read_text())["entry"]["origin"] == name


def test_a_module_that_replays_the_game_is_reported(boards, place):
    """It answers with the truth, in other bytes, and who runs it sees its rows agree; that it models nothing is not seen."""
    from attack_toys import again

    from worldgym.leaderboard import entries

    text = """
    import eval_toys, numpy as np

    class Mine:
        def generate(self, prefix, actions, seeds):
            known = {task.prefix.tobytes(): task.truth for task in eval_toys.record(eval_toys.SUITE, 0, 6)}
            frames = np.stack([known[one.tobytes()] for one in prefix])
            frames[:, 1:, 1:] ^= 1
            return frames
    """
    name = module(place, "replays", text)
    found = read(boards, "truth")
    from worldgym.eval.protocols.action_following import ActionFollowing
    from worldgym.eval.results import suite as suites
    from worldgym.eval.running.trust import enter

    protocol = ActionFollowing(suites.load("action-following-doom-rooms-v1"))
    protocol.load_judges()
    entry = {"name": "mine", "origin": name, "source": "module", "sampling": {}}
    guest = enter(protocol, entry, named=name)
    tasks = protocol.tasks(0, 6)
    rows = protocol.answer(guest, tasks, [0] * 6).rows
    found["rows"] = [{**row, "task_sha256": old["task_sha256"]} for row, old in zip(rows, found["rows"], strict=True)]
    found["entry"].update(entry, kind="model", weights_sha256=sources.sha256(name))
    path = write(boards, again(found))
    assert accepted(verify(path, model=name, sample=2))
    entered = next(e for e in entries.load(boards)[0].entries if e.name == "mine")
    assert entered.standing.list == "reported" and any("PSNR is that of the true video" in flag for flag in entered.flags)
