"""Other software's names for the same weights: MineWorld's checkpoints and Hugging Face's `LlamaForCausalLM`.

Our parameter names are Hugging Face's; MineWorld writes "transformer." before each and keeps its tokenizer in the same
file under "tokenizer.".

- `llama_config(config)`: keyword arguments for `transformers.LlamaConfig`.
- `to_llama_state(model)`, `from_llama_state(model, state)`: weights out and in.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from worldgym.errors import InputError
from worldgym.models.token.token_model import TokenConfig, TokenModel

PREFIX = "transformer."  # MineWorld's
_FOREIGN = ("tokenizer.",)  # in MineWorld's files, but not the transformer
_DERIVED = "rotary_emb.inv_freq"  # older Llama files store what the config already says


def llama_config(config: TokenConfig) -> dict[str, Any]:
    """Keyword arguments for `transformers.LlamaConfig` that describe the same network."""
    return {
        "vocab_size": config.rows,
        "hidden_size": config.hidden,
        "intermediate_size": config.mlp,
        "num_hidden_layers": config.layers,
        "num_attention_heads": config.heads,
        "num_key_value_heads": config.kv_heads,
        "max_position_embeddings": config.max_len,
        "rms_norm_eps": config.rms_eps,
        "rope_theta": config.rope_theta,
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "tie_word_embeddings": False,
    }


def to_llama_state(model: TokenModel, prefix: str = "") -> dict[str, Tensor]:
    """The weights under `LlamaForCausalLM`'s names, or MineWorld's with `prefix=PREFIX`; nothing is copied."""
    return {prefix + name: tensor for name, tensor in model.state_dict().items()}


def from_llama_state(model: TokenModel, state: Mapping[str, Tensor]) -> None:
    """Load weights named as in `LlamaForCausalLM`, with or without MineWorld's "transformer." before the names.

    Args:
        model: filled in place; its config must fit the weights.
        state: names to tensors; a tokenizer's weights and stored rotary frequencies are skipped.

    Raises:
        InputError: a weight is missing, unknown, or of another shape; nothing is loaded then.
    """
    found = {name.removeprefix(PREFIX): tensor for name, tensor in state.items() if _belongs(name)}
    ours = model.state_dict()
    for problem, names in (("lacks", ours.keys() - found.keys()), ("has unknown", found.keys() - ours.keys())):
        if names:
            raise InputError(f"the state {problem} {len(names)} weights of this token model, such as {min(names)!r}")
    for name, tensor in ours.items():
        if tensor.shape != found[name].shape:
            shapes = f"{tuple(found[name].shape)} in the state and {tuple(tensor.shape)} in the model"
            raise InputError(f"weight {name!r} is {shapes}; give the config that the weights were made with")
    model.load_state_dict(found)


def _belongs(name: str) -> bool:
    return not name.startswith(_FOREIGN) and not name.endswith(_DERIVED)
