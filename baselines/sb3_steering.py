"""Stock Stable-Baselines3 PPO steers a frozen world model: its noise (`NoiseSteering`) or its choice of codes (`TopKToken`).

    python baselines/sb3_steering.py --view noise --steps 2560 --out runs/sb3-noise
    python baselines/sb3_steering.py --view token --steps 80640 --episodes 24 --out runs/sb3-token

The optimizer never sees the world model; it sees a bounded box of 1,344 numbers, or 8 choices, and a vector of numbers.
Reward of the noise view: `PixelReward` without its perceptual part, minus the mean absolute error to what truly happened, on
one frame that is made in one step. Of the token view: 10 times the same, on one frame of 84 codes. Two fixed prompts each, the
same before, during and after: this shows that the road works, not that anything generalises. Needs `pip install -e ".[sb3]"`.
SB3's own logging goes to `progress.csv` of the out folder, the curve to `curve.png`, figures to `result.json`.

Measured on a busy 2-core CPU (AMD EPYC), 1 thread, seed 0, stochastic policy, episodes with the same seeds before and after,
95 % bootstrap intervals over episodes:

| view | steps | CPU time | before | after | gain, paired |
| --- | --- | --- | --- | --- | --- |
| noise | 2,560 (32 episodes measured) | 99 s | -.1395 [-.1483, -.1302] | -.1372 [-.1457, -.1281] | +.0024 [+.0021, +.0027] |
| token | 80,640 (24 episodes measured) | 335 s | -.961 [-1.059, -.863] | -.775 [-.913, -.645] | +.186 [+.067, +.306] |

In training the token view's episodes rise from -.916 [-.947, -.886] in the first third to -.774 [-.805, -.744] in the last.
What it learns is to take the likeliest code: with a probability of .86 instead of 1/8 (on the first prompt).

What did not work, before: one reward pays for 84 choices, so the effect of a single one is a few hundredths of the spread
between episodes. 8,000 to 20,000 steps, 12 episodes per update, showed nothing with k = 16 (+.003 [-.010, +.015]) or 32
(-.021 [-.171, +.121]), and 60,000 steps with k = 32 little (+.095 [-.072, +.254], one prompt); with k = 8 the same gave +.256
[+.112, +.420]. Which rewards the choice moves at all: L1 of one frame (4 prompts, 6 frames each, uniform among the k likeliest
codes) is .095 for k = 1, .119 for 8, .122 for 32, .159 for 256; visual quality, drift, the IDM and the interaction-following
reward do not fall steadily with k. The prompts were picked for a large slope: on prompt 8 k = 1 has .039.
"""

from __future__ import annotations

import dataclasses
import platform
import time
from pathlib import Path
from typing import Literal

import gymnasium as gym
import numpy as np
import torch
import tyro
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import configure
from stable_baselines3.common.monitor import Monitor

import worldgym  # noqa: F401  (registers the ids)
from worldgym.envs.steering import FlatObservation, NoiseSteering, TopKToken
from worldgym.errors import exit_with_sentence
from worldgym.files import write_json
from worldgym.rewards import PixelReward

