"""RLIR on MineWorld, shrunken: the same environment, judge and preset as at full size."""

import copy

import mineworld_toys as toys
import pytest
import recording_toys
import torch
import vpt_toys

from worldgym.actions import MINECRAFT
from worldgym.data.prompt_source import find_prompts
from worldgym.envs.token import TokenEnv, TokenVectorEnv
from worldgym.models.token.agent import TokenAgent
from worldgym.models.world_model import WorldModel
from worldgym.rewards import IDMReward
from worldgym.rng import RowNoise
from worldgym.train.config import replaced
from worldgym.train.grpo import Grpo
from worldgym.train.policy import Policy
from worldgym.train.presets import PRESETS

FRAMES = 3


def env(rows=0, **options):
    options = {"codec": toys.random_codec(), "prompts": toys.prompts(frames=FRAMES), "frames": FRAMES, **options}
    return TokenVectorEnv(rows, spec="minecraft", **options) if rows else TokenEnv(spec="minecraft", **options)


@pytest.mark.parametrize("schedule", ["raster", "diagonal", "diagonal-compat"])
def test_the_environment_and_the_ratio_are_those_of_the_bundled_model(schedule):
    played = env(2, schedule=schedule)
    agent = TokenAgent(toys.random_model(), played.schedule, top_p=0.8)
    observation, _ = played.reset(seed=0)
    noise, stepped = RowNoise([3, 4]), []
    while not played.finished:
        action, logprob = agent.act(observation, noise)
        observation, *_ = played.step(action)
        stepped.append(logprob)
    ratio = (agent.logprob(played.trajectory()) - torch.stack(stepped, 1)).exp()
    torch.testing.assert_close(ratio, torch.ones_like(ratio), atol=1e-4, rtol=0)
    assert played.trajectory().codes.unique().numel() > 10


def test_the_single_environment_speaks_numpy():
    single = env()
    observation, _ = single.reset(seed=0)
    assert observation["prefix"].shape == (1, 8, 12, 3) and observation["actions"].shape == (FRAMES - 1, 11)
    assert single.action_space.n == 50


def test_a_folder_of_recordings_prompts_an_environment(tmp_path):
    recording_toys.recording(tmp_path, "clip_0")
    recording_toys.recording(tmp_path, "clip_1", raw=recording_toys.steps(40, seed=9))
    found = find_prompts(str(tmp_path), None, FRAMES, 1)
    assert found.prefix.shape == (2, 1, 224, 384, 3) and found.actions.shape == (2, FRAMES - 1, 11)
    MINECRAFT.check(found.actions)
    assert (found.actions[0] != found.actions[1]).any()


def test_one_iteration_of_rlirs_preset():
    """Preset as it stands, but for the number of rollouts; every weight but the action rows of the head moves."""
    config = replaced(PRESETS["grpo", "token"]["rlir-token"], prompt_batch=2, group=3)
    assert (config.optimisation.lr, config.algorithm.clip, config.rollout.top_p, config.algorithm.kl) == (3e-5, 0.2, 0.8, 0.0)
    model = toys.random_model()
    before = copy.deepcopy(model.state_dict())
    world = WorldModel("toy", "token", model, toys.random_codec())
    rewarded = IDMReward(env(config.rollout.rows), judge=vpt_toys.judge())
    logs = Grpo(rewarded, Policy(world, top_p=config.rollout.top_p), config).iterate(0)
    assert 0 < logs["reward"] < 1
    moved = {name: not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items()}
    assert all(moved.values()), [name for name, yes in moved.items() if not yes]
    head = model.lm_head.weight
    assert torch.equal(head[50:], before["lm_head.weight"][50:])  # action tokens never enter the loss


@pytest.mark.long
def test_the_command_runs_on_published_files(tmp_path):
    """Checkpoint, judge and recordings as files; frames of 224 x 384; the result loads with the tokenizer it began with."""
    import worldgym
    from worldgym.models.codecs.vq_codec import VQConfig
    from worldgym.models.token.token_model import TokenConfig
    from worldgym.train.__main__ import main

    token = TokenConfig(8192, 336, "minecraft", 64, 32, 1, 1, 1, vocabulary=8262)
    codec = toys.random_codec(VQConfig((8, 8, 8, 8, 16), layers=1, latent=4, embed=4, groups=8))
    base = toys.write(tmp_path / "tiny_16f.ckpt", toys.random_model(token), codec)
    judge = tmp_path / "4x_idm.weights"
    torch.save(vpt_toys.random_state(vpt_toys.SMALL), judge)
    (tmp_path / "vpt").mkdir()
    recording_toys.recording(tmp_path / "vpt")
    command = (
        f"grpo --preset rlir-token --model {base} --prompts {tmp_path / 'vpt'} --out {tmp_path / 'run'} --schedule diagonal"
    )
    command += f" --reward idm pixel --reward-option idm.judge={judge} --frames 2 --prompt-batch 1 --group 2 --prompt-count 2"
    main([*command.split(), "--iterations", "1", "--threads", "1", "--device", "cpu"])
    trained = worldgym.load(str(tmp_path / "run"))
    assert trained.model.config.hidden == 64 and trained.codec.config.channels == codec.config.channels
    assert not torch.equal(trained.model.lm_head.weight, worldgym.load(str(base)).model.lm_head.weight)
