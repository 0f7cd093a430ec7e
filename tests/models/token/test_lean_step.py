"""The lean step of a token model is the modules' step, bit for bit, and steps aside where it would not be."""

import copy

import pytest
import torch
from torch import nn

from worldgym.models.token.lean_step import LeanStep
from worldgym.models.token.token_decoder import TokenDecoder
from worldgym.models.token.token_model import TokenConfig, TokenModel


@pytest.fixture(params=[(4, 4), (4, 2), (4, 1)], ids=["each head its own keys", "shared by 2", "shared by 4"])
def model(request):
    heads, kv_heads = request.param
    torch.manual_seed(0)
    config = TokenConfig(
        codes=20, codes_per_frame=6, hidden=32, mlp=48, heads=heads, kv_heads=kv_heads, layers=2, max_frames=3
    )
    return TokenModel(config).eval()


def test_equal_to_the_modules_to_the_bit(model):
    tokens = torch.randint(0, 20, (3, 12), generator=torch.Generator().manual_seed(1))
    plain, lean = (TokenDecoder(model, 3) for _ in range(2))
    for decoder in (plain, lean):
        decoder.feed(tokens[:, :4])
    for position in range(4, 12):
        column = tokens[:, position : position + 1]
        assert lean._lean.fits(column)
        expected = model.next_logits(column, plain.cache, position)
        assert torch.equal(lean.feed(column), expected)
    assert torch.equal(lean.cache.keys, plain.cache.keys) and torch.equal(lean.cache.values, plain.cache.values)


def test_an_update_shows_at_once(model):
    decoder, column = TokenDecoder(model, 2), torch.zeros(2, 1, dtype=torch.long)
    decoder.feed(column.repeat(1, 3))
    before = decoder.feed(column)
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.1)
    model(column.repeat(1, 3)).sum().backward()
    optimizer.step()
    decoder.position -= 1
    assert not torch.equal(decoder.feed(column), before)


def test_steps_aside_for_adapters_hooks_other_dtypes_and_several_tokens(model):
    one, column = LeanStep(model), torch.zeros(2, 1, dtype=torch.long)
    assert one.fits(column) and not one.fits(column.repeat(1, 2))
    assert not LeanStep(copy.deepcopy(model).bfloat16()).fits(column)
    with torch.autocast("cpu", torch.bfloat16):
        assert not one.fits(column)

    class Adapter(nn.Module):
        def __init__(self, inside):
            super().__init__()
            self.inside, self.weight = inside, inside.weight

        def forward(self, x):
            return self.inside(x) + 1

    adapted = copy.deepcopy(model)
    adapted.model.layers[0].self_attn.q_proj = Adapter(adapted.model.layers[0].self_attn.q_proj)
    assert not LeanStep(adapted).fits(column)
    model.lm_head.register_forward_hook(lambda *_: None)
    assert not LeanStep(model).fits(column)
