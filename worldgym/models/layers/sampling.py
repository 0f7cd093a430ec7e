"""Drawing codes from logits: greedy, temperature, top-p; one uniform number per code.

- `sample(logits, uniform, top_p, temperature)`: inverse CDF in code order, so a row's code depends on that row alone.
- `draw(…)`: the same code and its log-probability, for the work of one.
- `logprob_sum(logits, codes, top_p, temperature)`: log-probability of codes under that very distribution.
- `expected(logits, table, …)`: the mean of what codes stand for under it, differentiable.
- `nucleus(probabilities, top_p)`: which codes top-p keeps (MineWorld's rule).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from worldgym.errors import InputError

CHUNK = 1 << 20  # numbers per piece on a CPU: what fits into its cache needs no fresh memory for every operation


def check_sampling(top_p: float, temperature: float) -> None:
    """Raise `InputError` unless 0 <= top_p <= 1 and temperature >= 0."""
    if not 0 <= top_p <= 1:
        raise InputError(f"top_p is {top_p}, but it is a share of probability: give a number from 0 to 1")
    if not 0 <= temperature < float("inf"):
        raise InputError(f"temperature is {temperature}, but it must be 0 (greedy) or positive; 1 is the model's own")


def nucleus(probabilities: Tensor, top_p: float) -> Tensor:
    """Which codes top-p keeps: (…, V) bool.

    MineWorld's rule: from the most probable down, drop a code when the codes before it already hold more than `top_p`
    (its cumulative minus its own probability > top_p). Codes tied with the last one kept are kept too, so the answer
    does not depend on how a sort breaks ties.

    Args:
        probabilities: (…, V) float, each row sums to 1.
        top_p: share of probability in [0, 1].
    """
    falling = _sorted(probabilities).flip(-1)
    before = falling.cumsum(-1) - falling
    kept = _count(before <= top_p)  # at least 1: nothing comes before the first
    return probabilities >= falling.gather(-1, kept - 1)


def _sorted(x: Tensor) -> Tensor:
    """Rising values; numpy's vectorised sort is ten times faster than torch's on a CPU."""
    return torch.from_numpy(np.sort(x.numpy(), axis=-1)) if x.device.type == "cpu" else x.sort(-1).values


def _count(mask: Tensor) -> Tensor:
    """(…, V) bool -> (…, 1) int64; numpy counts bits, torch on a CPU adds integers."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.count_nonzero(mask.numpy(), axis=-1, keepdims=True))
    return mask.sum(-1, keepdim=True)


def sample(logits: Tensor, uniform: Tensor, top_p: float = 1.0, temperature: float = 1.0) -> Tensor:
    """One code per row: (…,) int64.

    Args:
        logits: (…, V).
        uniform: (…,) in [0, 1), one number per code; unused when greedy.
        top_p: keep the most probable codes up to this share of probability.
        temperature: divides the logits; 0 takes the most probable code.
    """
    if temperature == 0:
        return logits.argmax(-1)
    return _pick(_kept_weights(logits, top_p, temperature), uniform)[0]


def draw(logits: Tensor, uniform: Tensor, top_p: float = 1.0, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """`sample`'s codes (…,) int64 and their `logprob_sum` (…,) float32, without gradient; temperature above 0."""
    weights = _kept_weights(logits, top_p, temperature)
    codes, total = _pick(weights, uniform)
    return codes, (weights.gather(-1, codes.unsqueeze(-1)) / total).log().squeeze(-1).float()


def _kept_weights(logits: Tensor, top_p: float, temperature: float) -> Tensor:
    weights = (logits.detach().float() / temperature).softmax(-1)
    return weights * nucleus(weights, top_p) if top_p < 1 else weights


def _pick(weights: Tensor, uniform: Tensor) -> tuple[Tensor, Tensor]:
    """Codes (…,) and the weights' sum (…, 1) float64."""
    # double: a GPU adds up in parallel, and float32 rounding could leave a dropped code a sliver of the sum
    cumulative = weights.double().cumsum(-1)
    total = cumulative[..., -1:]
    return (cumulative <= uniform.unsqueeze(-1) * total).sum(-1), total


def logprob_sum(logits: Tensor, codes: Tensor, top_p: float = 1.0, temperature: float = 1.0) -> Tensor:
    """Log-probability of each code under the distribution that `sample` draws from: (…,) float32.

    With top_p < 1 the kept codes are renormalised. The code itself always counts as kept: it was drawn, so it was,
    and neither rounding nor a policy that has moved since may turn its log-probability into minus infinity.

    Args:
        logits: (…, V).
        codes: (…,) int64.
        top_p: as in `sample`.
        temperature: as in `sample`, above 0.
    """
    if temperature == 0:
        raise InputError("temperature 0 is greedy decoding, which has no log-probabilities; give a positive one")
    logits = logits.float() if temperature == 1 else logits.float() / temperature
    if top_p >= 1:
        return logits.log_softmax(-1).gather(-1, codes.unsqueeze(-1)).squeeze(-1)
    return _NucleusLogprob.apply(logits.reshape(-1, logits.shape[-1]), codes.reshape(-1), top_p).view(codes.shape)


def expected(logits: Tensor, table: Tensor, top_p: float = 1.0, temperature: float = 1.0) -> Tensor:
    """Mean of a table's rows under the distribution that `sample` draws from: (…, V) and (V, n) -> (…, n), differentiable.

    Which codes are kept is taken as given; the gradient is that of their renormalised probabilities.
    """
    q = (logits.float() / temperature).softmax(-1)
    if top_p < 1:
        q = q * nucleus(q.detach(), top_p)
        q = q / q.sum(-1, keepdim=True)
    return q @ table


class _NucleusLogprob(torch.autograd.Function):
    """log q(code) for q, the kept codes' share of a softmax: z_code - log sum_kept exp z; its gradient is onehot - q.

    By hand, because half of a policy's update went into what autograd keeps and fills on the way.
    """

    @staticmethod
    def forward(ctx, logits: Tensor, codes: Tensor, top_p: float) -> Tensor:
        q, found, index = torch.empty_like(logits), logits.new_empty(len(logits)), codes.unsqueeze(-1)
        size = max(1, CHUNK // logits.shape[-1]) if logits.device.type == "cpu" else max(1, len(logits))
        for start in range(0, len(logits), size):
            rows = slice(start, start + size)
            z, p = logits[rows], logits[rows].softmax(-1)
            kept = nucleus(p, top_p).scatter_(-1, index[rows], True)
            total = torch.mul(p, kept, out=q[rows]).sum(-1, keepdim=True)
            q[rows] /= total
            # from the largest logit, not from log p: a code that the policy has left may have p = 0 in float32
            below = z.gather(-1, index[rows]) - z.amax(-1, keepdim=True)
            found[rows] = (below - (total / p.amax(-1, keepdim=True)).log()).squeeze(-1)
        ctx.save_for_backward(q, index)
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        q, index = ctx.saved_tensors
        gradient = gradient.unsqueeze(-1)
        return (q * -gradient).scatter_add_(-1, index, gradient), None, None
