"""MineWorld's decoders, code for code: traces of the published programs on random weights (tests/fixtures/README.md)."""

from pathlib import Path

import numpy as np
import pytest
import torch

from worldgym.actions import MINECRAFT
from worldgym.models.token import wave_reader
from worldgym.models.token.code_schedule import diagonal, schedule
from worldgym.models.token.llama_format import PREFIX, from_llama_state
from worldgym.models.token.token_model import TokenConfig, TokenModel
from worldgym.rng import RowNoise

TRACES = np.load(Path(__file__).parents[2] / "fixtures" / "mineworld_decoding.npz")
FRAMES, GRID = 3, (14, 24)
GAINS = {"o_proj": 8, "q_proj": 1.4, "k_proj": 1.4}
CONFIG = TokenConfig(
    8192, 336, "minecraft", hidden=64, mlp=128, heads=4, kv_heads=2, layers=2, max_frames=FRAMES, vocabulary=8262
)


@pytest.fixture(scope="module")
def model():
    """Weights of numpy's generator, name by name in alphabetical order; the published program was given the same."""
    model, random, state = TokenModel(CONFIG).eval(), np.random.default_rng(11), {}
    for name, tensor in sorted(model.state_dict().items()):
        x = random.standard_normal(tuple(tensor.shape)).astype(np.float32)
        gain = next((gain for part, gain in GAINS.items() if part in name), 2.5)  # attention must weigh, or masks hide
        scaled = 1 + 0.3 * x if "norm" in name else x if "embed" in name else gain * x / np.float32(np.sqrt(x.shape[-1]))
        state[PREFIX + name] = torch.from_numpy(scaled)
    from_llama_state(model, state)
    return model


def prompt(rows=1):
    random = np.random.default_rng(12)
    codes = random.integers(0, 8192, (1, 336))
    actions = np.stack([random.integers(0, size, (FRAMES - 1,)) for size in MINECRAFT.sizes], -1)
    return torch.from_numpy(codes)[None].repeat(rows, 1, 1), torch.from_numpy(actions)[None].repeat(rows, 1, 1)


def greedy(model, waves, frames=2):
    codes, actions = prompt()
    return wave_reader.generate(model, codes, actions[:, :frames], RowNoise([0]), waves, temperature=0)[0, 1:].numpy()


def test_token_by_token(model):
    codes, actions = prompt()
    ours = model.generate(codes, actions, RowNoise([0]), temperature=0)[0, 1:].numpy()
    np.testing.assert_array_equal(ours, TRACES["trace_raster"])
    assert len(np.unique(TRACES["trace_raster"])) > 400  # no trace that any decoder would fall into


@pytest.mark.parametrize(("window", "frames"), [(1, 2), (2, 2), (5, 1), (24, 1)])
def test_diagonal_as_published(model, window, frames):
    trace = greedy(model, diagonal(GRID, window, compat=True), frames)
    np.testing.assert_array_equal(trace, TRACES[f"trace_{window}"][:frames])


def test_fifty_forwards_per_frame_of_twelve_tokens_at_most(model, monkeypatch):
    widths, plain = [], wave_reader._run
    monkeypatch.setattr(
        wave_reader, "_run", lambda m, tokens, *rest: widths.append(tokens.shape[1]) or plain(m, tokens, *rest)
    )
    greedy(model, diagonal(GRID, 2, compat=True))
    assert widths[0] == 336 and len(widths) - 1 == 50 * 2 and max(widths[1:]) == 12


def test_masked_decoding_differs_from_the_published_one(model):
    """Unfilled places as keys of zero are no detail: they change what is drawn; a window of a whole row is the raster."""
    assert (greedy(model, diagonal(GRID, 2), 1) != TRACES["trace_2"][:1]).mean() > 0.5
    np.testing.assert_array_equal(greedy(model, diagonal(GRID, 24), 1), TRACES["trace_raster"][:1])


@pytest.mark.parametrize("name", ["diagonal", "diagonal-compat"])
def test_stepping_and_one_pass_give_the_same_logits(model, name):
    """The log-prob of a trajectory follows the schedule: zero keys counted in one pass as met step by step."""
    waves = schedule(name, GRID, 2)
    actions = prompt()[1]
    codes = torch.from_numpy(np.random.default_rng(5).integers(0, 8192, (1, FRAMES, 336)))
    reader, stepped = wave_reader.WaveReader(model, actions, waves, 1), torch.zeros(2, 336, 8192)
    for frame in (1, 2):
        for wave, cells in enumerate(map(list, waves.waves)):
            stepped[frame - 1, cells] = reader.logits(codes, frame, wave)[0]
    with torch.no_grad():
        one_pass = wave_reader.predictions(model, codes, actions, waves, 1)[0]
    torch.testing.assert_close(one_pass, stepped, atol=1e-4, rtol=0)
    assert stepped.std() > 1


def test_a_reader_that_joins_late_reads_what_was_seen_then(model):
    """Re-reading a half-drawn frame: earlier waves must not see what came after them, and zero keys stay counted."""
    waves = diagonal(GRID, 2, compat=True)
    actions = prompt()[1]
    codes = torch.from_numpy(np.random.default_rng(5).integers(0, 8192, (1, FRAMES, 336)))
    early, late = (wave_reader.WaveReader(model, actions, waves, 1) for _ in range(2))
    whole = [early.logits(codes, 1, wave) for wave in range(31)]
    torch.testing.assert_close(late.logits(codes, 1, 30), whole[30], atol=1e-4, rtol=0)
