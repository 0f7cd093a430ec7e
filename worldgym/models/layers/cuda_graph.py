"""Captured CUDA graphs for steps of fixed shape: one launch replaces hundreds of small kernels.

- `GraphedStep(step)`: call it like `step`; on CUDA the first call of each shape captures a graph, later calls replay it.
  On a CPU it simply calls `step`.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

_WARM_UPS = 3  # lets cuBLAS and the allocator settle before capture, as PyTorch's notes on CUDA graphs advise


class GraphedStep:
    """A function of tensors that is captured once per input shape and replayed afterwards.

    `step` may write into buffers it holds (a key/value cache) if writing the same input twice is harmless: warm-up
    and capture run it several times on the first input. It must not synchronise with the CPU (no `.item()`, no
    branching on values), and those buffers must keep their addresses.

    Args:
        step: takes tensors on one device, returns one tensor. Run it without gradients.
    """

    def __init__(self, step: Callable[..., Tensor]):
        self._step = step
        self._replays: dict[tuple, Callable[..., Tensor]] = {}

    def __call__(self, *inputs: Tensor) -> Tensor:
        """The result of `step(*inputs)`; a fresh tensor, so the caller may keep it."""
        if not inputs[0].is_cuda:
            return self._step(*inputs)
        key = tuple((x.shape, x.dtype) for x in inputs)
        if key not in self._replays:
            self._replays[key] = _capture(self._step, inputs)
        return self._replays[key](*inputs)


def _capture(step: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Callable[..., Tensor]:
    static_inputs = [x.clone() for x in inputs]
    _warm_up(step, static_inputs)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        static_output = step(*static_inputs)

    def replay(*new_inputs: Tensor) -> Tensor:
        for static, new in zip(static_inputs, new_inputs, strict=True):
            static.copy_(new)
        graph.replay()
        return static_output.clone()  # the next replay overwrites the static one

    return replay


def _warm_up(step: Callable[..., Tensor], inputs: list[Tensor]) -> None:
    """Run on a side stream: lazy initialisation must not land in the graph."""
    current, side = torch.cuda.current_stream(), torch.cuda.Stream()
    side.wait_stream(current)
    with torch.cuda.stream(side):
        for _ in range(_WARM_UPS):
            step(*inputs)
    current.wait_stream(side)
