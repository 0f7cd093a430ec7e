"""Optimizers over named parameters, and averaged weights.

- `Muon`: momentum, orthogonalised (Newton-Schulz), for the matrices of a network's blocks.
- `split(module)`: which parameters go where. `make(module, …)`: Muon and AdamW, or AdamW alone.
- `Average`: exponential moving average of the weights (EMA), with warm-up.
"""

from __future__ import annotations

import dataclasses
import re
from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import nn

from worldgym.pretrain import precision

BETAS = (0.9, 0.95)  # of AdamW
COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # Keller Jordan's quintic: steep at zero, singular values end in about [0.7, 1.2]


def orthogonalise(matrices: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """Newton-Schulz iteration X <- aX + (b XX^T + c (XX^T)^2) X towards the nearest semi-orthogonal matrices.

    Args:
        matrices: (N, rows, columns), each on its own.
        steps: iterations.
    """
    a, b, c = COEFFICIENTS
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    # Half precision is emulated on most CPUs and about 30 times slower there than float32.
    x = x.bfloat16() if precision.has_bf16(x.device) else x.float()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Muon (Jordan 2024) with Nesterov momentum and decoupled weight decay.

    W <- (1 - lr * decay) W - lr * sqrt(max(1, rows / columns)) * orthogonalise(momentum). The same update as
    `torch.optim.Muon` with `adjust_lr_fn="original"`, but matrices of one shape go through the iteration together and
    a CPU works in float32.

    Args:
        parameters: matrices (2-D).
        lr: length of a step in spectral norm; about 0.02.
        momentum: of the gradient average.
        weight_decay: share of the weights removed per unit of lr.
        steps: Newton-Schulz iterations.
    """

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float = 0.02,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        steps: int = 5,
    ):
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "steps": steps})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One update of every matrix that has a gradient."""
        for group in self.param_groups:
            by_shape = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    by_shape[tuple(parameter.shape)].append(parameter)
            for (rows, columns), matrices in by_shape.items():
                length = group["lr"] * max(1, rows / columns) ** 0.5
                updates = orthogonalise(torch.stack([self._nesterov(p, group["momentum"]) for p in matrices]), group["steps"])
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(matrices, list(updates.unbind()), alpha=-length)

    def _nesterov(self, parameter: nn.Parameter, momentum: float) -> torch.Tensor:
        state = self.state[parameter]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(parameter)
        average = state["momentum_buffer"].lerp_(parameter.grad, 1 - momentum)
        return parameter.grad.lerp(average, momentum)


@dataclasses.dataclass(frozen=True)
class Split:
    """Names of parameters, each in exactly one list."""

    matrices: tuple[str, ...]
    decayed: tuple[str, ...]
    plain: tuple[str, ...]


def split(module: nn.Module) -> Split:
    """Sort parameters: matrices of repeated blocks, other tensors of 2 and more axes, vectors and embeddings.

    Repeated blocks are the members of an `nn.ModuleList`; embeddings, heads and adaLN tables are no maps between hidden
    spaces and are left to AdamW.
    """
    blocks = tuple(f"{name}." for name, m in module.named_modules() if isinstance(m, nn.ModuleList))
    embeddings = {id(p) for m in module.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
    lists = {"matrices": [], "decayed": [], "plain": []}
    for name, parameter in module.named_parameters():
        if id(parameter) in embeddings or parameter.ndim < 2:
            lists["plain"].append(name)
        elif parameter.ndim == 2 and name.startswith(blocks) and not re.search(r"embed|head|modulation", name):
            lists["matrices"].append(name)
        else:
            lists["decayed"].append(name)
    return Split(**{key: tuple(names) for key, names in lists.items()})


def make(
    module: nn.Module, kind: str, lr: float, muon_lr: float, weight_decay: float, betas: tuple[float, float] = BETAS
) -> list[torch.optim.Optimizer]:
    """Optimizers that together hold every parameter once; each group remembers its peak rate as `peak`.

    Args:
        kind: "muon" (block matrices by Muon, the rest by AdamW) or "adamw" (everything by AdamW).
        lr: peak rate of AdamW.
        muon_lr: peak rate of Muon.
        weight_decay: decoupled, on matrices and convolutions; not on vectors and embeddings.
    """
    parts, named = split(module), dict(module.named_parameters())
    by_adam = parts.decayed if kind == "muon" else (*parts.matrices, *parts.decayed)
    groups = [
        {"params": [named[n] for n in by_adam], "weight_decay": weight_decay},
        {"params": [named[n] for n in parts.plain], "weight_decay": 0.0},
    ]
    groups = [g for g in groups if g["params"]]
    fused = True if groups and groups[0]["params"][0].is_cuda else None
    optimizers = [torch.optim.AdamW(groups, lr=lr, betas=betas, fused=fused)] if groups else []
    if kind == "muon" and parts.matrices:
        optimizers.append(Muon([named[n] for n in parts.matrices], lr=muon_lr, weight_decay=weight_decay))
    for group in (g for optimizer in optimizers for g in optimizer.param_groups):
        group["peak"] = group["lr"]
    return optimizers


def set_rate(optimizers: Iterable[torch.optim.Optimizer], factor: float) -> None:
    """Set every group's rate to `factor` times its peak."""
    for group in (g for optimizer in optimizers for g in optimizer.param_groups):
        group["lr"] = factor * group["peak"]


class Average:
    """Averaged weights: avg <- d avg + (1 - d) w with d = min(decay, (1 + t) / (10 + t)), t counting updates from 0.

    The warm-up lets a short run forget its first weights. Integer buffers are copied.
    """

    def __init__(self, module: nn.Module, decay: float):
        self.decay = decay
        self.tensors = {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Take in the weights after step number `step` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs = [(self.tensors[name], tensor) for name, tensor in module.state_dict().items()]
        floats = [pair for pair in pairs if pair[1].is_floating_point()]
        torch._foreach_lerp_(*map(list, zip(*floats, strict=True)), 1 - decay)
        for own, tensor in pairs:
            if not tensor.is_floating_point():
                own.copy_(tensor)
