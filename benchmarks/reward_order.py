"""Do rewards know the truth from what is bad? Clips of known order from the real game, scored by every bundled reward.

    python benchmarks/reward_order.py --out benchmarks/results/reward-order.json

Test seeds of the game that no training run and no suite uses. Kinds: "truth"; "frozen" (the given frame all the time);
"noise" (uniform noise); "shuffled" (what truly happens under another clip's actions, from the same start); "degraded"
(blurred, standard deviation 1.5 pixels); "darkened" (brightness times 0.6, which actions don't change). A reward is held to
the kinds that it claims. Intervals: 95 %, normal, over clips.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import gymnasium as gym
import numpy as np
import torch
import tyro

import worldgym  # noqa: F401  (registers the ids)
from worldgym import rewards
from worldgym.data.degradations import DEGRADATIONS
from worldgym.data.prompts import counterfactual
from worldgym.data.splits import seeds
from worldgym.errors import InputError, exit_with_sentence
from worldgym.eval.results import provenance
from worldgym.files import write_json
from worldgym.rewards import Reward
from worldgym.worlds.recorder import Play, Recorder

FRAMES = 16
FIRST_SEED = 950_000_000


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Score clips of known order with every bundled reward."""

    out: str = "benchmarks/results/reward-order.json"
    """Result file."""
    clips: int = 64
    """Clips of 16 frames."""
    rewards: tuple[str, ...] = ()
    """Rewards by class name; all that claim something when not given. Rows of others in the result file stay."""


def record(clips: int) -> dict[str, torch.Tensor]:
    """Frames (N, T, H, W, 3) uint8 of every kind, and "actions" (N, T-1, A) that were asked for."""
    recorder = Recorder("doom-rooms")
    try:
        plays = [recorder.play(seed, FRAMES) for seed in seeds("test", FIRST_SEED, clips)]
        shuffled = [others(recorder, plays, index) for index in range(clips)]
    finally:
        recorder.close()
    truth = torch.from_numpy(np.stack([play.clip.frames for play in plays]))
    found = {"truth": truth, "shuffled": torch.from_numpy(np.stack(shuffled))}
    found["frozen"] = truth[:, :1].expand_as(truth).contiguous()
    random = torch.Generator().manual_seed(0)
    found["noise"] = torch.randint(0, 256, truth.shape, dtype=torch.uint8, generator=random)
    found["degraded"] = damaged(truth, "blur", 0.5)
    found["darkened"] = damaged(truth, "darken", 0.5)
    for frames in found.values():
        frames[:, 0] = truth[:, 0]  # the given frame is what it is
    return {**found, "actions": torch.from_numpy(np.stack([play.clip.actions for play in plays]))}


def others(recorder: Recorder, plays: list[Play], index: int) -> np.ndarray:
    """(T, H, W, 3) from a clip's start under the actions of the next clip that don't end the map."""
    for step in range(1, len(plays)):
        try:
            return counterfactual(recorder, plays[index], 0, plays[(index + step) % len(plays)].clip.actions)
        except InputError:  # walked into the room that ends the episode
            continue
    raise InputError(f"no other clip's actions can be played from the start of clip {index}; record more clips")


def damaged(frames: torch.Tensor, name: str, severity: float) -> torch.Tensor:
    """(N, T, H, W, 3) uint8, every frame with one kind of damage."""
    flat = frames.flatten(0, 1)
    made = DEGRADATIONS[name](flat, torch.full((len(flat),), severity), torch.Generator().manual_seed(0))
    return made.reshape(frames.shape)


def claiming(names: tuple[str, ...] = ()) -> list[type[Reward]]:
    """Reward classes that claim something, or those named."""
    classes = [getattr(rewards, name) for name in rewards.__all__]
    classes = [cls for cls in classes if getattr(cls, "claims", ())]
    return [cls for cls in classes if cls.__name__ in names] if names else classes


@torch.inference_mode()
def scores(reward: Reward, clips: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """(N,) per kind."""
    truth, actions = clips["truth"], clips["actions"]
    kinds = [kind for kind in clips if kind != "actions"]
    return {kind: reward.score(clips[kind], actions, truth if reward.uses_truth else None, 1).total for kind in kinds}


def summary(found: dict[str, torch.Tensor]) -> dict[str, dict[str, float | list[float]]]:
    """Per kind: mean and interval; how often the truth is above it; the mean difference from the truth and its interval."""
    table = {}
    for kind, values in found.items():
        less = found["truth"] - values
        table[kind] = {"mean": float(values.mean()), "interval": interval(values)}
        if kind != "truth":
            won = ((less > 0).float() + 0.5 * (less == 0).float()).mean()
            table[kind] |= {"truth_above": float(won), "below_truth": float(less.mean()), "below_interval": interval(less)}
    return table


def interval(values: torch.Tensor) -> list[float]:
    """95 % of the mean, over clips."""
    half = 1.96 * float(values.std()) / len(values) ** 0.5
    return [float(values.mean()) - half, float(values.mean()) + half]


def begun(path: Path, about: dict) -> dict:
    """What an earlier run on the same clips found, to be completed."""
    earlier = json.loads(path.read_text()) if path.is_file() else {}
    same = all(earlier.get(key) == value for key, value in about.items())
    return {**about, "rewards": earlier["rewards"] if same else {}}


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments)
    clips = record(arguments.clips)
    env = gym.make_vec("worldgym/DoomRooms-Denoise-v0", num_envs=1, prompt_seeds=[0])
    result = begun(Path(arguments.out), {"clips": arguments.clips, "first_seed": FIRST_SEED})
    for cls in claiming(arguments.rewards):
        reward = cls(env)
        table = summary(scores(reward, clips))
        name = cls.__name__
        made = {"commit": provenance.commit(), "versions": provenance.versions(), "hardware": provenance.hardware("cpu")}
        result["rewards"][name] = {"claims": list(cls.claims), "note": reward.note, "kinds": table, "run": made}
        write_json(arguments.out, result)
        print(f"{name:28s}" + "  ".join(f"{kind} {row['mean']:.3f}" for kind, row in table.items()))


if __name__ == "__main__":
    main()
