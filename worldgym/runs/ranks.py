"""One process or many: what a loop needs to know about the others.

- `Ranks`: alone. `ManyRanks`: one of several, through Hugging Face Accelerate (torchrun, DDP). `ShardedRanks`: weights,
  gradients and moments cut into pieces (PyTorch's FSDP).
- `ranks(…)`: the right one, from torchrun's environment variables.

Every process plays its own rollouts (`layout.py`), rewards are gathered before advantages, gradients are averaged.
"""

from __future__ import annotations

import contextlib
import copy
import os
import time
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from worldgym.errors import InputError


class Ranks:
    """One process that trains alone.

    Attributes:
        rank, world: this process and how many there are.

    Args:
        device: where the policy is.
        half: compute in bf16; weights and their sums stay float32.
    """

    rank, world = 0, 1

    def __init__(self, device: torch.device | str = "cpu", half: bool = False):
        self.device, self.half = torch.device(device), half

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module whose gradients are shared, to be asked in its place."""
        return module

    def pull(self, policy: nn.Module, scorer: nn.Module) -> None:
        """After an update: bring the policy's weights up to date, where the scorer has its own."""

    def push(self, policy: nn.Module, scorer: nn.Module) -> None:
        """After loading: give the policy's weights to the scorer, where it has its own."""

    def gather(self, values: Tensor) -> Tensor:
        """(b, …) of every process, one after the other."""
        return values

    def mean(self, logs: dict[str, float]) -> dict[str, float]:
        """Numbers for the log, averaged over processes."""
        return logs

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        return flag

    def first(self, value: float) -> float:
        """The first process's number, everywhere."""
        return value

    def close(self) -> None:
        """Leave the others."""

    def autocast(self) -> contextlib.AbstractContextManager:
        """Rollouts and updates run under the same precision, so that ratios start at 1."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.half)

    @contextlib.contextmanager
    def accumulating(self, module: nn.Module, last: bool) -> Iterator[None]:
        """Around a forward and its backward pass; `last` says that the optimizer steps next."""
        with self.autocast():
            yield

    def backward(self, loss: Tensor) -> None:
        """Add up gradients."""
        with torch.autocast(self.device.type, enabled=False):
            loss.backward()

    def average(self, module: nn.Module) -> None:
        """Average the gradients of a module that was not prepared."""

    def clip(self, module: nn.Module, limit: float) -> Tensor:
        """Clip the gradient's norm and return what it was."""
        return nn.utils.clip_grad_norm_([p for p in module.parameters() if p.requires_grad], limit)

    def barrier(self) -> None:
        """Wait for everybody."""


