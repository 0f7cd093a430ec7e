"""The token model: layout, causality, loss on paper, and cached generation against recomputing everything."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from worldgym.errors import InputError
from worldgym.models.layers.cuda_graph import GraphedStep
from worldgym.models.layers.kv_cache import KVCache
from worldgym.models.token.token_decoder import Recompute, TokenDecoder
from worldgym.models.token.token_model import PRESETS, TokenConfig, TokenModel
from worldgym.rng import RowNoise

V, L, T = 30, 6, 5
SMALL = TokenConfig(V, L, "doom", hidden=32, mlp=48, heads=4, kv_heads=2, layers=3, max_frames=T)


def make(seed=0, **changes):
    torch.manual_seed(seed)  # weight initialisation is PyTorch's own
    model = TokenModel(dataclasses.replace(SMALL, **changes)).eval()
    torch.nn.init.normal_(model.lm_head.weight, std=0.5)  # decided, and
    torch.nn.init.normal_(model.model.embed_tokens.weight)  # dependent on what came: greedy is not all one code
    return model


@pytest.fixture(scope="module")
def model():
    return make()


def play(batch, frames=T, spec=SMALL.action_tokens.spec, seed=0):
    """Random codes (B, T, L) and actions (B, T-1, A)."""
    rng = np.random.default_rng(seed)
    actions = np.stack([rng.integers(0, size, (batch, frames - 1)) for size in spec.sizes], -1)
    return torch.from_numpy(rng.integers(0, V, (batch, frames, L))), torch.from_numpy(actions)


# --- layout


@pytest.mark.parametrize("spec", ["doom", "minecraft"])
def test_segments_are_action_tokens(spec):
    """The lookup on the device and `ActionTokens.encode` are two roads to the same ids."""
    model = make(spec=spec)
    _, actions = play(40, spec=model.config.action_tokens.spec)
    assert np.array_equal(model.segments(actions).numpy(), model.config.action_tokens.encode(actions.numpy()))


def test_sequence_puts_each_action_before_its_frame(model):
    codes, actions = play(2, frames=3)
    tokens, segment = model.sequence(codes, actions), model.segments(actions)
    pieces = [codes[:, 0], segment[:, 0], codes[:, 1], segment[:, 1], codes[:, 2]]
    assert torch.equal(tokens, torch.cat(pieces, 1))
    assert tokens.shape[1] == 3 * L + 2 * 10  # doom: 8 columns, bos, eos


@pytest.mark.parametrize(("name", "parameters"), [("300M", 321_049_600), ("700M", 725_985_280), ("1.2B", 1_229_301_760)])
def test_sizes_of_the_paper(name, parameters):
    """MineWorld's own counts, vocabulary 8262; 16 frames of 347 tokens."""
    with torch.device("meta"):
        model = TokenModel(PRESETS[name])
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert model.config.max_len == 5552 and model.config.head_dim == 64


def test_small_presets_fit_the_world():
    sizes = {}
    for name in ("nano", "small"):
        with torch.device("meta"):
            sizes[name] = sum(p.numel() for p in TokenModel(PRESETS[name]).parameters())
    assert sizes["nano"] < 2.5e6 and 12e6 < sizes["small"] < 15e6


# --- what a token can see


def test_causality(model):
    """Changing token i changes logits at i and after, never before. Guards the causal mask."""
    codes, actions = play(1)
    tokens = model.sequence(codes, actions)
    before = model(tokens)
    for i in (0, 3, L, 2 * L, tokens.shape[1] - 1):
        changed = tokens.clone()
        changed[:, i] = (changed[:, i] + 1) % V
        difference = (model(changed) - before).abs().amax((0, 2))
        assert (difference[:i] == 0).all() and (difference[i:] > 1e-6).all()


def test_action_changes_its_frame_and_later_ones_only(model):
    codes, actions = play(1)
    before = model.predictions(codes, actions)
    actions[:, 2, 0] = (actions[:, 2, 0] + 1) % 3  # leads to frame 3
    changed = (model.predictions(codes, actions) - before).abs().amax((0, 2, 3)) > 1e-6
    assert changed.tolist() == [False, False, True, True]  # frames 1 to 4


