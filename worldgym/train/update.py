"""How weights move, the same for every algorithm: gradients in parts, clipped, one optimizer step per minibatch.

- `Update`: the optimizer of a policy; called with an algorithm's loss it goes through an iteration's rows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn

from worldgym.errors import InputError
from worldgym.rng import generator
from worldgym.runs.ranks import Ranks
from worldgym.train import ema
from worldgym.train.policy import Policy
from worldgym.train.settings import Optimisation

# (local rows, epoch) -> the loss summed over these rows, and numbers to watch, each a mean over them
Loss = Callable[[list[int], int], tuple[Tensor, dict[str, Tensor]]]


class Update:
    """The optimizer of one policy and all that is kept of it: weights, averages, moments, the number of steps.

    Attributes:
        scorer: the policy as gradients are asked of it: itself, or inside DDP or FSDP.
        optimizer: AdamW over the scorer's parameters, and over those of networks that were added.
        averages: moving averages of the policy by name.
        updates: optimizer steps so far.

    Args:
        policy: what is trained.
        settings: rows per pass, minibatches, epochs, and the optimizer's own.
        ranks: the processes.
        seed: of the order of minibatches.
    """

    def __init__(self, policy: Policy, settings: Optimisation, ranks: Ranks, seed: int = 0):
        self.policy, self.settings, self.ranks, self.seed = policy, settings, ranks, seed
        self.averages: dict[str, Policy] = {}
        self._decays: dict[str, Callable[[int], float]] = {}
        self._beside: dict[str, nn.Module] = {}
        if settings.ema:
            self.follow("average", lambda step: min(settings.ema, (1 + step) / (10 + step)))  # a short run forgets its start
        self.scorer = ranks.prepare(policy)
        trained = [p for p in self.scorer.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(trained, settings.lr, weight_decay=settings.weight_decay)
        self.updates = 0

    def follow(self, name: str, decay: Callable[[int], float]) -> Policy:
        """Keep a moving average of the policy; `decay(step)` is the share of it that stays at an optimizer step."""
        self.averages[name], self._decays[name] = self.policy.frozen_copy(), decay
        return self.averages[name]

    def add(self, name: str, module: nn.Module, lr: float, betas: tuple[float, float]) -> None:
        """Train another network by the same losses, at a constant rate; its gradient is clipped on its own."""
        self._beside[name] = module
        own = {"params": list(module.parameters()), "lr": lr, "betas": betas, "weight_decay": 0.0}
        self.optimizer.add_param_group(own)

    def __call__(self, rows: int, iteration: int, loss: Loss, worst: Sequence[str] = ()) -> dict[str, float]:
        """Go through this process's rows.

        Args:
            rows: how many there are.
            iteration: names the order of minibatches.
            loss: of some rows, see `Loss`.
            worst: numbers of which the largest is logged, not the mean.

        Returns:
            Means of what `loss` watched and of the gradient's norm, over rows and processes.

        Raises:
            InputError: a gradient is not a finite number; the weights are those of before that step.
        """
        logs: dict[str, list[tuple[float, int]]] = defaultdict(list)
        for epoch in range(self.settings.epochs):
            for minibatch in self.minibatches(rows, iteration, epoch):
                total = sum(map(len, minibatch))
                for part in minibatch:
                    with self.ranks.accumulating(self.scorer, last=part is minibatch[-1]):
                        value, seen = loss(part, epoch)
                        self.ranks.backward(value / total)
                    for name, number in seen.items():
                        logs[name].append((float(number), len(part)))
                logs["gradient"].append((self.step(), 1))
        means = {name: sum(v * n for v, n in values) / sum(n for _, n in values) for name, values in logs.items()}
        return self.ranks.mean(means | {name: max(v for v, _ in logs[name]) for name in worst})

    def minibatches(self, count: int, iteration: int, epoch: int) -> Iterator[list[list[int]]]:
        """Minibatches of `count` local rows, each a list of rows per backward pass."""
        settings = self.settings
        order = list(range(count))
        if settings.minibatches > 1:
            order = generator(self.seed, "minibatches", iteration, epoch).permutation(count).tolist()
        for part in map(sorted, shares(order, settings.minibatches)):  # neighbours share their prompt: read it once
            yield [part[i : i + settings.micro] for i in range(0, len(part), settings.micro)]

    def step(self) -> float:
        """Clip the gradient, move the weights and their averages; returns the gradient's norm."""
        for module in self._beside.values():
            self.ranks.average(module)
            nn.utils.clip_grad_norm_(module.parameters(), self.settings.grad_clip)
        norm = float(self.ranks.clip(self.scorer, self.settings.grad_clip))
        if not norm < float("inf"):
            self.optimizer.zero_grad(set_to_none=True)
            raise InputError(
                f"the gradient's norm is {norm} at update {self.updates}; the weights were left alone and the last checkpoint "
                "is good: lower --lr and go on with --resume"
            )
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.ranks.pull(self.policy, self.scorer)
        for name, average in self.averages.items():
            ema.update(average, self.policy, self._decays[name](self.updates))
        self.updates += 1
        return norm

    def set_rate(self, rate: float) -> None:
        """The policy's learning rate, as a share of its peak."""
        self.optimizer.param_groups[0]["lr"] = rate * self.settings.lr

    def modules(self) -> dict[str, nn.Module]:
        """Everything with weights that must be kept, by name."""
        return {"model": self.policy.model, **{name: p.model for name, p in self.averages.items()}, **self._beside}

    def trained(self) -> dict[str, nn.Parameter]:
        """The optimizer's parameters under the names of the policy, and of networks beside it."""
        own = [name for name, parameter in self.policy.named_parameters() if parameter.requires_grad]
        found = dict(zip(own, self.optimizer.param_groups[0]["params"], strict=True))
        beside = {f"{name}.{key}": p for name, module in self._beside.items() for key, p in module.named_parameters()}
        return found | beside

    def owners(self) -> list[tuple[str, nn.Parameter, torch.optim.Optimizer]]:
        """The same with who moves them, for saving."""
        return [(name, parameter, self.optimizer) for name, parameter in self.trained().items()]

    def best_weights(self) -> nn.Module:
        """The model to save: averaged weights where they are kept."""
        return self.averages.get("average", self.policy).model


def shares(rows: Sequence[int], parts: int) -> list[list[int]]:
    """Rows in `parts` of equal size.

    Raises:
        InputError: they cannot be shared evenly.
    """
    if len(rows) % parts:
        raise InputError(f"{len(rows)} rows cannot be shared by {parts} minibatches; choose a divisor with --minibatches")
    size = len(rows) // parts
    return [list(rows[i : i + size]) for i in range(0, len(rows), size)]
