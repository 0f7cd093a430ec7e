"""A post-training run from nothing, or a checkpoint, to a model file.

- `train(config, command)`: the whole of it.

Files of a run: config.json, env.json (EnvSpec), run.safetensors (everything that changes), model.safetensors and model.json
(the result and its card), step-000050.safetensors (snapshots), log.jsonl, tensorboard/.
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
from worldgym.runs.report import check_wandb
from worldgym.runs.signals import stop_signals
from worldgym.train import state, wiring
from worldgym.train.config import DraftRun, GrpoRun, TrainRunConfig
from worldgym.train.draft import Draft
from worldgym.train.export import write_model
from worldgym.train.grpo import Grpo
from worldgym.train.learner import Learner, rows_needed
from worldgym.train.policy import Policy, QuietEnd
from worldgym.train.report import Silent, TrainReport


def train(config: TrainRunConfig, command: str) -> Path:
    """Train until the budget is spent; returns the path of the finished model.

    Args:
        config: settings of the run.
        command: goes into the card.

    Raises:
        InputError: a setting does not fit, the folder holds a run and `resume` is not set, or training went wrong; the last
            checkpoint is then intact.
        SystemExit: stopped by SIGINT or SIGTERM, after saving.
    """
    if config.threads:
        torch.set_num_threads(config.threads)
    check_wandb(config.wandb)
    output_folder(config.out)
    _refuse_overwriting(config)
    learner = build(config, ranks(pick_device(config.device), config.precision == "bf16", config.sharded))
    path, first = config.out / "run.safetensors", learner.ranks.rank == 0
    progress = state.restore(path, learner, config) if path.exists() else state.Progress()
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
            write_model(config.out / "model.safetensors", config, learner, progress, command)
        learner.ranks.barrier()
        return config.out / "model.safetensors"
    finally:
        report.close()
        learner.ranks.close()


def build(config: TrainRunConfig, processes: Ranks | None = None) -> Learner:
    """World model, environment and learner of a run."""
    processes = processes or Ranks(pick_device(config.device), config.precision == "bf16")
    device = processes.device
    world = zoo.load(config.model, device, dtype=torch.float32)  # an optimizer's steps are lost in half precision
    if not isinstance(world, WorldModel):
        raise InputError(f"{config.model!r} is no world model; name a token or a diffusion model")
    if processes.rank:  # the first one records prompts, if need be
        processes.barrier()
    prompts = wiring.prompts_for(config)
    if not processes.rank:
        processes.barrier()
    env = wiring.make_env(config, world, rows_needed(config, processes.rank, processes.world), prompts, device)
    policy = Policy(world, _kernel(config), config.top_p, config.temperature)
    if config.lora:
        memory.add_adapters(policy.model, config.lora)
    if config.checkpointing:
        memory.checkpoint_blocks(policy.model)
    if isinstance(config, DraftRun):
        objective = Objective(env, config.weights, config.views)
        learner = Draft(env, policy, config, processes, config.weights, objective=objective)
        if config.adversary_from and not (config.out / "run.safetensors").exists():  # a resumed run has its own
            state.restore_part(Path(config.adversary_from, "run.safetensors"), "adversary", learner.adversary)
    else:
        learner = _algorithm(config)(env, policy, config, processes, config.weights)
    if config.kl_model:
        learner.reference = _reference(config, world)
    return learner


def _reference(config: TrainRunConfig, world: WorldModel) -> Policy:
    """What a divergence is measured from, where it is not the model that training starts from."""
    codecs = [zoo.origin(zoo.locate(name))[1].get("codec_sha256") for name in (config.model, config.kl_model)]
    other = zoo.load(config.kl_model, world.device, dtype=torch.float32)
    if not isinstance(other, WorldModel) or other.model.config != world.model.config or codecs[0] != codecs[1]:
        raise InputError(f"--kl-model {config.kl_model} has another architecture or codec than --model {config.model}")
    return Policy(other, _kernel(config), config.top_p, config.temperature).frozen_copy()


def _algorithm(config: TrainRunConfig) -> type[Learner]:
    if isinstance(config, GrpoRun):
        return Grpo
    from worldgym.train.nft import Nft

    return Nft


def _kernel(config: TrainRunConfig) -> NoiseKernel:
    if not isinstance(config, GrpoRun):
        return NoiseKernel("ode")
    return (NoiseKernel if config.last_noise else QuietEnd)(config.noise, config.noise_level)


def _loop(
    config: TrainRunConfig, learner: Learner, progress: state.Progress, report: TrainReport, stop: list[int], command: str
) -> bool:
    """Iterate until the budget is spent; True when a signal came first."""
    budget, before, clock = config.budget, progress.seconds, time.monotonic()
    saved, first = clock, learner.ranks.rank == 0
    while True:
        share = learner.ranks.first(budget.share(progress.iteration, progress.seconds))
        stopped = learner.ranks.any(bool(stop))
        if stopped or share >= 1:
            return stopped and share < 1
        rate = schedule.learning_rate(share, config.warmup, config.final_lr)
        logs = _guarded(learner, progress.iteration, rate, share)
        progress.iteration += 1
        progress.seconds = before + time.monotonic() - clock
        total = budget.total(progress.iteration, progress.seconds)
        report.iteration(progress.iteration, total, logs, progress.seconds)
        if learner.ranks.any(time.monotonic() - saved >= config.save_every):
            _save(config, learner, progress)
            saved = time.monotonic()
        if first and config.snapshot_every and progress.iteration % config.snapshot_every == 0:
            write_model(config.out / f"step-{progress.iteration:06d}.safetensors", config, learner, progress, command)


def _save(config: TrainRunConfig, learner: Learner, progress: state.Progress) -> None:
    tensors = state.collect(learner)
    if learner.ranks.rank == 0:
        state.save(config.out / "run.safetensors", tensors, learner, progress, config.fixed())


def _report(config: TrainRunConfig, progress: state.Progress) -> TrainReport:
    return TrainReport(config.out, config.algorithm, progress.iteration, config.iterations, config.wandb, config.values())


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


def _refuse_overwriting(config: TrainRunConfig) -> None:
    remove_leftovers(config.out)  # of a run that was killed while writing
    if (config.out / "run.safetensors").exists() and not config.resume:
        raise InputError(f"{str(config.out)!r} already holds a run; add --resume to go on with it or name another --out")


def _describe(config: TrainRunConfig, learner: Learner, command: str) -> None:
    facts: dict[str, Any] = {
        "command": portable(command),
        "commit": commit(),
        "settings": config.fixed(),
        "prompts": list(learner.env.unwrapped.prompts.ids),
    }
    write_json(config.out / "config.json", facts)
    write_bytes(config.out / "env.json", (wiring.env_spec(config, learner.env) + "\n").encode())
