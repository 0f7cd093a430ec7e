"""Random weights and frames for the VPT inverse dynamics model, the same on every machine."""

import torch

from worldgym.judges.vpt_idm import VPTIDM, VPTConfig

SMALL = VPTConfig(channels=8, width=1, features=256, hidden=64, heads=4)


def random_state(config, seed=0):
    """A state dict with weights that keep activations near 1, drawn name by name in alphabetical order."""
    generator = torch.Generator().manual_seed(seed)
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in VPTIDM(config).state_dict().items()}
    state = {}
    for name in sorted(shapes):
        noise = torch.randn(shapes[name], generator=generator)
        if noise.ndim > 1:
            fan = max(noise[0].numel(), 1)
            state[name] = noise * (2 / fan) ** 0.5
        else:
            state[name] = 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)
    return state


def frames(steps, height=128, width=128, seed=0, batch=1):
    """(batch, steps, height, width, 3) uint8 noise in blocks of 8 pixels, so that resizing does not blur it away."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.randint(0, 256, (batch, steps, height // 8, width // 8, 3), dtype=torch.uint8, generator=generator)
    return coarse.repeat_interleave(8, 2).repeat_interleave(8, 3)


def judge(config=SMALL, seed=0):
    model = VPTIDM(config)
    model.load_state_dict(random_state(config, seed))
    return model.eval().requires_grad_(False)
