"""Encoder states kept by prompt id, and the command that makes them, with a tiny random encoder."""

import json

import pytest
import torch
from worldplay_toys import apart, cameras, hunyuan, randn, told, wan

from worldgym.errors import InputError
from worldgym.models.diffusion.worldplay import conditions
from worldgym.models.diffusion.worldplay.conditions import Umt5, clean, load_conditions, save_condition


@torch.no_grad()
def test_texts_of_the_5b(tmp_path):
    network, rows = wan(), {"doom/7/0": randn(3, 16), "b": randn(5, 16, seed=1)}
    for name, states in rows.items():
        save_condition(tmp_path, name, states)
    batch = load_conditions(tmp_path, list(rows))
    assert batch.shape == (2, 5, 16)
    latents, route = randn(2, 2, 4, 4, 4), cameras(2, 2)
    v = network(latents, 500.0, batch, *route)
    for row, states in enumerate(rows.values()):
        one = slice(row, row + 1)
        assert apart(network(latents[one], 500.0, states[None], *(x[one] for x in route)), v[one]) <= 1e-6
    with pytest.raises(InputError, match="no states of prompt 'c'"):
        load_conditions(tmp_path, ["b", "c"])


@torch.no_grad()
def test_states_of_the_8b(tmp_path):
    network, text = hunyuan(), told(2)
    for row in range(2):
        save_condition(tmp_path, str(row), text[row : row + 1])
    got = load_conditions(tmp_path, ["0", "1"])
    for (keys, values), (mine, others) in zip(network.read_text(got).layers, network.read_text(text).layers, strict=True):
        assert torch.equal(keys, mine) and torch.equal(values, others)


def test_cleaning():
    assert clean("  a&amp;lt;b \n\t c ") == "a<b c"


@pytest.fixture
def encoder(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

    words = Tokenizer(models.WordLevel({"<pad>": 0, "<unk>": 1, "a": 2, "red": 3, "door": 4}, unk_token="<unk>"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", unk_token="<unk>").save_pretrained(
        tmp_path / "tokenizer"
    )
    torch.manual_seed(0)
    config = UMT5Config(vocab_size=8, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    UMT5EncoderModel(config).save_pretrained(tmp_path / "text_encoder")
    return tmp_path


def test_the_command(encoder, tmp_path, capsys):
    (tmp_path / "prompts.json").write_text(json.dumps({"x/1": "a red door", "x/2": "a"}))
    conditions.main(tmp_path / "prompts.json", encoder, tmp_path / "out", dtype="float32")
    assert "2 prompts" in capsys.readouterr().out
    encode = Umt5(encoder, torch.float32)
    one, two = encode("a red  door"), encode("a")
    assert (one.shape, two.shape) == ((3, 16), (1, 16))
    got = load_conditions(tmp_path / "out", ["x/1", "x/2"])
    assert torch.equal(got[0], one) and torch.equal(got[1, :1], two) and not got[1, 1:].any()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    conditions.main(tmp_path / "prompts.json", encoder, tmp_path / "out")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}


def test_the_command_says_what_is_wrong(tmp_path, capsys):
    (tmp_path / "prompts.json").write_text("[1]")
    with pytest.raises(SystemExit):
        conditions.main(tmp_path / "prompts.json", tmp_path, tmp_path / "out")
    assert "holds no prompts" in capsys.readouterr().err
    (tmp_path / "prompts.json").write_text('{"a": "b"}')
    with pytest.raises(SystemExit):
        conditions.main(tmp_path / "prompts.json", tmp_path, tmp_path / "out")
    assert "no folder 'tokenizer'" in capsys.readouterr().err
