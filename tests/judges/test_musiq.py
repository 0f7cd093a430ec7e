"""MUSIQ: the published program's scores, its parts against other roads to the same numbers, and its file."""

from pathlib import Path

import numpy as np
import published_toys as toys
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from worldgym.errors import InputError
from worldgym.judges.published import musiq
from worldgym.judges.published.musiq import MUSIQ

FIXTURE = np.load(Path(__file__).parent.parent / "fixtures" / "musiq.npz")


@pytest.fixture(scope="module")
def model():
    made = MUSIQ()
    made.load_state_dict(toys.random_state(made.state_dict()))
    return made.eval().requires_grad_(False)


def gaussian(x, side):
    """As `musiq.resize`, but as Google's program does it: a Gaussian (deviation 1/2, cut at 3/2), all in float32."""
    if side is None:
        return x
    ratio = side / max(x.shape[-2:])
    rows, columns = (_weights(length, round(length * ratio)) for length in x.shape[-2:])
    return rows @ x @ columns.T


def _weights(before, after):
    one, half = np.float32(1), np.float32(0.5)
    centre = (np.arange(after, dtype=np.float32) + half) * (one / (np.float32(after) / np.float32(before)))
    far = np.abs(np.arange(before, dtype=np.float32) + half - centre[:, None])
    weights = np.where(far < 1.5, np.exp(-2 * far**2), 0)
    return torch.from_numpy((weights / weights.sum(1, keepdims=True)).astype(np.float32))


@pytest.mark.parametrize("number", range(3))
def test_scores_are_those_of_googles_program(model, monkeypatch, number):
    """Patches, hashed positions, scales and network; a small picture, one of 224x384 and an upright one, seed = height.

    Google's program resizes by a Gaussian, VBench's (and ours) bicubically: here the Gaussian is put in.
    """
    height, width = FIXTURE["sizes"][number]
    picture = toys.pictures(1, height, width, seed=int(height))
    bicubic = float(model(picture))
    monkeypatch.setattr(musiq, "resize", gaussian)
    assert abs(float(model(picture)) - FIXTURE["scores"][number]) < 2e-5
    assert abs(bicubic - FIXTURE["scores"][number]) > 1e-2
    assert np.ptp(FIXTURE["scores"]) > 0.5


def test_a_block_is_torchs_transformer_layer(model):
    """Two roads: ours, and `nn.TransformerEncoderLayer` with the same weights (gelu in its tanh form)."""
    block = model.blocks[3]

    def gelu(x):  # a module would be replaced by the exact function on torch's fast path
        return F.gelu(x, approximate="tanh")

    layer = nn.TransformerEncoderLayer(384, 6, 1152, 0.0, gelu, 1e-6, batch_first=True, norm_first=True).eval()
    attention = layer.self_attn
    attention.in_proj_weight.data = torch.cat([block.query.weight, block.key.weight, block.value.weight])
    attention.in_proj_bias.data = torch.cat([block.query.bias, block.key.bias, block.value.bias])
    for ours, theirs in ((block.out, attention.out_proj), (block.mlp0, layer.linear1), (block.mlp1, layer.linear2)):
        theirs.load_state_dict(ours.state_dict())
    layer.norm1.load_state_dict(block.norm1.state_dict())
    layer.norm2.load_state_dict(block.norm2.state_dict())
    x = torch.randn(2, 9, 384, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(block(x), layer(x), atol=1e-5, rtol=1e-5)


def test_convolutions_standardise_their_filters_and_pad_like_tensorflow(model):
    conv, x = model.conv_root, torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    w = conv.weight.double().numpy()
    w = np.stack([(f - f.mean()) / (f.std() + 1e-5) for f in w])
    wide = np.pad(x[0].double().numpy(), ((0, 0), (2, 3), (2, 3)))  # 5 pixels, the smaller half first
    by_hand = (wide[:, 10:17, 4:11] * w[5]).sum()
    found = conv(x)
    assert found.shape == (1, 64, 16, 16) and abs(float(found[0, 5, 5, 2]) - by_hand) < 1e-4


def test_patches_are_cut_row_by_row_from_a_padded_picture():
    x = torch.arange(3 * 40 * 64, dtype=torch.float32).reshape(1, 3, 40, 64)
    cut, size = musiq.patches(x)
    assert size == (2, 2) and cut.shape == (1, 4, 3, 32, 32)
    assert (cut[0, 0, :, :12] == 0).all() and (cut[0, 0, :, 12:] == x[0, :, :20, :32]).all()  # 24 rows missing, 12 above
    assert (cut[0, 3, :, :20] == x[0, :, 20:, 32:]).all()
    assert F.fold(F.unfold(x[..., :32, :], 32, stride=32), (32, 64), 32, stride=32).eq(x[..., :32, :]).all()


def test_positions_are_hashed_to_ten_by_ten():
    assert musiq.hashed(2, 3).tolist() == [0, 3, 6, 50, 53, 56]
    assert musiq.hashed(20, 1).tolist() == [10 * (i // 2) for i in range(20)]
    for count, theirs in enumerate(FIXTURE["hashed"], start=1):  # of Google's program, for 1 to 40 rows
        assert musiq.hashed(count, 1).tolist() == theirs[:count].tolist()


def test_three_sizes_are_seen(model):
    """224x384 gives 5x7 patches at 224 (131 rows), 7x12 at 384 and 7x12 at its own size: 204 tokens and one more."""
    counted = []
    hook = model.blocks[0].register_forward_hook(lambda _, inputs, __: counted.append(inputs[0].shape))
    scores = model(toys.pictures(1, 224, 384))
    hook.remove()
    assert counted == [(1, 5 * 7 + 7 * 12 + 7 * 12 + 1, 384)] and scores.shape == (1,)


def test_big_pictures_are_made_smaller_first_and_a_batch_equals_its_singles(model):
    wide = toys.pictures(2, 64, 96)
    both = model(wide)
    torch.testing.assert_close(model(wide[1:]), both[1:], atol=1e-4, rtol=1e-5)
    assert abs(float(both[0] - both[1])) > 1e-3
    assert model(toys.pictures(1, 64, 600)).shape == (1,)


def test_googles_file_loads_and_its_faults_are_named(model, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDGYM_PUBLISHED", str(tmp_path))
    arrays, path = toys.google_names(model), tmp_path / musiq.NAME
    optimizer = {"opt/state/step": np.zeros(1), "opt/target/embedding/kernel": arrays["opt/target/embedding/kernel"]}
    np.savez(path, **{**arrays, **optimizer})
    loaded = musiq.load()
    assert all(torch.equal(loaded.state_dict()[name], x) for name, x in model.state_dict().items())
    assert arrays["opt/target/Transformer/encoderblock_0/MultiHeadDotProductAttention_1/out/kernel"].shape == (6, 64, 384)
    del arrays["opt/target/head/bias"]
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=r"missing 'head\.bias'"):
        musiq.load()


def test_a_file_with_objects_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLDGYM_PUBLISHED", str(tmp_path))
    np.savez(tmp_path / musiq.NAME, **{"opt/target/head/bias": np.array([{"a": 1}], object)})
    with pytest.raises(InputError, match="could run code"):
        musiq.load()
