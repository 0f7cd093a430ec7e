"""Everything that changes while training, saved into one file and restored exactly.

- `RunState`: module, averaged weights, optimizers, step, seconds; `save`, `restore`.

There is no generator state to keep: data order and noise are pure functions of (seed, step).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import nn

from worldgym.errors import InputError
from worldgym.models.files import checkpoint
from worldgym.pretrain.config import FREE
from worldgym.pretrain.optim import Average
from worldgym.runs.state import compare, moments, parts, set_moments


class RunState:
    """A module in training.

    Attributes:
        companion: what changes beside it (an adversary, a pool of rollouts): `state()` gives tensors, `restore` takes them.
        step: updates made.
        seconds: training time so far, over all restarts.
    """

    def __init__(self, module: nn.Module, average: Average, optimizers: list[torch.optim.Optimizer], companion: Any = None):
        self.module, self.average, self.optimizers, self.companion = module, average, optimizers, companion
        self.step, self.seconds = 0, 0.0

    def save(self, path: str | os.PathLike, config: Mapping[str, Any]) -> None:
        """Write the run into one file, atomically; `config` is what must match on resume."""
        tensors = {f"model/{name}": tensor for name, tensor in self.module.state_dict().items()}
        tensors |= {f"average/{name}": tensor for name, tensor in self.average.tensors.items()}
        tensors |= moments(self._owners())
        if self.companion is not None:
            tensors |= {f"companion/{name}": tensor for name, tensor in self.companion.state().items()}
        scalars = {"run": {"step": self.step, "seconds": self.seconds, "config": dict(config)}}
        checkpoint.write_tensors(path, tensors, scalars)

    def restore(self, path: str | os.PathLike, config: Mapping[str, Any]) -> None:
        """Continue the run in `path`.

        Raises:
            InputError: the file holds no run, or one that was started with other settings; names them.
        """
        tensors, metadata = checkpoint.read_tensors(path)
        if "run" not in metadata:
            raise InputError(f"{str(path)!r} holds a model but no training state; resume from a run's folder")
        compare(metadata["run"]["config"], config, FREE)
        saved = parts(tensors)
        self.module.load_state_dict(saved["model"])
        for name, tensor in self.average.tensors.items():
            tensor.copy_(saved["average"][name])
        set_moments(self._owners(), saved.get("optimizer", {}))
        if self.companion is not None:
            self.companion.restore(saved.get("companion", {}))
        self.step, self.seconds = metadata["run"]["step"], metadata["run"]["seconds"]

    def _owners(self) -> Iterator[tuple[str, nn.Parameter, torch.optim.Optimizer]]:
        names = {id(parameter): name for name, parameter in self.module.named_parameters()}
        for optimizer in self.optimizers:
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                yield names[id(parameter)], parameter, optimizer
