"""Random weights for published networks, the same on every machine, and pictures to show them."""

import torch


def random_state(state, seed=0):
    """Tensors of a state dict's names and shapes, drawn name by name in alphabetical order; activations stay near 1."""
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name in sorted(state):
        if not state[name].is_floating_point():
            found[name] = state[name]
            continue
        noise = torch.randn(state[name].shape, generator=generator)
        if noise.ndim > 1:
            found[name] = noise * (2 / max(noise[0].numel(), 1)) ** 0.5
        elif "running_var" in name:
            found[name] = 1 + 0.1 * noise.abs()
        elif name.startswith("heads."):  # of LPIPS: never negative
            found[name] = 0.1 * noise.abs()
        else:
            found[name] = 0.1 * noise + (1.0 if name.endswith("weight") else 0.0)
    return found


def raft_state(model):
    """As `random_state`; small corrections, and one tensor under both of its names."""
    state = random_state(model.state_dict())
    for name in state:
        if "downsample.1" in name:
            state[name] = state[name.replace("downsample.1", "norm3")]
        if "flow_head.conv2" in name:
            state[name] = state[name] * 0.1
    return state


def pictures(count, height, width, seed=0):
    """(count, height, width, 3) uint8 noise."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=generator)
