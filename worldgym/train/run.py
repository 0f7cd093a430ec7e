"""A post-training run from nothing, or a checkpoint, to a model file.

- `train(config, command)`: the whole of it.

Files of a run: settings.yaml, config.json, env.json (EnvSpec), run.safetensors (everything that changes), model.safetensors
and model.json (the result and its card), step-000050.safetensors (snapshots), log.jsonl, tensorboard/.
"""

from __future__ import annotations

import signal
import time
from pathlib import Path
from typing import Any

import torch

from worldgym import zoo
from worldgym.errors import InputError
from worldgym.files import output_folder, remove_leftovers, write_bytes, write_json
from worldgym.models.diffusion.noise_kernels import NoiseKernel
from worldgym.models.world_model import WorldModel
from worldgym.provenance import commit
from worldgym.rewards.smooth import Objective
from worldgym.runs import memory, schedule
from worldgym.runs.card import portable
from worldgym.runs.device import pick_device
from worldgym.runs.ranks import Ranks, ranks
from worldgym.runs.report import Silent, TrainReport, check_wandb
from worldgym.runs.signals import stop_signals
from worldgym.train import state, wiring
from worldgym.train.config import TrainRun, to_yaml
from worldgym.train.draft import Draft, DraftSettings
from worldgym.train.export import write_model
from worldgym.train.grpo import DiffusionGrpo, Grpo, GrpoSettings
from worldgym.train.learner import Learner, rows_needed
from worldgym.train.nft import Nft
from worldgym.train.policy import Policy, QuietEnd
from worldgym.train.settings import Run, Settings, TokenRollout


def train(config: TrainRun, command: str) -> Path:
    """Train until the budget is spent; returns the path of the finished model.

    Args:
        config: settings of the run.
        command: goes into the card.

    Raises:
        InputError: a setting does not fit, the folder holds a run and `resume` is not set, or training went wrong; the last
            checkpoint is then intact.
        SystemExit: stopped by SIGINT or SIGTERM, after saving.
    """
    check_wandb(config.run.wandb)
    out = config.run.out
    if config.run.threads:
        torch.set_num_threads(config.run.threads)
    output_folder(out)
    _refuse_overwriting(out, config.resume)
    learner = build(config, _ranks(config.run))
    path, first = out / "run.safetensors", learner.ranks.rank == 0
    progress = state.restore(path, learner.update, config) if path.exists() else state.Progress()
    learner.ranks.barrier()  # nobody writes before everybody has read
    if first:
        _describe(config, learner, command)
    report = _report(config, progress) if first else Silent()
    try:
        with stop_signals() as stop:
            stopped = _loop(config, learner, progress, report, stop, command)
        _save(config, learner, progress)
        if stopped:
            report.say(f"stopped at iteration {progress.iteration}; the same command with --resume goes on")
            raise SystemExit(128 + (stop or [signal.SIGTERM])[0])
        if first:
            write_model(out / "model.safetensors", config, learner.update, progress, command)
        learner.ranks.barrier()
        return out / "model.safetensors"
    finally:
        report.close()
        learner.ranks.close()


def build(config: TrainRun, processes: Ranks | None = None) -> Learner:
    """World model, environment and learner of a run."""
    processes = processes or Ranks(pick_device(config.run.device), config.run.precision == "bf16")
    device = processes.device
    world = zoo.load(config.task.model, device, dtype=torch.float32)  # an optimizer's steps are lost in half precision
    if not isinstance(world, WorldModel):
        raise InputError(f"{config.task.model!r} is no world model; name a token or a diffusion model")
    if processes.rank:  # the first one records prompts, if need be
        processes.barrier()
    prompts = wiring.prompts_for(config)
    if not processes.rank:
        processes.barrier()
    env = wiring.make_env(config, world, rows_needed(config, processes.rank, processes.world), prompts, device)
    policy = make_policy(config, world)
    if config.run.lora:
        memory.add_adapters(policy.model, config.run.lora)
    if config.run.checkpointing:
        memory.checkpoint_blocks(policy.model)
    weights = config.task.weights
    if isinstance(config.algorithm, DraftSettings):
        objective = Objective(env, weights, config.algorithm.views)
        return Draft(env, policy, config, processes, weights, objective=objective)
    return (Grpo if isinstance(config.algorithm, GrpoSettings) else Nft)(env, policy, config, processes, weights)


