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


def google_names(model):
    """A MUSIQ's weights as the arrays of Google's checkpoint: its names, its axes."""
    found = {}
    for name, tensor in model.state_dict().items():
        array, parts = tensor.numpy(), name.split(".")
        if name == "positions":
            found["Transformer/posembed_input/pos_embedding"] = array[None]
        elif name == "scales":
            found["Transformer/scaleembed_input/scale_embedding"] = array[None]
        elif name == "token":
            found["Transformer/cls"] = array
        elif parts[0] == "blocks":
            found[_block_name(parts)] = _block_array(parts, array)
        else:
            head = {"unit": "block1/unit1", "norm": "Transformer/encoder_norm"}.get(parts[0], parts[0])
            kind = "bias" if parts[-1] == "bias" else ("kernel" if array.ndim > 1 else "scale")
            turned = array.transpose(2, 3, 1, 0) if array.ndim == 4 else array.T
            turned = turned[None, None, None] if parts[-2].startswith("gn") else turned
            found["/".join([head, *parts[1:-1], kind])] = turned
    return {f"opt/target/{name}": array for name, array in found.items()}


def _block_name(parts):
    layer = {
        **{"norm1": "LayerNorm_0", "norm2": "LayerNorm_2", "mlp0": "MlpBlock_3/Dense_0", "mlp1": "MlpBlock_3/Dense_1"},
        **{name: f"MultiHeadDotProductAttention_1/{name}" for name in ("query", "key", "value", "out")},
    }[parts[2]]
    kind = "bias" if parts[3] == "bias" else ("scale" if "norm" in parts[2] else "kernel")
    return f"Transformer/encoderblock_{parts[1]}/{layer}/{kind}"


def _block_array(parts, array):
    if parts[2] in ("query", "key", "value"):
        return array.reshape(6, 64) if array.ndim == 1 else array.T.reshape(384, 6, 64)
    if parts[2] == "out" and array.ndim == 2:
        return array.T.reshape(6, 64, 384)
    return array.T
