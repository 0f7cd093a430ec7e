"""Observations of both faces: tensors of the vector environments, numpy arrays of the batch of one.

- `batched`: any observation as batched tensors on a device. `like`: a batched answer in the observation's own form.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

CLOCKS = ("step", "frame", "sigma")  # stay on the CPU, where reading them does not wait for a GPU


def batched(observation: dict[str, Any], model: nn.Module) -> dict[str, Tensor]:
    """Tensors (B, …); a numpy observation is a batch of one, put where the model is."""
    if isinstance(observation["actions"], Tensor):
        return observation
    device = next(model.parameters()).device
    rows = {name: torch.as_tensor(value)[None] for name, value in observation.items()}
    return {name: row if name in CLOCKS else row.to(device) for name, row in rows.items()}


def like(observation: dict[str, Any], action: Tensor) -> Tensor | np.ndarray | np.int64:
    """The action as the environment behind `observation` takes it."""
    return action if isinstance(observation["actions"], Tensor) else action[0].cpu().numpy()[()]
