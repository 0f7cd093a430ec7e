"""The world models as agents: stepping = generating, stepping = one pass (ratio 1), forks, splits of a batch."""

import pytest
import torch
from env_toys import denoise_env, diffusion_model, play, token_env, token_model

from worldgym.actions import DOOM
from worldgym.errors import InputError
from worldgym.models.diffusion.agent import DenoiseAgent
from worldgym.models.diffusion.noise_kernels import LEVELS, NoiseKernel
from worldgym.models.token.agent import TokenAgent
from worldgym.models.token.code_schedule import diagonal, raster, schedule
from worldgym.rng import RowNoise

STEPS = [5, 0, 3]


def ratio_is_one(stepped: torch.Tensor, recomputed: torch.Tensor) -> None:
    assert stepped.shape == recomputed.shape
    ratio = (recomputed - stepped).exp()
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-4, rtol=0)


# --- schedules --------------------------------------------------------------------------------------------------------


def test_diagonal_waves_of_mineworld():
    """The paper's grid: 50 waves instead of 336, at most 12 codes at once."""
    waves = diagonal((14, 24))
    assert (len(waves.waves), waves.width) == (50, 12)
    assert sorted(cell for cells in waves.waves for cell in cells) == list(range(336))
    assert waves.stand_ins == {24 * row + 23 for row in range(13)}


def test_small_diagonal_by_hand():
    assert diagonal((2, 3)).waves == ((0,), (1,), (2, 3), (4,), (5,))
    assert raster(3).waves == ((0,), (1,), (2,)) and not raster(3).stand_ins
    with pytest.raises(InputError, match="unknown schedule 'rastr'"):
        schedule("rastr", (2, 3))
    with pytest.raises(InputError, match="window is 9"):
        diagonal((2, 3), 9)


# --- tokens -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", [1, 2])
def test_stepping_the_raster_is_generating(prefix: int):
    env, model = token_env(3, prefix=prefix), token_model()
    observation, _ = env.reset(seed=0)
    play(env, TokenAgent(model, env.schedule, top_p=0.8), RowNoise([7, 8, 9]), observation)
    given = env.codec.encode(observation["prefix"])
    whole = model.generate(given, env.actions, RowNoise([7, 8, 9]), top_p=0.8)
    assert torch.equal(env.trajectory().codes, whole)


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize(("order", "prefix"), [("raster", 1), ("diagonal", 1), ("diagonal", 2), ("diagonal-compat", 2)])
def test_token_ratio_is_one(order: str, prefix: int, batch: int):
    env = token_env(batch, schedule=order, prefix=prefix)
    agent = TokenAgent(token_model(), env.schedule, top_p=0.9)
    observation, _ = env.reset(seed=1)
    stepped = play(env, agent, RowNoise(range(batch)), observation)
    ratio_is_one(stepped, agent.logprob(env.trajectory()))
    ratio_is_one(stepped[:, STEPS], agent.logprob(env.trajectory(), STEPS))
    assert stepped.std() > 0.01


def test_raster_waves_are_the_raster():
    """Two roads: the wave reader on a schedule of single cells, and plain decoding."""
    from worldgym.models.token.wave_reader import RasterReader, WaveReader, predictions

    env, model = token_env(2), token_model()
    env.reset(seed=0)
    play(env, TokenAgent(model), RowNoise([0, 1]), env.observation())
    codes, actions = env.trajectory().codes, env.actions
    one_pass = predictions(model, codes, actions, raster(12), 1)
    torch.testing.assert_close(one_pass, model.predictions(codes, actions), atol=1e-5, rtol=0)
    readers = RasterReader(model, actions), WaveReader(model, actions, raster(12), 1)
    for frame, wave in ((2, 4), (2, 5), (2, 6)):
        left, right = (reader.logits(codes, frame, wave) for reader in readers)
        torch.testing.assert_close(left, right, atol=1e-5, rtol=0)