def test_only_differences_of_positions_matter(model):
    """The same window, 17 positions later, has the same hidden states: short windows train every position."""
    codes, actions = play(2, frames=3)
    tokens = model.sequence(codes, actions)
    moved = make()
    moved.model.cos, moved.model.sin = moved.model.cos[17:], moved.model.sin[17:]
    torch.testing.assert_close(moved(tokens), model(tokens), atol=1e-5, rtol=1e-5)
    moved.model.cos = moved.model.cos[3:]  # and the check can fail: cos and sin of different positions
    assert (moved(tokens) - model(tokens)).abs().max() > 1e-2


# --- loss and log-probabilities


def test_uniform_model_loses_ln_v(model):
    """Equal logits: each of V codes has probability 1/V. Action tokens (34 more) take no share."""
    uniform = make()
    torch.nn.init.zeros_(uniform.lm_head.weight)
    codes, actions = play(3)
    assert uniform.loss(codes, actions).item() == pytest.approx(math.log(V), abs=1e-6)
    assert model.loss(codes, actions).item() > math.log(V) + 0.01


def test_loss_by_hand(model):
    """A loop over full logits, one code after the other, gives what the sliced pass gives; for any window length."""
    for frames, prefix in ((2, 1), (4, 1), (T, 2), (T, T - 1)):
        codes, actions = play(2, frames)
        tokens = model.sequence(codes, actions)
        logprobs = model(tokens)[..., :V].log_softmax(-1)
        targets = [t * (L + 10) + j for t in range(prefix, frames) for j in range(L)]
        total = sum(logprobs[b, i - 1, tokens[b, i]] for b in range(2) for i in targets)
        expected = -total.item() / (2 * len(targets))
        assert model.loss(codes, actions, prefix).item() == pytest.approx(expected, abs=1e-5)


def test_loss_ignores_action_rows_of_the_head(model):
    """Action tokens are never predicted: their head rows get no gradient, their embeddings do."""
    fresh = make()
    fresh.loss(*play(4)).backward()
    assert (fresh.lm_head.weight.grad[V:] == 0).all() and (fresh.lm_head.weight.grad[:V] != 0).any()
    assert (fresh.model.embed_tokens.weight.grad[fresh.config.action_tokens.bos] != 0).all()


def test_mean_logprob_is_minus_loss(model):
    codes, actions = play(3)
    logprobs = model.logprobs(codes, actions, top_p=1.0)
    assert logprobs.shape == (3, T - 1, L)
    torch.testing.assert_close(-logprobs.mean(), model.loss(codes, actions))


@pytest.mark.parametrize(("top_p", "temperature"), [(0.8, 1.0), (1.0, 0.7), (0.5, 1.5)])
def test_logprobs_in_one_pass_are_those_of_stepping(model, top_p, temperature):
    """Ratio 1: what a player noted while stepping equals what is recomputed, to rounding."""
    codes, actions = play(2, T)
    done = model.generate(codes[:, :2], actions, RowNoise([1, 2]), top_p, temperature)
    decoder, segments = TokenDecoder(model, 2), model.segments(actions)
    noted = []
    logits = decoder.prefill(torch.cat([model.sequence(done[:, :2], actions[:, :1]), segments[:, 1]], 1))
    for t in range(2, T):
        for j in range(L):
            weights = (logits / temperature).softmax(-1)
            falling = weights.sort(-1, descending=True)
            drop = falling.values.cumsum(-1) - falling.values > top_p
            weights = weights.scatter(-1, falling.indices, falling.values.masked_fill(drop, 0.0))
            chosen = weights.gather(-1, done[:, t, j, None]) / weights.sum(-1, keepdim=True)
            noted.append(chosen.log())
            last = (t, j) == (T - 1, L - 1)
            logits = decoder.step(done[:, t, j], segments[:, t] if j == L - 1 and not last else None)
    again = model.logprobs(done, actions, 2, top_p, temperature)
    torch.testing.assert_close(again.flatten(1), torch.cat(noted, 1), atol=1e-5, rtol=1e-5)


# --- generation


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("prefix", [1, 2, 4])
@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("heads", [(4, 2), (4, 1), (2, 2)], ids=str)
def test_cached_is_uncached(heads, batch, prefix, temperature):
    model = make(heads=heads[0], kv_heads=heads[1])
    codes, actions = play(batch)
    seeds = range(batch)
    cached = model.generate(codes[:, :prefix], actions, RowNoise(seeds), 0.8, temperature)
    plain = model.generate(codes[:, :prefix], actions, RowNoise(seeds), 0.8, temperature, cache=False)
    assert torch.equal(cached, plain)
    assert torch.equal(cached[:, :prefix], codes[:, :prefix])
    assert cached.shape == (batch, T, L) and cached[:, prefix:].unique().numel() > 2


