"""Our token model and `transformers`' Llama are the same function of the same weights."""

import pytest
import torch

from worldgym.errors import InputError
from worldgym.models.token.llama_format import PREFIX, from_llama_state, llama_config, to_llama_state
from worldgym.models.token.token_model import TokenConfig, TokenModel

CONFIGS = {
    "multi-head": TokenConfig(40, 5, "doom", hidden=32, mlp=48, heads=4, kv_heads=4, layers=2, max_frames=4),
    "grouped": TokenConfig(40, 5, "doom", hidden=64, mlp=80, heads=8, kv_heads=2, layers=3, max_frames=4),
    "multi-query": TokenConfig(40, 5, "minecraft", hidden=48, mlp=64, heads=3, kv_heads=1, layers=2, max_frames=4),
    "MineWorld's head width, ids and positions": TokenConfig(
        8192, 336, "minecraft", hidden=256, mlp=320, heads=4, kv_heads=2, layers=2, max_frames=2, vocabulary=8262
    ),
    "padded, other theta": TokenConfig(
        40, 5, "doom", hidden=32, mlp=48, heads=2, kv_heads=1, layers=2, max_frames=4, vocabulary=100, rope_theta=50.0
    ),
}


def make(config, seed=0):
    torch.manual_seed(seed)  # weight initialisation is PyTorch's own
    model = TokenModel(config).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:  # fresh norms are all ones, which would hide a norm in the wrong place
            torch.nn.init.normal_(parameter, 1.0, 0.3)
    return model


def hugging_face(config, seed=1):
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(seed)
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**llama_config(config))).eval()


def tokens_of(config):
    return torch.randint(config.rows, (3, config.max_len), generator=torch.Generator().manual_seed(2))


@torch.no_grad()
def distance(ours, theirs):
    tokens = tokens_of(ours.config)
    a, b = ours(tokens), theirs(tokens).logits
    assert b.std() > 0.1  # logits that are all alike would agree with anything
    return ((a - b).abs().max() / b.std()).item()


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_ours_into_hugging_face(config):
    """Guards pairing of rotary halves, order of grouped heads, epsilon, norm placement."""
    ours, theirs = make(config), hugging_face(config)
    assert distance(ours, theirs) > 0.1  # other weights, other logits
    theirs.load_state_dict(to_llama_state(ours), strict=True)
    assert distance(ours, theirs) < 1e-5


@pytest.mark.parametrize("prefix", ["", PREFIX])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_hugging_face_into_ours(config, prefix):
    ours, theirs = make(config), hugging_face(config)
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, 0.0, 0.2)  # their defaults are so small that logits hardly differ
    state = {prefix + name: tensor for name, tensor in theirs.state_dict().items()}
    from_llama_state(ours, state)
    assert distance(ours, theirs) < 1e-5


def test_mineworld_file_round_trip():
    """A tokenizer in the same file is skipped; our own export with MineWorld's prefix loads back."""
    a, b = make(CONFIGS["grouped"], seed=0), make(CONFIGS["grouped"], seed=5)
    state = to_llama_state(a, PREFIX) | {"tokenizer.model.encoder.weight": torch.zeros(3)}
    assert "transformer.model.layers.2.self_attn.k_proj.weight" in state
    assert "transformer.lm_head.weight" in state
    from_llama_state(b, state)
    tokens = tokens_of(a.config)
    assert torch.equal(a(tokens), b(tokens))


def test_wrong_states_are_refused_whole():
    model = make(CONFIGS["grouped"])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    state = {name: torch.zeros_like(tensor) for name, tensor in before.items()}
    missing = {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}
    with pytest.raises(InputError, match="lacks 1 weights .*'lm_head.weight'"):
        from_llama_state(model, missing)
    with pytest.raises(InputError, match="has unknown 1 weights .*'bias'"):
        from_llama_state(model, state | {"bias": torch.zeros(1)})
    with pytest.raises(InputError, match=r"'model.norm.weight' is \(7,\) in the state and \(64,\) in the model"):
        from_llama_state(model, state | {"model.norm.weight": torch.zeros(7)})
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