def test_a_wave_does_not_see_what_is_drawn_with_it_or_later():
    """Changing a code that a wave cannot know must leave its logits alone; changing one it knows must not."""
    from worldgym.models.token.wave_reader import predictions

    env, model, waves = token_env(1), token_model(), diagonal((3, 4))
    env.reset(seed=0)
    play(env, TokenAgent(model), RowNoise([0]), env.observation())
    codes = env.trajectory().codes
    base = predictions(model, codes, env.actions, waves, 1)[0, 0]
    for cell in range(12):
        changed = codes.clone()
        changed[0, 1, cell] = (changed[0, 1, cell] + 1) % 6
        moved = (predictions(model, changed, env.actions, waves, 1)[0, 0] - base).abs().amax(-1) > 1e-6
        later = [waves.drawn[other] > waves.drawn[cell] and other > cell for other in range(12)]
        if cell in waves.stand_ins:  # its true code is never fed inside its own frame
            later = [False] * 12
        assert moved.tolist() == later


@pytest.mark.parametrize("order", ["raster", "diagonal", "diagonal-compat"])
@pytest.mark.parametrize("extra", [0, 2])
def test_a_token_fork_continues_and_keeps_ratio_one(order: str, extra: int):
    """Fork between frames and in the middle of one; the cached agent must agree with one that reads everything anew."""
    env = token_env(2, schedule=order)
    agent, noise = TokenAgent(token_model(), env.schedule), RowNoise([0, 1])
    observation, _ = env.reset(seed=2)
    for _ in range(env.steps_per_clip * 2 + extra):
        observation, *_ = env.step(agent.act(observation, noise)[0])
    copies = [env.fork(3), env.fork(3)]
    agents = agent.fork(3), TokenAgent(token_model(), env.schedule)
    played = [play(e, a, RowNoise(range(6)), e.observation()) for e, a in zip(copies, agents, strict=True)]
    torch.testing.assert_close(*played, atol=1e-4, rtol=0)
    assert torch.equal(copies[0].trajectory().codes, copies[1].trajectory().codes)
    ratio_is_one(played[0], agent.logprob(copies[0].trajectory())[:, -played[0].shape[1] :])
    assert not env.finished and (copies[0].trajectory().codes[0] != copies[0].trajectory().codes[1]).any()


# --- denoising --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("clip", "prefix"), [(1, 1), (2, 1), (2, 3)])
def test_stepping_the_ode_is_generating(clip: int, prefix: int):
    env, model = denoise_env(3, clip_frames=clip, prefix=prefix), diffusion_model(clip)
    observation, _ = env.reset(seed=5)
    play(env, DenoiseAgent(model, "ode"), RowNoise(range(3)), observation)
    given = env.codec.encode(observation["prefix"])
    whole = model.generate(given, env.actions, RowNoise(env.seeds), steps=3, sampler="euler")
    torch.testing.assert_close(env.trajectory().latents, whole, atol=1e-5, rtol=0)
    weights = torch.tensor([0.0, 1.0, 2.0])
    play(env, DenoiseAgent(model, "ode", weights), RowNoise(range(3)), env.reset(seed=5)[0])
    for cache in (True, False):
        guided = model.generate(given, env.actions, RowNoise(env.seeds), 3, "euler", cache, guidance=weights)
        torch.testing.assert_close(env.trajectory().latents, guided, atol=1e-5, rtol=0)
    torch.testing.assert_close(guided[0], whole[0], atol=1e-5, rtol=0)
    assert not torch.allclose(guided[1:], whole[1:], atol=1e-3)


@pytest.mark.parametrize("batch", [1, 3, 8])
@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize(("clip", "prefix"), [(1, 1), (2, 3)])
def test_denoise_ratio_is_one(name: str, batch: int, clip: int, prefix: int):
    env = denoise_env(batch, clip_frames=clip, prefix=prefix)
    agent = DenoiseAgent(diffusion_model(clip), name)
    observation, _ = env.reset(seed=1)
    stepped = play(env, agent, RowNoise(range(batch)), observation)
    ratio_is_one(stepped, agent.logprob(env.trajectory()))
    ratio_is_one(stepped[:, [2, 0]], agent.logprob(env.trajectory(), [2, 0]))
    assert bool(stepped.any()) == (name != "ode")


