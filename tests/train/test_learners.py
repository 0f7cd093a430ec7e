"""Learners on toys: the reward rises, the first ratio is 1, groups and clips are what they say, bad numbers stop."""

import pytest
import torch
import trainer_toys as toys

from worldgym.errors import InputError
from worldgym.runs.ranks import Ranks
from worldgym.train.layout import Layout
from worldgym.train.rollout import play
from worldgym.train.selection import prompt_turn


def rise(learner, iterations):
    """How far the mean reward rises, in spreads of one rollout among its group."""
    logs = [learner.iterate(i) for i in range(iterations)]
    rewards = [row["reward"] for row in logs]
    return (sum(rewards[-2:]) - sum(rewards[:2])) / 2 / logs[0]["reward_spread"]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("token", {}),
        ("token", {"frame_discount": 0.0, "advantage": "leave-one-out"}),
        ("token", {"compare": "cycle"}),
        ("diffusion", {"lr": 0.003, "step_share": 0.7}),
        ("diffusion", {"lr": 0.003, "frame_discount": 0.0}),
    ],
)
def test_grpo_raises_the_reward(kind, settings):
    """Turned sign or shuffled rows: no rise. 24 rollouts per iteration, so that a mean of two is good to .2 spreads."""
    assert rise(toys.learner(kind, group=12, **settings), 7) > 0.8


@pytest.mark.parametrize(
    "settings",
    [
        {"early": 0.5},
        {},
        {"compare": "cycle", "best_of": 6},
        {"old": "detached", "best_of": 6, "minibatches": 2},
    ],
)
def test_nft_raises_the_reward(settings):
    assert rise(toys.learner("diffusion", nft=True, group=12, lr=0.003, advantage="global", **settings), 14) > 0.8


def test_frame_credit_refuses_a_reward_without_values_per_frame():
    learner = toys.learner("token", frame_discount=0.0)
    learner.weights = {**learner.weights, "looks": 1.0}
    with pytest.raises(InputError, match="'looks' gives one number per clip.*--frame-discount None"):
        learner.iterate(0)


@pytest.mark.parametrize("kind", ["token", "diffusion"])
@pytest.mark.parametrize("compare", ["videos", "last"])
def test_first_ratio_is_one_for_any_micro_batch(kind, compare):
    for micro in (1, 3, 8):
        logs = toys.learner(kind, compare=compare, micro=micro).iterate(0)
        assert logs["ratio_off"] < 1e-4 and logs["clip_share"] == 0


def test_second_epoch_moves_the_ratio_and_the_clip_bites():
    logs = toys.learner("token", epochs=4, lr=0.05).iterate(0)
    assert logs["ratio_off"] > 0.05 and logs["clip_share"] > 0


def test_strong_divergence_penalty_keeps_the_policy_near_the_base():
    def away(kl):
        learner = toys.learner("token", kl=kl, epochs=2)
        start = toys.weights(learner.policy)
        logs = [learner.iterate(i) for i in range(6)]
        assert 1e-6 < logs[0]["kl"]  # the last update of the first iteration: the policy has left the base
        return logs[-1]["kl"], start

    assert away(10.0)[0] < 0.5 * away(1e-9)[0]
    assert toys.learner("token", kl=10.0).iterate(0)["kl"] < 1e-6  # the first update: it is the base


@pytest.mark.parametrize("kind", ["token", "diffusion"])
@pytest.mark.parametrize("compare", ["videos", "last"])
def test_groups_split_over_processes_play_the_same_rollouts(kind, compare):
    """One prompt slot whose 4 members lie on 2 processes, against one process: same noise, same rewards."""
    whole = toys.learner(kind, prompt_batch=1, compare=compare)
    alone = play(whole.env, whole.policy, whole.plan(0))
    for rank in range(2):
        part = toys.learner(kind, prompt_batch=1, compare=compare, ranks=OneOf(rank, 2))
        assert part.layout.splits_groups
        mine = play(part.env, part.policy, part.plan(0))
        rows = part.layout.rows
        torch.testing.assert_close(mine.reward, alone.reward[rows], atol=1e-6, rtol=0)
        torch.testing.assert_close(mine.logprob.float(), alone.logprob[rows].float(), atol=1e-3, rtol=1e-5)