def test_batch_is_singles(model):
    codes, actions = play(4)
    together = model.generate(codes[:, :1], actions, RowNoise([5, 6, 7, 8]))
    for row in range(4):
        alone = model.generate(codes[row : row + 1, :1], actions[row : row + 1], RowNoise([5 + row]))
        assert torch.equal(alone[0], together[row])


def test_noise_and_actions_matter(model):
    codes, actions = play(2)
    first = model.generate(codes[:, :1], actions, RowNoise([1, 2]))
    assert torch.equal(first, model.generate(codes[:, :1], actions, RowNoise([1, 2])))
    other_noise = model.generate(codes[:, :1], actions, RowNoise([1, 3]))
    assert torch.equal(first[0], other_noise[0]) and not torch.equal(first[1], other_noise[1])
    _, other = play(2, seed=1)
    assert not torch.equal(first, model.generate(codes[:, :1], other, RowNoise([1, 2])))


def test_generation_draws_what_sampling_says(model):
    """The first new code over 4,000 rows against the model's own probabilities, 5 standard deviations (alarm < 1e-4)."""
    codes, actions = play(1, frames=2)
    n = 4000
    decoder = TokenDecoder(model, 1)
    p = decoder.prefill(torch.cat([codes[:, 0], model.segments(actions)[:, 0]], 1)).softmax(-1)[0]
    many = model.generate(codes[:, :1].expand(n, -1, -1), actions.expand(n, -1, -1), RowNoise(range(n)), top_p=1.0)
    drawn = many[:, 1, 0].bincount(minlength=V) / n
    assert ((drawn - p).abs() <= 5 * (p * (1 - p) / n).sqrt() + 1 / n).all()


# --- the stepping face


