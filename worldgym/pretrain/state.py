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
from worldgym.models import checkpoint
from worldgym.pretrain.config import FREE
from worldgym.pretrain.optim import Average


class RunState:
    """A module in training.

    Attributes:
        companion: what changes beside it (an adversary, a pool of rollouts): has `state()`, named tensors, and `restore(them)`.
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
        tensors |= {f"optimizer/{name}/{key}": tensor for name, key, tensor in self._moments()}
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
        _compare(metadata["run"]["config"], config)
        parts = {"model": {}, "average": {}, "optimizer": {}, "companion": {}}
        for name, tensor in tensors.items():
            part, rest = name.split("/", 1)
            parts[part][rest] = tensor
        self.module.load_state_dict(parts["model"])
        for name, tensor in self.average.tensors.items():
            tensor.copy_(parts["average"][name])
        self._set_moments(parts["optimizer"])
        if self.companion is not None:
            self.companion.restore(parts["companion"])
        self.step, self.seconds = metadata["run"]["step"], metadata["run"]["seconds"]

    def _owners(self) -> Iterator[tuple[str, nn.Parameter, torch.optim.Optimizer]]:
        names = {id(parameter): name for name, parameter in self.module.named_parameters()}
        for optimizer in self.optimizers:
            for parameter in (p for group in optimizer.param_groups for p in group["params"]):
                yield names[id(parameter)], parameter, optimizer

    def _moments(self) -> Iterator[tuple[str, str, torch.Tensor]]:
        for name, parameter, optimizer in self._owners():
            for key, tensor in optimizer.state.get(parameter, {}).items():
                yield name, key, tensor

    def _set_moments(self, moments: Mapping[str, torch.Tensor]) -> None:
        for name, parameter, optimizer in self._owners():
            prefix = f"{name}/"
            found = {key[len(prefix) :]: t for key, t in moments.items() if key.startswith(prefix)}
            if found:
                optimizer.state[parameter] = {k: t if k == "step" else _beside(t, parameter) for k, t in found.items()}


def _beside(tensor: torch.Tensor, parameter: nn.Parameter) -> torch.Tensor:
    """A moment on its parameter's device, in its memory layout, so that sums run in the same order as before."""
    return torch.empty_like(parameter, requires_grad=False).copy_(tensor)


def _compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    for name in sorted((set(old) | set(new)) - set(FREE)):  # older runs also wrote down what is free by now
        if old.get(name) != new.get(name):
            raise InputError(
                f"cannot resume: the run was started with {name} = {old.get(name)!r}, now it is {new.get(name)!r}; "
                "give the old value or another --out"
            )
