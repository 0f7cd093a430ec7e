"""Composition by hand, guards by hand."""

import pytest
import torch
from test_rewards import Oracle, blocks_of_truth, finish, make, pixel

from worldgym.errors import InputError
from worldgym.rewards import CompositeReward, Guards, IDMReward
from worldgym.rewards.advantages import composed, optimality


def test_composition_and_optimality_by_hand():
    """Weights 3 and 1 become .75 and .25; the terms disagree; r of an advantage of half the clip is .75."""
    terms = {"a": torch.tensor([0.0, 2.0]), "b": torch.tensor([5.0, 1.0])}
    advantage = composed([(3.0, terms["a"]), (1.0, terms["b"])], 2, "group")
    torch.testing.assert_close(advantage, torch.tensor([-0.5, 0.5]))
    torch.testing.assert_close(optimality(torch.tensor([-9.0, 0.0, 1.0, 2.0]), 2.0), torch.tensor([0.0, 0.5, 0.75, 1.0]))


def test_the_wrapper_composes_what_is_due_and_follows_forks():
    env = CompositeReward(pixel(IDMReward(make(4), Oracle())), {"idm": 1.0, "pixel": 1.0}, "group")
    env.reset(seed=0, options={"group_size": 2})
    actions = blocks_of_truth(env).clone()
    actions[1::2, :, 0, 0, 0, 0] += 10  # the second row of each group is off in one column
    *_, info = env.step(actions[:, 1])
    assert "advantage" not in info
    env.step(actions[:, 2])
    _, reward, _, _, info = env.step(actions[:, 3])
    torch.testing.assert_close(reward, torch.tensor([1.0, -1.0, 1.0, -1.0]), atol=1e-4, rtol=0)
    torch.testing.assert_close(info["optimality"], torch.tensor([0.75, 0.25, 0.75, 0.25]), atol=1e-4, rtol=0)
    env.reset(seed=0)
    branches = env.fork(3)
    assert branches.unwrapped.group_size == 3 and not finish(branches)[-1][1].any()  # equal rows have no advantage


def test_bad_compositions_are_refused():
    with pytest.raises(InputError, match="needs a batched environment"):
        CompositeReward(make(), {"idm": 1.0})
    with pytest.raises(InputError, match="weights of at least 0"):
        CompositeReward(make(2), {"idm": -1.0})
    with pytest.raises(InputError, match="unknown spread 'groups'"):
        CompositeReward(make(2), {"idm": 1.0}, spread="groups")
    env = CompositeReward(pixel(make(2)), {"pixels": 1.0})
    env.reset(seed=0)
    with pytest.raises(InputError, match="unknown reward term 'pixels'; did you mean 'pixel'"):
        finish(env)


def test_guards_by_hand():
    """Three frames of grey 51, 51 and 102 after a first one of known mean: one of three is frozen; nothing is added."""
    env = Guards(pixel(make(2)))
    before = env.reset(seed=0)[0]["prefix"].float().mean((1, 2, 3, 4)) / 255
    for grey in (51.0, 51.0, 102.0):
        _, reward, _, _, info = env.step(torch.full((2, 1, 1, 3, 4), grey))
    terms = info["reward_terms"]
    assert terms["frozen"].tolist() == pytest.approx([1 / 3] * 2)
    torch.testing.assert_close(terms["brightness_drift"], 0.4 - before)
    torch.testing.assert_close(reward, terms["pixel"])
    assert isinstance(env.fork(2), Guards)
