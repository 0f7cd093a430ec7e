"""Drawing codes from logits: greedy, temperature, top-p; one uniform number per code.

- `sample(logits, uniform, top_p, temperature)`: inverse CDF in code order, so a row's code depends on that row alone.
- `logprob_sum(logits, codes, top_p, temperature)`: log-probability of codes under that very distribution.
- `nucleus(probabilities, top_p)`: which codes top-p keeps (MineWorld's rule).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from worldgym.errors import InputError


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
    kept = (before <= top_p).sum(-1, keepdim=True)  # at least 1: nothing comes before the first
    return probabilities >= falling.gather(-1, kept - 1)


def _sorted(x: Tensor) -> Tensor:
    """Rising values; numpy's vectorised sort is ten times faster than torch's on a CPU."""
    return torch.from_numpy(np.sort(x.numpy(), axis=-1)) if x.device.type == "cpu" else x.sort(-1).values


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
    weights = (logits.detach().float() / temperature).softmax(-1)
    if top_p < 1:
        weights = weights * nucleus(weights, top_p)
    # double: a GPU adds up in parallel, and float32 rounding could leave a dropped code a sliver of the sum
    cumulative = weights.double().cumsum(-1)
    target = uniform.unsqueeze(-1) * cumulative[..., -1:]
    return (cumulative <= target).sum(-1)


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
    logprobs = (logits.float() / temperature).log_softmax(-1)
    index = codes.unsqueeze(-1)
    chosen = logprobs.gather(-1, index).squeeze(-1)
    if top_p >= 1:
        return chosen
    kept = nucleus(logprobs.detach().exp(), top_p).scatter(-1, index, True)
    return chosen - logprobs.masked_fill(~kept, -torch.inf).logsumexp(-1)
