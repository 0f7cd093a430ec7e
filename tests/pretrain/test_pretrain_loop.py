"""The loop: resuming, killing, stopping, and what it says about bad input."""

import errno
import json
import os
import random
import signal
import time
from pathlib import Path

import pretrain_toys as toys
import pytest
import torch

from worldgym.errors import InputError
from worldgym.models.files import checkpoint
from worldgym.pretrain import loop
from worldgym.pretrain.config import RunConfig
from worldgym.runs.report import read_log


def config(out: Path, **values) -> RunConfig:
    values = {"steps": 12, "optimizer": "muon", "device": "cpu", **values}
    return RunConfig(data=Path("-"), out=out, **values)


def train(out: Path, task=None, **values) -> dict[str, torch.Tensor]:
    path = loop.train(task or toys.ToyTask(), config(out, **values), "toy")
    return checkpoint.read(path)[2]


def stop_after(task: toys.ToyTask, step: int, number: int = signal.SIGTERM) -> toys.ToyTask:
    """The task, sending a signal to this process at that step."""
    plain = task.loss

    def loss(module, now, share):
        if now == step:
            os.kill(os.getpid(), number)
        return plain(module, now, share)

    task.loss = loss
    return task


def equal(one: dict, two: dict) -> bool:
    return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_training_learns(tmp_path):
    train(tmp_path / "short", steps=1)
    train(tmp_path / "long", steps=200)
    errors = [json.loads((tmp_path / n / "model.json").read_text())["scores"]["error"] for n in ("short", "long")]
    assert errors[1] < 0.2 * errors[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stopped_and_resumed_equals_uninterrupted(tmp_path, number):
    """Bit for bit: weights, averages, momenta, dropout, data order, running statistics."""
    whole = train(tmp_path / "whole")
    with pytest.raises(SystemExit) as stopped:
        train(tmp_path / "parts", stop_after(toys.ToyTask(), 4, number))
    assert stopped.value.code == 128 + number
    assert not (tmp_path / "parts" / "model.safetensors").exists()
    assert equal(whole, train(tmp_path / "parts", resume=True))
    runs = [checkpoint.read_tensors(tmp_path / n / "run.safetensors")[0] for n in ("whole", "parts")]
    assert equal(*runs)


def test_the_seed_decides(tmp_path):
    same = [train(tmp_path / str(i), seed=seed) for i, seed in enumerate((0, 0, 1))]
    assert equal(same[0], same[1])
    assert not equal(same[0], same[2])


def test_noise_is_a_function_of_seed_and_step(tmp_path):
    """What torch's generator gives in a step differs between steps and seeds, and not with what was drawn before the run."""

    def draws(out: Path, seed: int) -> list[float]:
        task, seen = toys.ToyTask(), []
        plain = task.loss
        task.loss = lambda *given: (seen.append(torch.rand(1).item()), plain(*given))[1]
        train(out, task, steps=3, seed=seed)
        return seen

    first = draws(tmp_path / "a", 0)
    torch.rand(7)
    assert draws(tmp_path / "b", 0) == first
    assert len({*first, *draws(tmp_path / "c", 1)}) == 6


def test_global_generators_are_untouched(tmp_path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    train(tmp_path / "run", steps=3)
    assert torch.equal(torch.rand(3), expected)


def test_signal_handlers_are_put_back(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    train(tmp_path / "run", steps=1)
    assert signal.getsignal(signal.SIGTERM) is before


class Clock(toys.ToyTask):
    """A task whose steps take one second each, and the clock that says so."""

    now = 0.0

    def loss(self, module, step, share):
        self.now += 1
        return super().loss(module, step, share)

    def monotonic(self):
        return self.now


def test_minutes_count_over_restarts(tmp_path, monkeypatch):
    """10 steps of a second, stopped after 5: the rest takes 5, and schedule and weights are those of an uninterrupted run."""
    minutes = {"steps": None, "minutes": 10 / 60}
    monkeypatch.setattr(loop, "time", clock := Clock())
    whole = train(tmp_path / "whole", clock, **minutes)
    monkeypatch.setattr(loop, "time", clock := Clock())
    with pytest.raises(SystemExit):
        train(tmp_path / "parts", stop_after(clock, 4), **minutes)
    monkeypatch.setattr(loop, "time", clock := Clock())
    assert equal(whole, train(tmp_path / "parts", clock, **minutes, resume=True))
    assert clock.now == 5
    card = json.loads((tmp_path / "parts" / "model.json").read_text())
    assert (card["steps"], card["minutes"]) == (10, 0.17)


def test_the_model_is_the_average(tmp_path):
    model = train(tmp_path / "run")
    run = checkpoint.read_tensors(tmp_path / "run" / "run.safetensors")[0]
    assert equal(model, {n.removeprefix("average/"): t for n, t in run.items() if n.startswith("average/")})
    assert not torch.equal(model["head.weight"], run["model/head.weight"])


def test_validation_does_not_disturb_training(tmp_path):
    assert equal(train(tmp_path / "none"), train(tmp_path / "often", validate_every=1e-9))


def test_log_has_every_validation_and_no_doubles_after_a_resume(tmp_path):
    with pytest.raises(SystemExit):
        train(tmp_path / "run", stop_after(toys.ToyTask(), 6), validate_every=1e-9)
    with open(tmp_path / "run" / "log.jsonl", "a") as file:
        file.write('{"step": 9, "group": "validation"}\n{"step": 9, "gro')  # steps that a kill took back, a line cut off
    train(tmp_path / "run", resume=True, validate_every=1e-9)
    steps = [row["step"] for row in read_log(tmp_path / "run" / "log.jsonl") if row["group"] == "validation"]
    assert steps == [*range(1, 13), 12]  # after every step, and the final one


def test_card_says_what_was_done(tmp_path):
    train(tmp_path / "run")
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    module = toys.Toy(toys.ToyConfig())
    assert card["parameters"] == sum(p.numel() for p in module.parameters())
    assert (card["steps"], card["kind"], card["command"]) == (12, "toy", "toy")
    assert card["config"] == {"width": 8, "sizes": [2, 3]}
    assert {"commit", "hardware", "versions", "data_sha256", "scores", "sha256", "settings"} <= card.keys()


def test_a_folder_with_a_run_is_not_overwritten(tmp_path):
    train(tmp_path / "run")
    with pytest.raises(InputError, match="already holds a run; add --resume"):
        train(tmp_path / "run")


@pytest.mark.parametrize(("name", "value"), [("seed", 1), ("lr", 0.5), ("optimizer", "adamw"), ("override", ("width=4",))])
def test_resume_with_other_settings_is_refused(tmp_path, name, value):
    with pytest.raises(SystemExit):
        train(tmp_path / "run", stop_after(toys.ToyTask(), 2))
    with pytest.raises(InputError, match=f"started with {name} ="):
        train(tmp_path / "run", resume=True, **{name: value})


def test_resume_with_other_data_is_refused(tmp_path):
    train(tmp_path / "run", steps=2)
    task = toys.ToyTask()
    task.origin = {"data_sha256": "other"}
    with pytest.raises(InputError, match="started with data_sha256 = 'none', now it is 'other'"):
        train(tmp_path / "run", task, resume=True)


def test_more_steps_than_at_first_are_allowed(tmp_path):
    train(tmp_path / "run", steps=3)
    train(tmp_path / "run", steps=5, resume=True)
    assert json.loads((tmp_path / "run" / "model.json").read_text())["steps"] == 5


def test_a_model_file_is_no_run(tmp_path):
    train(tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").replace(tmp_path / "run" / "run.safetensors")
    with pytest.raises(InputError, match="holds a model but no training state"):
        train(tmp_path / "run", resume=True)


def test_a_truncated_checkpoint_is_refused(tmp_path):
    train(tmp_path / "run")
    path = tmp_path / "run" / "run.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="no whole safetensors file"):
        train(tmp_path / "run", resume=True)


def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(tmp_path):
    task = toys.ToyTask()
    task.loss = lambda module, step, share: (next(module.parameters()).sum() * float("nan"), {})
    with pytest.raises(InputError, match="loss is nan at step 1"):
        train(tmp_path / "run", task, save_every=1e-9)
    assert not (tmp_path / "run" / "run.safetensors").exists()


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot write to the output folder"):
        train(tmp_path / "file" / "run")


def test_unknown_device(tmp_path):
    with pytest.raises(InputError, match="device 'cuda:77' is not there"):
        train(tmp_path / "run", device="cuda:77")


def test_full_disk_is_one_sentence_and_leaves_the_last_checkpoint(tmp_path):
    """A limit on file sizes stands in for the full disk: the second checkpoint cannot be written."""
    out = tmp_path / "run"
    with pytest.raises(SystemExit):
        train(out, stop_after(toys.ToyTask(), 3))
    before = (out / "run.safetensors").read_bytes()
    process = toys.process(tmp_path / "errors", len(before) // 2, out=out, steps=12, save_every=60, pause=0)
    process.start()
    process.join()
    errors = (tmp_path / "errors").read_text()
    assert process.exitcode == 2, errors
    assert errors.splitlines()[-1].startswith("error: File too large")
    assert "Traceback" not in errors
    assert (out / "run.safetensors").read_bytes() == before
    assert not list(out.glob("*.tmp-*")) and not (out / "model.safetensors").exists()


def test_no_space_is_said_in_words(tmp_path, monkeypatch):
    def full(*_):
        raise checkpoint.SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError) as caught:
        train(tmp_path / "run", steps=1)
    assert caught.value.errno == errno.ENOSPC


def run_and_kill(out: Path, seconds: float) -> None:
    """Train in a process of its own and kill it that long after its first checkpoint."""
    process = toys.process(out.with_name("errors"), out=out, steps=400, save_every=0.02, pause=0.002)
    before, deadline = stamp(out), time.monotonic() + 120
    process.start()
    while process.is_alive() and stamp(out) == before and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(seconds)
    process.kill()
    process.join()


def stamp(out: Path) -> int:
    path = out / "run.safetensors"
    return path.stat().st_mtime_ns if path.exists() else 0


def kill_and_compare(tmp_path: Path, tries: int, seed: int) -> None:
    out, moments, steps = tmp_path / "killed", random.Random(seed), [0]
    for _ in range(tries):
        run_and_kill(out, moments.uniform(0.02, 0.3))
        steps.append(checkpoint.read_tensors(out / "run.safetensors")[1]["run"]["step"])  # whole, whenever it was killed
        assert steps[-1] >= steps[-2]
    assert 0 < steps[1] < 400, "the first kill came too late to test anything"
    parts, whole = train(out, resume=True, steps=400), train(tmp_path / "whole", steps=400)
    assert equal(parts, whole)
    assert not list(out.glob("*.tmp-*"))


def test_killed_and_resumed_equals_uninterrupted(tmp_path):
    kill_and_compare(tmp_path, tries=2, seed=0)


@pytest.mark.long
def test_killed_ten_times(tmp_path):
    kill_and_compare(tmp_path, tries=10, seed=1)