def test_clip_level_shares_the_prefix_and_differs_in_the_clip():
    learner = toys.learner("token", compare="last")
    codes = play(learner.env, learner.policy, learner.plan(0)).trajectory.codes.unflatten(0, (2, 4))
    assert torch.equal(codes[:, :, :-1], codes[:, :1, :-1].expand_as(codes[:, :, :-1]))
    assert not torch.equal(codes[:, :, -1], codes[:, :1, -1].expand_as(codes[:, :, -1]))


def test_cycle_trains_one_clip_after_the_other():
    learner = toys.learner("token", compare="cycle")
    for iteration, clip in enumerate((0, 1, 0)):
        rollout = play(learner.env, learner.policy, learner.plan(iteration))
        assert rollout.clips == range(clip, clip + 1)
        assert rollout.trajectory.codes.shape[1] == clip + 2
        assert learner.steps(rollout, iteration) == list(range(12 * clip, 12 * clip + 12))


def test_a_span_of_clips_is_trained_together():
    learner = toys.learner("diffusion", nft=True, compare="last", span=2)
    rollout = play(learner.env, learner.policy, learner.plan(0))
    assert rollout.clips == range(0, 2) and learner.levels(rollout, 0).tolist()[0] == [0, 1, 2, 3, 4, 5]
    torch.testing.assert_close(rollout.terms["bright"], rollout.frames["bright"].mean(1))
    assert rollout.frames["bright"].shape == (8, 2)
    with pytest.raises(InputError, match="--span is 3, but an episode has 2 clips"):
        toys.learner("diffusion", nft=True, compare="last", span=3).iterate(0)


def test_layout_puts_values_of_split_groups_in_order():
    parts = [Layout(3, 4, rank, 2) for rank in range(2)]
    gathered = torch.cat([torch.tensor(part.rows) for part in parts])
    assert parts[1].rows == [2, 3, 6, 7, 10, 11]
    assert parts[0].ordered(gathered).tolist() == list(range(12))
    assert [Layout(4, 3, rank, 2).rows for rank in range(2)] == [list(range(6)), list(range(6, 12))]
    with pytest.raises(InputError, match="multiple of 2"):
        Layout(3, 3, 0, 2)


def test_every_prompt_has_its_turn_before_any_comes_again():
    turns = [prompt_turn(10, 4, 0, i) for i in range(5)]
    assert sorted(sum(turns, [])) == sorted(list(range(10)) * 2)
    assert turns != [prompt_turn(10, 4, 1, i) for i in range(5)]


def test_a_reward_that_is_no_number_stops_before_anything_moves():
    learner = toys.learner("token", reward=toys.Broken)
    before = toys.weights(learner.policy).clone()
    with pytest.raises(InputError, match="reward and bright of iteration 3"):
        learner.iterate(3)
    assert torch.equal(toys.weights(learner.policy), before)


def test_a_gradient_that_is_no_number_stops_before_anything_moves():
    learner = toys.learner("token")
    backward = learner.ranks.backward
    learner.ranks.backward = lambda loss: backward(loss * torch.inf)
    before = toys.weights(learner.policy).clone()
    with pytest.raises(InputError, match="gradient's norm"):
        learner.iterate(0)
    assert torch.equal(toys.weights(learner.policy), before)


def test_settings_of_another_kind_of_model_are_refused():
    with pytest.raises(InputError, match="nft cannot train a token model"):
        toys.Nft(None, toys.Policy(toys.world("token")), toys.settings_of("nft", "diffusion"))


class OneOf(Ranks):
    """One of several processes, as far as playing goes."""

    def __init__(self, rank, world):
        super().__init__()
        self.rank, self.world = rank, world
