"""Tiny WorldPlay networks with noise in every weight, and inputs for them."""

import functools

import torch

from worldgym.actions import worldplay
from worldgym.models.diffusion.worldplay.hunyuan import HunyuanConfig, HunyuanWorldPlay
from worldgym.models.diffusion.worldplay.hunyuan_text import Told
from worldgym.models.diffusion.worldplay.route import Route
from worldgym.models.diffusion.worldplay.view_memory import ViewMemory
from worldgym.models.diffusion.worldplay.wan import WanConfig, WanWorldPlay

WAN = WanConfig(channels=4, heads=2, head_dim=24, mlp=64, layers=2, text=16, text_tokens=6, frequencies=16)
HUNYUAN = HunyuanConfig(
    **{"channels": 4, "hidden": 64, "heads": 2, "layers": 2, "refiner_layers": 1, "text": 32, "glyph": 16, "vision": 16},
    **{"rope_parts": (8, 12, 12)},
)
CONFIGS = {  # as config.json beside published weights says it
    "wan": {
        **{"num_attention_heads": 2, "attention_head_dim": 24, "in_channels": 4, "ffn_dim": 64, "num_layers": 2},
        **{"text_dim": 16, "freq_dim": 16, "patch_size": [1, 2, 2], "eps": 1e-6},
    },
    "hunyuan": {
        **{"hidden_size": 64, "heads_num": 2, "mm_double_blocks_depth": 2, "out_channels": 4, "text_states_dim": 32},
        **{"rope_dim_list": [8, 12, 12], "text_embed_2_dim": 16, "vision_states_dim": 16, "num_refiner_layers": 1},
    },
}


def noisy(module, seed=0, scale=0.3):
    """Fill every weight with noise, zero-initialised ones as well; norms stay near 1."""
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            noise = torch.randn(weight.shape, generator=draw)
            if "norm" in name and name.endswith("weight"):
                weight.copy_(1 + 0.1 * noise)
            else:
                weight.copy_(noise * scale / max(1, weight[0].numel()) ** 0.5 if weight.ndim > 1 else 0.1 * noise)
    return module.eval()


def wan(seed=0, config=WAN):
    return noisy(WanWorldPlay(config), seed, 1.0)


def hunyuan(seed=0, config=HUNYUAN):
    return noisy(HunyuanWorldPlay(config), seed, 1.0)


def told(rows, seed=0):
    """Prompts with 5 tokens of text (the last row has 3), 2 of glyphs (row 0 has none) and 3 of the image."""
    text_mask, glyphs_mask = torch.ones(rows, 5), torch.ones(rows, 2)
    text_mask[-1, 3:] = glyphs_mask[0] = 0
    glyphs = randn(rows, 2, 16, seed=seed + 1)
    return Told(randn(rows, 5, 32, seed=seed), text_mask, glyphs, glyphs_mask, randn(rows, 3, 16, seed=seed + 2))


def randn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def cameras(rows, latents, seed=0):
    """camera-to-world (B, L, 4, 4), intrinsics (B, L, 3, 3), labels (B, L), each row another random walk."""
    draw = torch.Generator().manual_seed(seed)
    paths = []
    for _ in range(rows):
        groups = torch.randint(0, 3, (latents, 4), generator=draw).numpy()
        paths.append(worldplay.walk(groups, worldplay.Pace(0.4, 8.0)))
    return tuple(
        torch.stack([torch.as_tensor(getattr(path, name)) for path in paths])
        for name in ("camera_to_world", "intrinsics", "labels")
    )


def route(rows, latents, seed=0):
    return Route(*cameras(rows, latents, seed))


def toy(kind, rows):
    """A network and a text for it."""
    return (wan(), randn(rows, 6, 16, seed=8)) if kind == "wan" else (hunyuan(), told(rows, seed=8))


@functools.cache
def tiny_memory(kind):
    return ViewMemory(toy(kind, 1)[0].memory_rule)


def span(route, start, stop):
    """Latents start … stop of `cameras`."""
    return tuple(x[:, start:stop] for x in route)


def apart(one, two):
    """The largest difference, in units of the largest value where that is above 1."""
    return float((one - two).abs().max() / two.abs().max().clamp_min(1))
