"""Reading a group's common tokens once gives the logits and gradients of reading them in every row."""

import pytest
import torch

from worldgym.actions import DOOM
from worldgym.models.layers.shared_context import Sharing, find_sharing
from worldgym.models.token import token_model as module
from worldgym.models.token.token_model import TokenConfig, TokenModel


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = TokenConfig(codes=20, codes_per_frame=6, hidden=32, mlp=48, heads=4, kv_heads=2, layers=2, max_frames=4)
    return TokenModel(config).double()


@pytest.mark.parametrize("frames", [2, 3])
def test_one_code_per_frame(frames):
    torch.manual_seed(0)
    tiny = TokenModel(TokenConfig(codes=2, codes_per_frame=1, hidden=16, mlp=16, heads=2, layers=1, max_frames=3)).double()
    codes, actions = torch.tensor([[0, 0, 1], [0, 0, 0]])[:, :frames, None], torch.zeros(2, frames - 1, len(DOOM.sizes)).long()
    single = torch.cat([tiny.predictions(codes[row : row + 1], actions[row : row + 1]) for row in (0, 1)])
    torch.testing.assert_close(tiny.predictions(codes, actions), single, atol=1e-6, rtol=0)  # the kernel's exp


def batch(groups, size, frames, common, seed=0):
    """Codes (groups * size, frames, 6) that share their first `common` frames in each group, and actions."""
    draw = torch.Generator().manual_seed(seed)
    codes = torch.randint(0, 20, (groups * size, frames, 6), generator=draw)
    codes[:, :common] = codes[::size, :common].repeat_interleave(size, 0)
    actions = torch.stack([torch.randint(0, n, (groups, frames - 1), generator=draw) for n in DOOM.sizes], -1)
    return codes, actions.repeat_interleave(size, 0)


@pytest.mark.parametrize("groups, size, frames, common", [(2, 3, 2, 1), (1, 4, 4, 3), (3, 2, 4, 2)])
def test_same_logits_and_gradients(model, monkeypatch, groups, size, frames, common):
    codes, actions = batch(groups, size, frames, common)
    weights = torch.randn(len(codes), frames - 1, 6, 20, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    results = []
    for sharing in (find_sharing(codes, actions), Sharing()):
        monkeypatch.setattr(module, "find_sharing", lambda *_, found=sharing: found)
        model.zero_grad()
        logits = model.predictions(codes, actions)
        (logits * weights).sum().backward()
        results.append((logits.detach(), [p.grad.clone() for p in model.parameters()]))
    (shared, shared_gradients), (plain, gradients) = results
    assert find_sharing(codes, actions) == Sharing(size, common) and Sharing(size, common).saves(frames)
    torch.testing.assert_close(shared, plain, atol=1e-10, rtol=0)
    for ours, theirs in zip(shared_gradients, gradients, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-9, rtol=0)


def test_finds_only_what_is_there():
    codes, actions = batch(2, 3, 4, 2)
    assert find_sharing(codes, actions) == Sharing(3, 2)
    assert find_sharing(codes[:3], actions[:3]) == Sharing(3, 2)
    assert find_sharing(codes[::3], actions[::3]) == Sharing()
    assert find_sharing(codes[:5], actions[:5]) == Sharing()  # groups of unequal size
    assert find_sharing(codes[:1], actions[:1]) == Sharing()
    other = actions.clone()
    other[1, -1, 0] = (other[1, -1, 0] + 1) % 2
    assert find_sharing(codes, other) == Sharing()  # one row follows other actions
    whole = codes[:1].repeat(4, 1, 1)
    assert find_sharing(whole, actions[:1].repeat(4, 1, 1)) == Sharing(4, 3)  # a frame is left to predict


def test_little_in_common_is_read_plainly():
    assert not Sharing().saves(2) and not Sharing(8, 1).saves(16) and Sharing(8, 1).saves(2) and Sharing(2, 2).saves(4)