def make_policy(settings: Settings, world: WorldModel) -> Policy:
    """The policy that plays as the settings say."""
    rollout, algorithm = settings.rollout, settings.algorithm
    if isinstance(rollout, TokenRollout):
        return Policy(world, top_p=rollout.top_p, temperature=rollout.temperature)
    if isinstance(algorithm, DiffusionGrpo):
        return Policy(world, (NoiseKernel if algorithm.last_noise else QuietEnd)(algorithm.noise, algorithm.noise_level))
    return Policy(world, NoiseKernel("ode"))


def _ranks(settings: Run) -> Ranks:
    return ranks(pick_device(settings.device), settings.precision == "bf16", settings.sharded)


def _loop(
    config: TrainRun, learner: Learner, progress: state.Progress, report: TrainReport, stop: list[int], command: str
) -> bool:
    """Iterate until the budget is spent; True when a signal came first."""
    settings, budget, before, clock = config.run, config.run.budget, progress.seconds, time.monotonic()
    saved, first = clock, learner.ranks.rank == 0
    while True:
        share = learner.ranks.first(budget.share(progress.iteration, progress.seconds))
        stopped = learner.ranks.any(bool(stop))
        if stopped or share >= 1:
            return stopped and share < 1
        rate = schedule.learning_rate(share, config.optimisation.warmup, config.optimisation.final_lr)
        logs = _guarded(learner, progress.iteration, rate, share)
        progress.iteration += 1
        progress.seconds = before + time.monotonic() - clock
        total = budget.total(progress.iteration, progress.seconds)
        report.iteration(progress.iteration, total, logs, progress.seconds)
        if learner.ranks.any(time.monotonic() - saved >= settings.save_every):
            _save(config, learner, progress)
            saved = time.monotonic()
        if first and settings.snapshot_every and progress.iteration % settings.snapshot_every == 0:
            write_model(settings.out / f"step-{progress.iteration:06d}.safetensors", config, learner.update, progress, command)


def _save(config: TrainRun, learner: Learner, progress: state.Progress) -> None:
    tensors = state.collect(learner.update)
    if learner.ranks.rank == 0:
        state.save(config.run.out / "run.safetensors", tensors, learner.update, progress, config.fixed())


def _report(config: TrainRun, progress: state.Progress) -> TrainReport:
    return TrainReport(
        config.run.out, config.name, progress.iteration, config.run.iterations, config.run.wandb, config.values()
    )


def _guarded(learner: Learner, iteration: int, rate: float, share: float) -> dict[str, float]:
    try:
        return learner.iterate(iteration, rate, share)
    except (torch.OutOfMemoryError, MemoryError):
        raise _too_large(iteration) from None
    except RuntimeError as error:
        if "can't allocate memory" in str(error):  # what a CPU says
            raise _too_large(iteration) from None
        raise


def _too_large(iteration: int) -> InputError:
    return InputError(
        f"out of memory in iteration {iteration}: lower --micro (rows per backward pass), or --prompt-batch and --group; "
        "the last checkpoint is good, go on with --resume"
    )


def _refuse_overwriting(out: Path, resume: bool) -> None:
    remove_leftovers(out)  # of a run that was killed while writing
    if (out / "run.safetensors").exists() and not resume:
        raise InputError(f"{str(out)!r} already holds a run; add --resume to go on with it or name another --out")


def _describe(config: TrainRun, learner: Learner, command: str) -> None:
    facts: dict[str, Any] = {
        "command": portable(command),
        "commit": commit(),
        "settings": config.fixed(),
        "prompts": list(learner.env.unwrapped.prompts.ids),
    }
    out = config.run.out
    write_json(out / "config.json", facts)
    write_bytes(out / "settings.yaml", to_yaml(config).encode())
    write_bytes(out / "env.json", (wiring.env_spec(config, learner.env) + "\n").encode())