def test_decoder_is_recompute(model):
    """Any way of cutting the tokens into pieces gives the same logits. Guards the mask of pieces longer than 1."""
    codes, actions = play(2)
    tokens = model.sequence(codes, actions)
    oracle = model(tokens)[..., :V]
    for pieces in ([40, 1, 11, 1, 1, 16], [1] * 70, [70], [3, 60, 7]):
        decoder, recompute = TokenDecoder(model, 2), Recompute(model)
        for piece in tokens.split(pieces, 1):
            torch.testing.assert_close(decoder.feed(piece), recompute.feed(piece), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(recompute.feed(tokens[:, :0]), oracle[:, -1], atol=1e-5, rtol=1e-5)


def test_prefill_starts_anew(model):
    codes, actions = play(2)
    tokens = model.sequence(codes, actions)
    decoder = TokenDecoder(model, 2)
    first = decoder.prefill(tokens[:, :20])
    decoder.feed(tokens[:, 20:40])
    assert torch.equal(decoder.prefill(tokens[:, :20]), first)  # what was there before leaves no trace


def test_fork_goes_on_independently(model):
    """Row b of G copies stands at b * G; branches do not write into each other or into the trunk."""
    codes, actions = play(2)
    tokens = model.sequence(codes, actions)[:, :20]
    trunk = TokenDecoder(model, 2)
    trunk.prefill(tokens)
    fork = trunk.fork(3)
    choices = torch.tensor([0, 1, 2, 3, 4, 5])
    logits = fork.step(choices)
    whole = torch.cat([tokens.repeat_interleave(3, 0), choices[:, None]], 1)
    torch.testing.assert_close(logits, model(whole)[:, -1, :V], atol=1e-5, rtol=1e-5)
    other = torch.tensor([7, 8])
    after = trunk.step(other)
    torch.testing.assert_close(after, model(torch.cat([tokens, other[:, None]], 1))[:, -1, :V], atol=1e-5, rtol=1e-5)


def test_device_position_is_integer_position(model):
    """The road that CUDA graphs take (whole buffers, mask, position as a tensor), run here without a graph.

    The cache is first filled with garbage: unwritten slots must not be read.
    """
    codes, actions = play(2)
    tokens = model.sequence(codes, actions)
    plain, masked = model.empty_cache(2), model.empty_cache(2)
    masked.keys.fill_(9.0)
    masked.values.fill_(9.0)
    for start, piece in ((0, tokens[:, :20]), (20, tokens[:, 20:31]), (31, tokens[:, 31:32])):
        a = model.next_logits(piece, plain, start)
        b = model.next_logits(piece, masked, torch.tensor(start))
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_cache_writes_in_place():
    cache = KVCache(layers=2, batch=1, kv_heads=1, max_len=4, head_dim=2)
    address = cache.keys.data_ptr()
    k, v = torch.ones(1, 1, 2, 2), torch.full((1, 1, 2, 2), 2.0)
    keys, values = cache.write(1, k, v, 1)
    assert keys[0, 0, :, 0].tolist() == [0, 1, 1] and values[0, 0, :, 1].tolist() == [0, 2, 2]
    keys, _ = cache.write(1, 3 * k[:, :, :1], v[:, :, :1], torch.tensor(3))
    assert keys[0, 0, :, 0].tolist() == [0, 1, 1, 3]
    assert cache.keys.data_ptr() == address and (cache.keys[0] == 0).all()


def test_graphed_step_is_the_step_on_cpu():
    assert torch.equal(GraphedStep(torch.add)(torch.ones(2), torch.ones(2)), torch.full((2,), 2.0))


@pytest.mark.gpu
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_graphs_on_cuda(temperature):
    """Captured graphs draw what the CPU draws; a second call with other inputs replays, and must not see the first."""
    model = make()
    codes, actions = play(3)
    there = make().to("cuda")
    for seeds in ([1, 2, 3], [4, 5, 6]):
        noise = RowNoise(seeds, "cuda")
        drawn = there.generate(codes[:, :1].cuda(), actions.cuda(), noise, 0.8, temperature).cpu()
        assert torch.equal(drawn, model.generate(codes[:, :1], actions, RowNoise(seeds), 0.8, temperature))


# --- errors


def test_bad_batches(model):
    codes, actions = play(2)
    with pytest.raises(InputError, match=r"codes have shape \(2, 5, 5\), but this model needs \(B, T, 6\)"):
        model.loss(codes[..., :5], actions)
    with pytest.raises(InputError, match=r"codes have shape \(5, 6\)"):
        model.loss(codes[0], actions)
    with pytest.raises(InputError, match=r"actions have shape \(2, 3, 8\), but 5 frames need \(2, 4, 8\)"):
        model.loss(codes, actions[:, 1:])
    with pytest.raises(InputError, match=r"actions have shape \(2, 4, 7\), but 5 frames need \(2, 4, 8\)"):
        model.loss(codes, actions[..., :7])
    with pytest.raises(InputError, match="holds 3 in column 'move'"):
        model.loss(codes, actions.clone().index_fill_(-1, torch.tensor([0]), 3))
    with pytest.raises(InputError, match="codes run from 0 to 30, but this model knows 0 to 29"):
        model.loss(codes.clone().fill_(30).index_fill_(0, torch.tensor([0]), 0), actions)
    with pytest.raises(InputError, match="prefix is 5"):
        model.loss(codes, actions, prefix=5)


def test_bad_requests(model):
    codes, actions = play(2, frames=7)
    with pytest.raises(InputError, match="7 frames were asked for, but this model holds 5 at most"):
        model.generate(codes[:, :1], actions, RowNoise([1, 2]))
    with pytest.raises(InputError, match="noise has 1 rows, but there are 2 clips"):
        model.generate(codes[:, :1], actions[:, :4], RowNoise([1]))
    with pytest.raises(InputError, match="but 4 frames need"):
        model.generate(codes[:, :4], actions[:, :2], RowNoise([1, 2]))
    with pytest.raises(InputError, match="longer than the 5 frames"):
        TokenDecoder(model, 1).feed(torch.zeros(1, 81, dtype=torch.int64))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hidden": 30}, "hidden 30 must be heads"),
        ({"kv_heads": 3}, "multiple of kv_heads"),
        ({"vocabulary": V + 1}, "need 64"),
        ({"spec": "dom"}, "did you mean 'doom'"),
    ],
)
def test_bad_configs(changes, words):
    with pytest.raises(InputError, match=words):
        dataclasses.replace(SMALL, **changes)