class ManyRanks(Ranks):
    """One of several processes."""

    def __init__(self, device: torch.device | str, half: bool = False):
        super().__init__(device, half)
        try:
            from accelerate import Accelerator
        except ImportError:
            raise InputError('several processes need accelerate: pip install "worldgym[train]"') from None
        self._accelerator: Any = Accelerator(cpu=self.device.type == "cpu")
        self.rank, self.world = self._accelerator.process_index, self._accelerator.num_processes
        self.device = self._accelerator.device

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module inside DistributedDataParallel."""
        return self._accelerator.prepare(module)

    def gather(self, values: Tensor) -> Tensor:
        """(b, …) of every process, one after the other."""
        return self._asked(lambda: self._accelerator.gather(values.contiguous()))

    def mean(self, logs: dict[str, float]) -> dict[str, float]:
        """Numbers for the log, averaged over processes; they have the same names everywhere."""
        row = torch.tensor([list(logs.values())], dtype=torch.float64, device=self.device)
        return dict(zip(logs, self.gather(row).mean(0).tolist(), strict=True))

    def any(self, flag: bool) -> bool:
        """Whether any process says so."""
        return bool(self.gather(torch.tensor([float(flag)], device=self.device)).max())

    def first(self, value: float) -> float:
        """The first process's number, everywhere."""
        return float(self.gather(torch.tensor([value], dtype=torch.float64, device=self.device))[0])

    def close(self) -> None:
        """Leave the others."""
        # gloo's threads may still hold the last tensors; letting go of them while the interpreter ends is an abort
        # (pytorch/pytorch#179291), and nothing tells when they are done
        time.sleep(0.5)
        self._accelerator.end_training()

    @contextlib.contextmanager
    def accumulating(self, module: nn.Module, last: bool) -> Iterator[None]:
        """As alone; gradients travel in the last pass only."""
        quiet = contextlib.nullcontext() if last else self._accelerator.no_sync(module)
        with quiet, self.autocast():
            yield

    def backward(self, loss: Tensor) -> None:
        """Add up gradients, and average them over processes in the last pass."""
        self._asked(lambda: super(ManyRanks, self).backward(loss))

    def average(self, module: nn.Module) -> None:
        """Average the gradients of a module that was not prepared; the same on every process."""
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.grad.copy_(self.gather(parameter.grad[None]).mean(0))

    def barrier(self) -> None:
        """Wait for everybody."""
        self._asked(self._accelerator.wait_for_everyone)

    def _asked(self, call: Any) -> Any:
        """What the others answer, or a sentence when one of them is gone."""
        try:
            return call()
        except RuntimeError as error:
            if any(word in str(error) for word in ("Connection closed", "Connection reset", "gloo", "NCCL")):
                raise InputError(
                    f"process {self.rank} of {self.world} lost another one ({str(error).splitlines()[0][:80]}); "
                    "the last checkpoint is good: start all of them again with --resume"
                ) from None
            raise


class ShardedRanks(ManyRanks):
    """One of several processes that share weights, gradients and optimizer state (FSDP).

    Every process also keeps the whole policy, without gradients, to play with: sampling asks for one step at a time and
    would have to collect the pieces thousands of times.
    """

    def prepare(self, module: nn.Module) -> nn.Module:
        """A copy in pieces: one unit per block, and one for the rest."""
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        pieces, mesh = copy.deepcopy(module), init_device_mesh(self.device.type, (self.world,))
        for blocks in [part for part in pieces.modules() if isinstance(part, nn.ModuleList)]:
            for block in blocks:
                fully_shard(block, mesh=mesh)
        return fully_shard(pieces, mesh=mesh)

    @torch.no_grad()
    def pull(self, policy: nn.Module, scorer: nn.Module) -> None:
        """Collect the pieces."""
        for whole, piece in zip(policy.parameters(), scorer.parameters(), strict=True):
            whole.copy_(piece.full_tensor())

    @torch.no_grad()
    def push(self, policy: nn.Module, scorer: nn.Module) -> None:
        """Cut the policy's weights into pieces."""
        for whole, piece in zip(policy.parameters(), scorer.parameters(), strict=True):
            piece.copy_(cut_like(whole, piece))

    @contextlib.contextmanager
    def accumulating(self, module: nn.Module, last: bool) -> Iterator[None]:
        """As alone; gradients travel in the last pass only."""
        module.set_requires_gradient_sync(last)
        with self.autocast():
            yield

    def clip(self, module: nn.Module, limit: float) -> Tensor:
        """Clip the norm of the whole gradient."""
        return super().clip(module, limit).full_tensor()


def whole(tensor: Tensor) -> Tensor:
    """All of a tensor that may lie in pieces; every process must ask."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def cut_like(tensor: Tensor, piece: Tensor) -> Tensor:
    """A tensor, the same on every process, cut as `piece` is; itself where `piece` is no piece."""
    if not hasattr(piece, "device_mesh"):
        return tensor
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(tensor.detach(), piece.device_mesh, piece.placements)


def ranks(device: torch.device | str, half: bool = False, sharded: bool = False) -> Ranks:
    """`ManyRanks` or `ShardedRanks` under torchrun or accelerate launch with more than one process, else `Ranks`."""
    if int(os.environ.get("WORLD_SIZE", 1)) == 1:
        return Ranks(device, half)
    return (ShardedRanks if sharded else ManyRanks)(device, half)
