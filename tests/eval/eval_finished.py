"""One finished run of the toy suite, for tests that only read its files."""

import contextlib
import hashlib

import pytest
from eval_toys import SUITE, Obedient, PixelJudge, record, suite_text

from worldgym.errors import unknown
from worldgym.eval.protocols import action_following, entries
from worldgym.eval.results import provenance
from worldgym.eval.running import job
from worldgym.eval.running.arguments import Job

CLIPS = 6


class Sloppy(Obedient):
    """Turns one bin too far."""

    def __init__(self):
        super().__init__(wrong=("yaw",))


MODELS = {SUITE.judge: PixelJudge, "toy/good": Obedient, "toy/sloppy": Sloppy}


def load(name, device="cpu"):
    if name not in MODELS:
        raise unknown("model", name, MODELS)
    return MODELS[name]()


def toy_suite(folder):
    """The toy suite as a file; its path."""
    path = folder / "toy-v1.toml"
    path.write_text(suite_text(CLIPS, 100, 20))
    return str(path)


@contextlib.contextmanager
def _toys_for_models():
    """The zoo holds the toys; only ever around one test, so that no other test meets them."""
    from worldgym import zoo

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(zoo, "load", load)
        patch.setattr(zoo, "names", lambda: sorted(MODELS))
        patch.setattr(entries, "weights", lambda name: hashlib.sha256(load(name) and name.encode()).hexdigest())
        patch.setattr(action_following, "record", record)
        patch.setattr(provenance, "commit", lambda: "a" * 40)
        yield


@pytest.fixture(scope="session")
def finished_once(tmp_path_factory):
    """The run itself, made once."""
    folder = tmp_path_factory.mktemp("finished")
    models = ("toy/good", "toy/sloppy", "last-frame")
    with _toys_for_models():
        job.run(Job(toy_suite(folder), models, device="cpu", out=str(folder / "out"), batch=4, save_clips=True))
    return folder


@pytest.fixture
def finished(finished_once):
    """Folder of a run of the toy suite with saved clips: truth, shuffled, toy/good, toy/sloppy, last-frame; its suite."""
    with _toys_for_models():
        yield finished_once
