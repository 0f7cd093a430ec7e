"""The training loop, the same for every learner.

- `train(task, config, command)`: from nothing or a checkpoint to model.safetensors and model.json.

Files of a run: run.safetensors (everything that changes), latest.safetensors (the averaged weights of that moment in half
precision, a model that can be loaded), at the end model.safetensors (averaged weights) and model.json (its card); log.jsonl
(numbers over time), tensorboard/.
"""

from __future__ import annotations

import contextlib
import math
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import nn

from worldgym import rng
from worldgym.errors import InputError
from worldgym.files import output_folder, remove_leftovers
from worldgym.models.files import checkpoint
from worldgym.pretrain import card, optim, precision
from worldgym.pretrain.config import RunConfig
from worldgym.pretrain.state import RunState
from worldgym.pretrain.task import Task
from worldgym.runs import schedule
from worldgym.runs.device import pick_device
from worldgym.runs.report import Report
from worldgym.runs.signals import stop_signals


def train(task: Task, config: RunConfig, command: str) -> Path:
    """Train until the budget is spent; returns the path of the finished model.

    Args:
        task: learner and data.
        config: settings of the run.
        command: goes into the card.

    Raises:
        InputError: the folder cannot be written, or holds a run and `resume` is not set, or one that does not match.
        SystemExit: stopped by SIGINT or SIGTERM, after saving.
    """
    output_folder(config.out)
    run = _start(task, config)
    report = Report(config.out, f"{config.learner} {config.preset}", run.step, config.steps)
    try:
        with stop_signals() as stop:
            _loop(task, config, run, report, stop)
        if stop:
            _save(task, config, run)
            report.bar.write(f"stopped at step {run.step}; the same command with --resume goes on", file=sys.stderr)
            raise SystemExit(128 + stop[0])
        return _finish(task, config, run, report, command)
    finally:
        report.close()


def _start(task: Task, config: RunConfig) -> RunState:
    folder, device = config.out, pick_device(config.device)
    with _seeded(config.seed, "weights"):
        module = task.build().to(device).train()
    betas = getattr(task, "betas", optim.BETAS)
    optimizers = optim.make(module, config.optimizer, config.lr, config.muon_lr, config.weight_decay, betas)
    run = RunState(module, optim.Average(module, config.average), optimizers, getattr(task, "companion", None))
    if config.compile == "on" or config.compile == "auto" and device.type == "cuda":
        precision.compile_blocks(module)
    path = folder / "run.safetensors"
    remove_leftovers(folder)  # of a run that was killed while writing
    if path.exists() and not config.resume:
        raise InputError(f"{str(folder)!r} already holds a run; add --resume to go on with it or name another --out")
    if path.exists():
        run.restore(path, {**config.fixed(), **task.origin})
    return run


def _loop(task: Task, config: RunConfig, run: RunState, report: Report, stop: list[int]) -> None:
    budget, clock = config.budget, time.monotonic()
    before = run.seconds
    saved = validated = clock
    while (share := budget.share(run.step, run.seconds)) < 1 and not stop:
        rate = schedule.learning_rate(share, config.warmup, config.final_lr, config.decay)
        loss, logs = update(task, config, run, rate, share)
        now = time.monotonic()
        run.seconds = before + now - clock
        if report.due() or now - saved >= config.save_every:
            values = {"loss": _finite(loss, run.step), "lr": rate * config.lr, **{k: float(v) for k, v in logs.items()}}
            report.step(run.step, budget.total(run.step, run.seconds), values, run.seconds)
        if now - saved >= config.save_every:
            _save(task, config, run)
            saved = time.monotonic()
        if now - validated >= config.validate_every:
            report.scores(run.step, evaluate(task, run), run.seconds)
            validated = time.monotonic()


def update(task: Task, config: RunConfig, run: RunState, rate: float, share: float) -> tuple[torch.Tensor, dict]:
    """One step: loss, gradient, clipped update, averaged weights. Randomness depends on (seed, step) only."""
    device = next(run.module.parameters()).device
    optim.set_rate(run.optimizers, rate)
    with _seeded(config.seed, "step", run.step), precision.autocast(config.precision, device):
        loss, logs = task.loss(run.module, run.step, share)
    loss.backward()
    logs = {**logs, "gradient": nn.utils.clip_grad_norm_(run.module.parameters(), config.clip)}
    for optimizer in run.optimizers:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    run.average.update(run.module, run.step)
    run.step += 1
    return loss.detach(), logs


@torch.no_grad()
def evaluate(task: Task, run: RunState) -> dict[str, float]:
    """Validation scores of the averaged weights."""
    own = {name: tensor.clone() for name, tensor in run.module.state_dict().items()}
    run.module.load_state_dict(run.average.tensors)
    try:
        with precision.eager():
            return task.validate(run.module.eval())
    finally:
        run.module.load_state_dict(own)
        run.module.train()


def _finish(task: Task, config: RunConfig, run: RunState, report: Report, command: str) -> Path:
    _save(task, config, run)
    scores = evaluate(task, run)
    report.scores(run.step, scores, run.seconds)
    path = config.out / "model.safetensors"
    path.with_suffix(".json").unlink(missing_ok=True)  # a card never lies beside weights it was not written for
    checkpoint.save(path, run.module, task.kind, task.origin, tensors=run.average.tensors)
    card.write(path, config, task, run, scores, command)
    return path


def _save(task: Task, config: RunConfig, run: RunState) -> None:
    run.save(config.out / "run.safetensors", {**config.fixed(), **task.origin})
    latest = config.out / "latest.safetensors"
    checkpoint.save(latest, run.module, task.kind, task.origin, tensors=run.average.tensors, half=True)


def _finite(loss: torch.Tensor, step: int) -> float:
    value = float(loss)
    if not math.isfinite(value):
        raise InputError(f"the loss is {value} at step {step}: lower the learning rate and start again")
    return value


@contextlib.contextmanager
def _seeded(seed: int, *names: object) -> Iterator[None]:
    """Torch's global generator as a function of seed and names inside (dropout, first weights), untouched outside."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(rng.torch_seed(seed, *names))
        yield