def test_denoise_logprob_has_gradients():
    env, agent = denoise_env(2), DenoiseAgent(diffusion_model(), NoiseKernel("rlir", 0.5))
    play(env, agent, RowNoise([0, 1]), env.reset(seed=0)[0])
    agent.logprob(env.trajectory(), [0, 4]).sum().backward()
    assert agent.model.head.weight.grad.abs().sum() > 0
    agent.model.zero_grad()


@pytest.mark.parametrize("extra", [0, 1])
def test_a_denoise_fork_equals_independent_rollouts_with_the_same_noise(extra: int):
    env, agent, noise = denoise_env(2), DenoiseAgent(diffusion_model(), "flow-grpo"), RowNoise([0, 1])
    observation, _ = env.reset(seed=2, options={"clip": 2})
    for _ in range(2 * env.steps_per_clip + extra):
        observation, *_ = env.step(agent.act(observation, noise)[0])
    copies = [env.fork(3), env.fork(3)]
    agents = agent.fork(3), DenoiseAgent(diffusion_model(), "flow-grpo")
    played = [play(e, a, RowNoise(range(6)), e.observation()) for e, a in zip(copies, agents, strict=True)]
    torch.testing.assert_close(*played, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(*(e.trajectory().latents for e in copies), atol=1e-5, rtol=0)
    ratio_is_one(played[0], agent.logprob(copies[0].trajectory())[:, -played[0].shape[1] :])
    latents = copies[0].trajectory().latents
    assert latents.shape[1] == 4 and torch.equal(latents[0, :3], latents[1, :3])
    assert not torch.equal(latents[0, 3], latents[1, 3])


def test_fork_shares_the_prefix():
    """N clips once and G candidates for the last: N + G clip generations of B rows, not N G."""
    env, agent, groups = denoise_env(1), DenoiseAgent(diffusion_model(), "ode"), 5
    rows = []
    handle = agent.model.blocks[0].register_forward_pre_hook(lambda _, inputs: rows.append(len(inputs[0])))
    try:
        observation, _ = env.reset(seed=2)
        for _ in range(3 * env.steps_per_clip):
            observation, *_ = env.step(agent.act(observation, RowNoise([0]))[0])
        before = len(rows)
        branches = env.fork(groups)
        play(branches, agent.fork(groups), RowNoise(range(groups)), branches.observation())
    finally:
        handle.remove()
    assert set(rows[:before]) == {1} and before == 1 + 3 * env.steps_per_clip + 2  # prefix, steps, two clips appended
    assert rows[before:] == [groups] * (1 + env.steps_per_clip)  # the last finished clip appended, then the steps


def test_guidance_is_the_difference_to_standing_still():
    """One Euler step under w moves by v + w (v - v_null); v and v_null from plain agents in envs of those actions."""
    model = diffusion_model()
    env, still = denoise_env(3), denoise_env(3)
    observation, null = env.reset(seed=4)[0], still.reset(seed=4)[0]
    null = {**null, "actions": torch.from_numpy(DOOM.null).expand_as(null["actions"]).contiguous()}
    plain, neutral = (DenoiseAgent(model, "ode").propose(seen).mean for seen in (observation, null))
    assert not torch.allclose(plain, neutral, atol=1e-3)
    for weight in (0.0, 1.5, torch.tensor([0.0, 1.0, 3.0])):
        w = torch.as_tensor(weight).expand(3).view(3, 1, 1, 1, 1)
        guided = DenoiseAgent(model, "ode", weight).propose(observation).mean
        torch.testing.assert_close(guided, plain + w * (plain - neutral), atol=1e-5, rtol=0)
    assert torch.equal(DenoiseAgent(model, "ode", 0.0).propose(observation).mean, plain)


def test_guidance_leaves_the_context_alone_and_is_forked():
    """Whole guided rollouts: those forked after the first frame are those of an agent that reads anew."""
    env, agent, noise = denoise_env(2), DenoiseAgent(diffusion_model(), "ode", torch.tensor([0.5, 2.0])), RowNoise([0, 1])
    observation, _ = env.reset(seed=2, options={"clip": 2})
    for _ in range(2 * env.steps_per_clip + 1):
        observation, *_ = env.step(agent.act(observation, noise)[0])
    copies = [env.fork(2), env.fork(2)]
    agents = agent.fork(2), DenoiseAgent(diffusion_model(), "ode", torch.tensor([0.5, 0.5, 2.0, 2.0]))
    for other, player in zip(copies, agents, strict=True):
        play(other, player, RowNoise(range(4)), other.observation())
    torch.testing.assert_close(*(e.trajectory().latents for e in copies), atol=1e-5, rtol=0)


def test_guided_agents_refuse_bad_use():
    env = denoise_env(2)
    observation, _ = env.reset(seed=0)
    with pytest.raises(InputError, match="shape \\(3,\\), but there are 2 rows"):
        DenoiseAgent(diffusion_model(), "ode", torch.ones(3)).act(observation, RowNoise([0, 1]))
    agent = DenoiseAgent(diffusion_model(), "flow-grpo", 1.0)
    play(env, agent, RowNoise([0, 1]), observation)
    with pytest.raises(InputError, match="guided steps cannot be recomputed"):
        agent.logprob(env.trajectory())


# --- both -------------------------------------------------------------------------------------------------------------


def test_single_face_gives_the_same_numbers():
    for make, agents in (
        (token_env, [TokenAgent(token_model()) for _ in range(2)]),
        (denoise_env, [DenoiseAgent(diffusion_model()) for _ in range(2)]),
    ):
        many, one = make(1), make()
        batch, single = many.reset(seed=3)[0], one.reset(seed=3)[0]
        noises = RowNoise([4]), RowNoise([4])
        while not many.finished:
            left, right = agents[0].act(batch, noises[0]), agents[1].act(single, noises[1])
            torch.testing.assert_close(left[1], right[1], atol=0, rtol=0)
            batch, single = many.step(left[0])[0], one.step(right[0])[0]


def test_an_agent_notices_a_reset_in_the_middle():
    env, agent = token_env(2), TokenAgent(token_model())
    for steps in (5, 12 * 4):
        observation, _ = env.reset(seed=steps)
        noise, logprobs = RowNoise([0, 1]), []
        for _ in range(steps):
            action, logprob = agent.act(observation, noise)
            observation, *_ = env.step(action)
            logprobs.append(logprob)
    ratio_is_one(torch.stack(logprobs, 1), agent.logprob(env.trajectory()))


def test_agents_refuse_bad_use():
    env = token_env(2)
    observation, _ = env.reset(seed=0)
    with pytest.raises(InputError, match="noise has 3 rows"):
        TokenAgent(token_model()).act(observation, RowNoise(range(3)))
    with pytest.raises(InputError, match="temperature is 0"):
        TokenAgent(token_model(), temperature=0.0)
    with pytest.raises(InputError, match="20 codes per frame, the model 12"):
        TokenAgent(token_model(), raster(20))
    env = denoise_env(2)
    with pytest.raises(InputError, match="noise has 3 rows"):
        DenoiseAgent(diffusion_model()).act(env.reset(seed=0)[0], RowNoise(range(3)))


def test_a_token_fork_shares_the_prefix():
    """As above, in tokens that enter the model: two frames of one row, then one frame of five rows."""
    env, agent, groups = token_env(1), TokenAgent(token_model()), 5
    fed = []
    handle = agent.model.model.embed_tokens.register_forward_hook(lambda _, inputs, out: fed.append(tuple(out.shape[:2])))
    try:
        observation, _ = env.reset(seed=2, options={"clip": 2})
        for _ in range(2 * env.steps_per_clip):
            observation, *_ = env.step(agent.act(observation, RowNoise([0]))[0])
        before = len(fed)
        branches = env.fork(groups)
        play(branches, agent.fork(groups), RowNoise(range(groups)), branches.observation())
    finally:
        handle.remove()
    assert {rows for rows, _ in fed[:before]} == {1} and before == 2 * 12
    assert [rows for rows, _ in fed[before:]] == [groups] * 12  # no token of the past enters again
    assert sum(tokens for _, tokens in fed[before:]) == agent.model.config.stride
