"""tianshou's collectors around every id: the buffer holds what the environment gave."""

from typing import Any

import numpy as np
import pytest
from eco_toys import DENOISE, GAME, IDS, TOKEN, make, plain, same

tianshou = pytest.importorskip("tianshou.data", reason="pip install -e .[ecosystem]")
vectors = pytest.importorskip("tianshou.env")
algorithms = pytest.importorskip("tianshou.algorithm.algorithm_base")


class Anything(algorithms.Policy):
    """Random actions, from the space of the environment."""

    def forward(self, batch: Any, state: Any = None, **_: Any) -> Any:
        return tianshou.Batch(act=np.stack([self.action_space.sample() for _ in range(len(batch.obs))]))


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("reward", [False, True])
@pytest.mark.parametrize("kind", ["DummyVectorEnv", "ShmemVectorEnv"])
def test_the_buffer_holds_what_the_environment_gave(name: str, reward: bool, kind: str):
    if kind == "ShmemVectorEnv" and (name == TOKEN or reward) or reward and name == GAME:
        pytest.skip("one id and one reward in processes are enough, and the game has no reward")
    more = {} if name == GAME else {"reward": reward}
    envs = getattr(vectors, kind)([lambda: make(name, **more)] * 2)
    space = envs.action_space[0] if isinstance(envs.action_space, list) else envs.action_space
    policy = Anything(action_space=space, action_scaling=False, action_bound_method=None)
    steps = {TOKEN: 84, DENOISE: 4, GAME: 3}[name]
    collector = tianshou.Collector(policy, envs, tianshou.VectorReplayBuffer(200, 2))
    collector.reset(gym_reset_kwargs={"seed": 3})
    collector.collect(n_step=2 * steps)
    for part in collector.buffer.buffers:
        twin = make(name, **more)
        observation, _ = twin.reset(seed=3)
        for step in range(steps):
            kept = part[step]
            if isinstance(observation, dict):
                for key, value in observation.items():
                    same(kept.obs[key], value)
            else:
                same(kept.obs, observation)
            observation, value, over, cut, _ = twin.step(plain(kept.act)[()])
            assert (kept.rew, kept.terminated, kept.truncated) == (pytest.approx(value), over, cut)
        assert over == (name != GAME) and (value < 0) == reward
        twin.close()
    envs.close()