# World seeds of the training split. Those of the token view are prompts where the choice of codes matters, see above.
PROMPTS = {"noise": (3, 5), "token": (8, 15)}


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Train PPO on a steering view."""

    view: Literal["noise", "token"] = "noise"
    """What is steered."""
    out: str = "runs/sb3"
    """Folder for log, curve and result."""
    steps: int = 8000
    """Environment steps of training."""
    episodes: int = 32
    """Episodes of the measurements before and after."""
    seed: int = 0
    """Of policy, prompts and noise."""


def make(view: str) -> gym.Env:
    """A world-model environment, its reward, the frozen model, numbers for a stock policy."""
    common = {"prompt_seeds": list(PROMPTS[view]), "frames": 2}
    if view == "noise":
        env = gym.make("worldgym/DoomRooms-Denoise-v0", steps=1, **common)
        env = NoiseSteering(PixelReward(env, perceptual=None), "doom-rooms/diffusion-nano", "flow-grpo", scale=2.0)
    else:
        env = gym.make("worldgym/DoomRooms-Token-v0", **common)
        env = TopKToken(PixelReward(env, perceptual=None, weight=10.0), "doom-rooms/token-nano", k=8)
    # No step number for the token view: its reward comes at the end, so a value that moves on the way would only add noise.
    return Monitor(FlatObservation(env, ["actions", "step"] if view == "noise" else ["actions"]))


def learner(view: str, env: gym.Env, seed: int) -> PPO:
    """SB3's PPO; episodes are short and paid at their end, hence no discount and no bootstrapping along the way."""
    common = {"gamma": 1.0, "gae_lambda": 1.0, "seed": seed, "device": "cpu", "verbose": 0}
    if view == "noise":  # 1 step per episode; a standard deviation of .5 is the kernel's own noise at scale 2
        policy = {"log_std_init": float(np.log(0.5)), "net_arch": [32]}
        return PPO("MlpPolicy", env, n_steps=256, batch_size=64, learning_rate=2e-3, policy_kwargs=policy, **common)
    policy = {"net_arch": []}  # linear: "take the likelier codes" needs a bias per rank, the value a number per prompt
    length = 84 * 24  # one update looks at 24 episodes of 84 steps
    return PPO(
        "MlpPolicy", env, n_steps=length, batch_size=length, n_epochs=8, learning_rate=2e-2, policy_kwargs=policy, **common
    )


class Log(BaseCallback):
    """Keeps the reward of every finished episode."""

    def __init__(self):
        super().__init__()
        self.episodes: list[tuple[int, float]] = []

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "episode" in info:
                self.episodes.append((self.num_timesteps, info["episode"]["r"]))
        return True


def rewards_of(model: PPO, env: gym.Env, episodes: int, prompts: int) -> np.ndarray:
    """(E,) rewards of the stochastic policy; prompts in turn, seeds 0 to E - 1, the same whenever it is asked."""
    torch.manual_seed(0)
    rewards = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=episode, options={"prompts": [episode % prompts]})
        finished, total = False, 0.0
        while not finished:
            observation, reward, finished, _, _ = env.step(model.predict(observation)[0])
            total += reward
        rewards.append(total)
    return np.array(rewards)


def interval(values: np.ndarray) -> dict:
    """Mean and 95 % bootstrap interval over episodes."""
    draws = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(1)
    return {"mean": float(values.mean()), "interval": np.percentile(draws, [2.5, 97.5]).tolist()}


def draw_curve(path: Path, episodes: list[tuple[int, float]], view: str) -> None:
    """Reward per episode and its running mean."""
    import matplotlib.pyplot as plt

    steps, rewards = np.array(episodes).T
    width = max(len(rewards) // 20, 1)
    figure, axes = plt.subplots(figsize=(6, 3.2), dpi=100)
    axes.plot(steps, rewards, ".", color="0.75", markersize=2)
    axes.plot(steps[width - 1 :], np.convolve(rewards, np.ones(width) / width, "valid"), color="tab:blue")
    axes.set(xlabel="environment steps", ylabel="reward of an episode", title=f"SB3 PPO on {view} steering")
    figure.tight_layout()
    figure.savefig(path)


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    torch.set_num_threads(1)
    out, log = Path(arguments.out), Log()
    env = make(arguments.view)
    model = learner(arguments.view, env, arguments.seed)
    model.set_logger(configure(str(out), ["csv"]))
    before = rewards_of(model, env, arguments.episodes, len(PROMPTS[arguments.view]))
    print("before", interval(before), flush=True)
    start = time.process_time()
    model.learn(arguments.steps, callback=log)
    seconds = time.process_time() - start
    after = rewards_of(model, env, arguments.episodes, len(PROMPTS[arguments.view]))
    numbers = {"before": interval(before), "after": interval(after), "gain": interval(after - before)}
    played = np.array(log.episodes)[:, 1]
    third = len(played) // 3
    numbers |= {"first third of training": interval(played[:third]), "last third": interval(played[-third:])}
    print(numbers, f"{seconds:.0f} s of CPU", flush=True)
    result = {**numbers, "cpu_seconds": seconds, "machine": platform.processor() or platform.machine()}
    write_json(out / "result.json", {**dataclasses.asdict(arguments), **result, "recipe": env.env.spec.to_json()})
    draw_curve(out / "curve.png", log.episodes, arguments.view)


if __name__ == "__main__":
    main()
