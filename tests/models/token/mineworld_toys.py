"""MineWorld in small: published names with full shapes but no size on disk, and tiny networks of the same build."""

import json
from pathlib import Path

import numpy as np
import torch

from worldgym.actions import MINECRAFT
from worldgym.models.codecs.vq_codec import VQCodec, VQConfig
from worldgym.models.token.llama_format import PREFIX
from worldgym.models.token.token_model import TokenConfig, TokenModel
from worldgym.types import Prompts

KEYS = json.loads((Path(__file__).parents[2] / "fixtures" / "mineworld_keys.json").read_text())
TINY_VQ = VQConfig((16, 32), layers=1, latent=6, embed=5, codes=50, groups=8, height=8, width=12)
TINY_TOKEN = TokenConfig(50, 24, "minecraft", hidden=64, mlp=96, heads=2, kv_heads=1, layers=2, max_frames=5)


def published(size: str, dtype=torch.float16) -> dict[str, torch.Tensor]:
    """All names and shapes of a published file; every tensor is one number, repeated, so that files stay small."""
    shapes = dict(KEYS["tokenizer"])
    for name, shape in KEYS["transformer"][size].items():
        shapes.update({name.replace("*", str(layer)): shape for layer in range(KEYS["layers"] if "*" in name else 1)})
    return {name: torch.full((1,) * len(shape), 0.01, dtype=dtype).expand(shape) for name, shape in shapes.items()}


def random_codec(config: VQConfig = TINY_VQ, seed: int = 0) -> VQCodec:
    """Weights far from their defaults, so that all codes are used and every part shows."""
    torch.manual_seed(seed)
    codec = VQCodec(config).eval().requires_grad_(False)
    for name, parameter in codec.named_parameters():
        if "norm" in name:
            parameter.normal_(1.0 if name.endswith("weight") else 0.0, 0.3)
        elif name.endswith("bias"):
            parameter.normal_(0.0, 0.1)
        elif "embedding" in name:
            parameter.normal_(0.0, 1.0)
    return _spread(codec)


@torch.no_grad()
def _spread(codec: VQCodec) -> VQCodec:
    """Latents of noise get zero mean and unit variance per channel; as drawn, all would be nearest to one row."""
    z = codec.quant_conv(codec.encoder(torch.rand(2, 3, codec.config.height, codec.config.width) * 2 - 1))
    mean, std = z.mean((0, 2, 3)), z.std((0, 2, 3))
    codec.quant_conv.weight.div_(std[:, None, None, None])
    codec.quant_conv.bias.sub_(mean).div_(std)
    return codec


def random_model(config: TokenConfig = TINY_TOKEN, seed: int = 0) -> TokenModel:
    torch.manual_seed(seed)
    return TokenModel(config).eval()


def write(path: Path, model: TokenModel | None, codec: VQCodec | None) -> Path:
    """A checkpoint as MineWorld's: "state_dict" with both parts."""
    state = {PREFIX + name: tensor for name, tensor in model.state_dict().items()} if model else {}
    state |= {f"tokenizer.model.{name}": tensor for name, tensor in codec.state_dict().items()} if codec else {}
    torch.save({"state_dict": state, "epoch": 3}, path)
    return path


def prompts(count: int = 4, frames: int = 5, size: tuple[int, int] = (8, 12)) -> Prompts:
    random = np.random.default_rng(4)
    truth = random.integers(0, 256, (count, frames, *size, 3), np.uint8)
    actions = np.stack([random.integers(0, n, (count, frames - 1)) for n in MINECRAFT.sizes], -1)
    return Prompts(truth[:, :1].copy(), actions, truth, tuple(f"minecraft/{i}/0" for i in range(count)))
