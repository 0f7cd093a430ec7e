"""torchrl's wrapper around every id, single and batched, bare and in a reward: the same numbers as without it."""

from typing import Any

import pytest
import torch
from eco_toys import GAME, MODELS, make, make_batch, plain, same

from worldgym.actions import DOOM

torchrl = pytest.importorskip("torchrl.envs", reason="pip install -e .[ecosystem]")


def replayed(env: Any, twin: Any, played: Any, seeds: Any, batched: bool) -> tuple[Any, Any]:
    """Play the rollout's actions on a twin and compare every step; the last reward and whether the episode ended."""
    axis = int(batched)
    observation, _ = twin.reset(seed=seeds)
    for step, action in enumerate(played["action"].unbind(axis)):
        for key, value in observation.items() if isinstance(observation, dict) else [("pixels", observation)]:
            found = played[key].select(axis, step)
            if found.shape != torch.as_tensor(value).shape:  # torchrl writes whole numbers as one-hot vectors
                sizes = list(DOOM.sizes) if key == "actions" else [found.shape[-1]]
                columns = [part.argmax(-1) for part in found.split(sizes, -1)]
                found = torch.stack(columns, -1) if key == "actions" else columns[0]
            same(found, value)
        discrete = action.shape[axis:] != twin.action_space.shape[axis:]
        action = action.argmax(-1) if discrete else action
        observation, value, over, cut, _ = twin.step(action if batched else plain(action))
        for name, expected in (("reward", value), ("terminated", over), ("truncated", cut)):
            found = played["next", name].select(axis, step).squeeze(-1)
            same(found, torch.as_tensor(expected, dtype=found.dtype))
    return torch.as_tensor(value), torch.as_tensor(over)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("reward", [False, True])
@pytest.mark.parametrize("batched", [False, True])
def test_a_rollout_is_what_the_environment_gives(name: str, reward: bool, batched: bool):
    build = make_batch if batched else make
    env, twin = torchrl.GymWrapper(build(name, reward=reward)), build(name, reward=reward)
    env.set_seed(3)
    played = env.rollout(90)
    inside = env._env.unwrapped
    seeds = inside.seeds if batched else inside.core.seeds[0]
    value, over = replayed(env, twin, played, seeds, batched)
    assert bool(over.all()) and bool((value < 0).all()) == reward


def test_a_rollout_of_the_game():
    env, twin = torchrl.GymWrapper(make(GAME)), make(GAME)
    env.set_seed(3)
    played = env.rollout(4)
    replayed(env, twin, played, env._env.unwrapped.snapshot().seed, False)
    env.close(), twin.close()
