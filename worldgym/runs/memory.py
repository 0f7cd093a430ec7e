"""Large models in little memory: blocks recomputed in the backward pass, and low-rank adapters.

- `checkpoint_blocks(model)`: keep only the inputs of repeated blocks.
- `add_adapters(model, rank)`: train LoRA adapters (arXiv 2106.09685) of the blocks' matrices, through peft.
- `merged(model)`: weights under the model's own names, adapters added in.
"""

from __future__ import annotations

import functools

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from worldgym.errors import InputError

BASE = ".base_layer"  # where peft puts the weights that it wraps


def checkpoint_blocks(model: nn.Module) -> None:
    """Members of the model's `nn.ModuleList`s forget their activations and compute them again; the numbers stay the same."""
    for blocks in [module for module in model.modules() if isinstance(module, nn.ModuleList)]:
        for block in blocks:
            block.forward = functools.partial(_again, type(block).forward, block)


def _again(forward, block: nn.Module, *arguments):
    if not torch.is_grad_enabled():
        return forward(block, *arguments)
    return checkpoint(functools.partial(forward, block), *arguments, use_reentrant=False)


def add_adapters(model: nn.Module, rank: int) -> None:
    """Freeze the model and put adapters of this rank, with alpha = 2 rank, on every matrix of its blocks.

    Raises:
        InputError: peft is not installed.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError:
        raise InputError('--lora needs peft: pip install "worldgym[train]"') from None
    lists = tuple(f"{name}." for name, module in model.named_modules() if isinstance(module, nn.ModuleList))
    targets = [name for name, module in model.named_modules() if isinstance(module, nn.Linear) and name.startswith(lists)]
    inject_adapter_in_model(LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=targets), model)


def merged(model: nn.Module) -> dict[str, Tensor]:
    """State dict under the model's own names; W + scaling B A where there is an adapter."""
    adapted = {name: module for name, module in model.named_modules() if hasattr(module, "lora_A")}
    if not adapted:
        return model.state_dict()
    found = {}
    for name, tensor in model.state_dict().items():
        if ".lora_" in name:
            continue
        owner = name.rpartition(".")[0].removesuffix(BASE)
        if owner in adapted and name.endswith(f"{BASE}.weight"):
            tensor = tensor + adapted[owner].get_delta_weight("default").to(tensor.dtype)
        found[name.replace(BASE, "")] = tensor
    return found
