"""What a run computes in, chosen by what the processor has.

- `has_bf16(device)`, `autocast(precision, device)`: bf16 products where they are fast; weights and moments stay float32.
- `compile_blocks(module)`: one compiled function for all blocks of a network. `eager()`: without it, for other shapes.
"""

from __future__ import annotations

import contextlib
import functools

import torch
from torch import nn

SHAPES = 64  # compiled versions of a block: one for each shape it meets


@functools.cache
def _cpu_has_bf16() -> bool:
    return bool(getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)())


def has_bf16(device: torch.device) -> bool:
    """Whether bf16 products are faster than float32 ones there: on a GPU, and on a CPU with avx512_bf16."""
    return device.type == "cuda" or device.type == "cpu" and _cpu_has_bf16()


def autocast(precision: str, device: torch.device) -> torch.autocast:
    """The context of a step: "bf16", "float32", or "auto" for whichever `has_bf16` says."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16" or precision == "auto" and has_bf16(device))


def compile_blocks(module: nn.Module) -> None:
    """Compile the members of every `nn.ModuleList` and `nn.Sequential` at the top of a network; names of weights stay."""
    torch._dynamo.config.recompile_limit = SHAPES
    torch.set_float32_matmul_precision("high")
    for part in module.modules():
        if isinstance(part, nn.ModuleList):
            for block in part:
                block.compile(dynamic=False)
    for part in module.children():
        if isinstance(part, nn.Sequential) and len(part) > 4:  # a codec's encoder or decoder
            part.compile(dynamic=False)


def eager() -> contextlib.AbstractContextManager:
    """Inside, compiled blocks run as they are written: shapes differ too much to compile for each."""
    return torch.compiler.set_stance("force_eager")
