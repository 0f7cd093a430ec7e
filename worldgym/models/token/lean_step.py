"""One token per row through a Llama on a CPU: the operations of `Llama.forward` without the module machinery around them.

A step of a small model is over before Python has called its forty modules; called as plain functions on the same weights the
step takes half the time. Nothing is copied and nothing is fused, so the answers are the same to the bit, and an optimizer's
step shows at once.

- `LeanStep(model)`: `fits(tokens)`, then `__call__(tokens, cache, start)`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from worldgym.models.layers.kv_cache import KVCache

PARTS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class LeanStep:
    """The step of one token model.

    Args:
        model: a `TokenModel`.
    """

    def __init__(self, model: nn.Module):
        self.model, body = model, model.model
        self._plain = _is_plain(model)
        if not self._plain:
            return
        self._blocks = []
        for block in body.layers:
            own = {name: module.weight for name, module in [*block.self_attn.named_children(), *block.mlp.named_children()]}
            norms = block.input_layernorm.weight, block.post_attention_layernorm.weight
            self._blocks.append((*norms, *(own[name] for name in PARTS)))

    def fits(self, tokens: Tensor) -> bool:
        """Whether this way gives what the modules would: one token per row, float32 on a CPU, no adapters, no autocast."""
        return (
            self._plain
            and tokens.shape[1] == 1
            and tokens.device.type == "cpu"
            and self.model.lm_head.weight.dtype == torch.float32
            and not torch.is_autocast_enabled("cpu")
        )

    @torch.no_grad()
    def __call__(self, tokens: Tensor, cache: KVCache, start: int) -> Tensor:
        """Append (B, 1) tokens to the cache at `start` -> (B, V) logits of the code after them."""
        config, body = self.model.config, self.model.model
        rows, width, size, kv = len(tokens), (config.hidden,), config.head_dim, config.kv_heads
        cos, sin = body.cos[start], body.sin[start]  # (1, head_dim / 2)
        x = F.embedding(tokens[:, 0], body.embed_tokens.weight)
        for layer, (norm, norm2, wq, wk, wv, wo, gate, up, down) in enumerate(self._blocks):
            h = F.rms_norm(x, width, norm, config.rms_eps)
            q = _rotated(F.linear(h, wq).view(rows, -1, size), cos, sin)
            keys, values = cache.keys[layer], cache.values[layer]
            keys[:, :, start] = _rotated(F.linear(h, wk).view(rows, kv, size), cos, sin)
            values[:, :, start] = F.linear(h, wv).view(rows, kv, size)
            seen = keys[:, :, : start + 1], values[:, :, : start + 1]
            y = F.scaled_dot_product_attention(q.view(rows, kv, -1, size), *seen)
            x = x + F.linear(y.reshape(rows, -1), wo)
            h = F.rms_norm(x, width, norm2, config.rms_eps)
            x = x + F.linear(F.silu(F.linear(h, gate)) * F.linear(h, up), down)
        return F.linear(F.rms_norm(x, width, body.norm.weight, config.rms_eps), self.model.lm_head.weight[: config.codes])


def _rotated(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """As `llama.rotate`, for one position: (B, heads, head_dim) -> same."""
    left, right = x.chunk(2, -1)
    return torch.cat([left * cos - right * sin, right * cos + left * sin], -1)


def _is_plain(model: nn.Module) -> bool:
    """Whether every layer is what it was built as: adapters (LoRA) and hooks put something in between."""
    for module in model.modules():
        named = type(module).__module__.startswith(("worldgym.", "torch.nn.modules"))
        if not named or module._forward_hooks or module._forward_pre_hooks or module._backward_hooks:
            return False
    return True
