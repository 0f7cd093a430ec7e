"""Versions of a played clip whose faults are known, for the reward benchmark: `tasks`, `make`.

| version | what is shown | share of right actions |
| --- | --- | --- |
| truth | what was played | 1 |
| one-wrong, half-wrong, all-wrong | other actions from the same state: at one step, from half-way on, always | counted |
| delayed | everything one frame late | counted |
| mirrored | left is right in every made frame | counted |
| frozen | the given frame | that of doing nothing |
| shuffled | the true frames in another order | unknown |
| blurred, noisy | the true frames, damaged | unknown |
| darkened, tinted, reconstructed | the true frames in another look, or through a frame codec | 1 |
| model | a world model's output | unknown |

The given frames are the true ones in every version.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from worldgym import zoo
from worldgym.actions import ActionSpec
from worldgym.actions import spec as action_spec
from worldgym.data.degradations import DEGRADATIONS
from worldgym.data.prompts import counterfactual
from worldgym.errors import InputError
from worldgym.eval.results.answers import Question
from worldgym.eval.results.progress import bar
from worldgym.eval.results.suite import Suite
from worldgym.rng import generator, torch_seed
from worldgym.worlds.recorder import Play, Recorder

DAMAGE = {"blurred": ("blur", 0.5), "noisy": ("noise", 0.5), "darkened": ("darken", 0.5), "tinted": ("tint", 0.5)}
BATCH = 32  # clips at once for the world model


def tasks(suite: Suite, codec: str, model: str, world_seeds: Sequence[int], seed: int, device: str) -> list[Question]:
    """One task per world seed; task.extra has "versions", name -> (T, H, W, 3) uint8, and "right", name -> share.

    Args:
        suite: the protocol.
        codec: frame codec of the version "reconstructed".
        model: world model of the version "model"; none when empty.
        world_seeds: of the clips.
        seed: chooses the wrong actions and all noise, by the clip's own stream.
        device: of codec and model.
    """
    recorder, questions = Recorder(suite.world), []
    try:
        plays = [recorder.play(s, suite.frames) for s in bar(world_seeds, "playing the test clips")]
        for index, play in enumerate(bar(plays, "playing other actions")):
            name = f"{suite.world}/{play.clip.seed}/0"
            known = play, name, suite.prefix, action_spec(suite.spec), torch_seed(seed, name)
            questions.append(_first_playable(recorder, *known, _donors(recorder, play, seed, suite)))
            plays[index] = None  # type: ignore[call-overload]
    finally:
        recorder.close()
    loaded = zoo.load_codec(codec, "frame-codec", device)
    for task in bar(questions, "reconstructing"):
        frames = torch.from_numpy(task.truth).to(device)
        with torch.inference_mode():
            _add(task, "reconstructed", loaded.decode(loaded.encode(frames)).cpu().numpy(), 1.0)
    if model:
        _add_model(suite, questions, model, device)
    return questions


def make(recorder: Recorder, play: Play, donor: Play, name: str, prefix: int, spec: ActionSpec, seed: int) -> Question:
    """All versions of one clip that need no network.

    Args:
        recorder: of the world.
        play: what was played.
        donor: a play whose actions are the wrong ones.
        name: the task's id.
        prefix: P, frames that stay as they are.
        spec: of the actions.
        seed: of everything that is drawn.
    """
    truth, actions = play.clip.frames, play.clip.actions
    task = Question(name, truth[:prefix], actions, truth, extra={"versions": {}, "right": {}})
    _add(task, "truth", truth, 1.0)
    steps, random = len(actions), generator(seed, "versions")
    one = int(random.integers(prefix - 1, steps))
    for version, chosen in (
        ("one-wrong", slice(one, one + 1)),
        ("half-wrong", slice(max(steps // 2, prefix - 1), steps)),
        ("all-wrong", slice(prefix - 1, steps)),
    ):
        played = actions.copy()
        played[chosen] = donor.clip.actions[chosen]
        _add(task, version, counterfactual(recorder, play, 0, played), right_share(played, actions))
    nothing = spec.null
    late = np.concatenate([np.broadcast_to(nothing, (1, len(nothing))), actions[:-1]])
    _add(task, "delayed", np.concatenate([truth[:1], truth[:-1]]), right_share(late, actions))
    _add(task, "mirrored", truth[:, :, ::-1], right_share(mirrored(actions, spec), actions))
    _add(task, "frozen", np.repeat(truth[prefix - 1 : prefix], len(truth), 0), right_share(nothing, actions))
    order = prefix + random.permutation(len(truth) - prefix)
    _add(task, "shuffled", truth[[*range(prefix), *order]], None)
    for version, (kind, severity) in DAMAGE.items():
        level, noise = torch.full((len(truth),), severity), torch.Generator().manual_seed(torch_seed(seed, kind))
        damaged = DEGRADATIONS[kind](torch.from_numpy(truth), level, noise).numpy()
        _add(task, version, damaged, 1.0 if version in ("darkened", "tinted") else None)
    return task


def right_share(played: np.ndarray, asked: np.ndarray) -> float:
    """Share of the columns of (T-1, A) actions that are as asked."""
    return float((played == asked).mean())


def mirrored(actions: np.ndarray, spec: ActionSpec) -> np.ndarray:
    """(T-1, A) actions as a mirror shows them: strafe left and right change places, and so do the signs of yaw."""
    mirror = actions.copy()
    strafe, yaw = spec.column("strafe"), spec.column("yaw")
    mirror[:, strafe] = np.array([0, 2, 1])[actions[:, strafe]]
    mirror[:, yaw] = spec.sizes[yaw] - 1 - actions[:, yaw]
    return mirror


def _add(task: Question, name: str, frames: np.ndarray, right: float | None) -> None:
    frames = np.ascontiguousarray(frames).copy()
    frames[: len(task.prefix)] = task.prefix
    task.extra["versions"][name] = frames
    if right is not None:
        task.extra["right"][name] = right


def _donors(recorder: Recorder, play: Play, seed: int, suite: Suite) -> Iterator[Play]:
    """Other plays from the test range, in the clip's own stream."""
    random = generator(torch_seed(seed, play.clip.seed), "donor")
    for _ in range(64):
        yield recorder.play(int(900_000_000 + random.integers(50_000_000)), suite.frames)


def _first_playable(
    recorder: Recorder, play: Play, name: str, prefix: int, spec: ActionSpec, seed: int, donors: Iterator[Play]
) -> Question:
    """`make` with the first donor whose actions, all or in part, can be played from this start."""
    for donor in donors:
        try:
            return make(recorder, play, donor, name, prefix, spec, seed)
        except InputError:  # walked into the room that ends the episode
            continue
    raise InputError(f"no other actions can be played from the start of clip {play.clip.seed}")


def _add_model(suite: Suite, questions: Sequence[Question], name: str, device: str) -> None:
    model = zoo.load(name, device=device)
    shown = bar(None, f"playing {name}", len(questions))
    for start in range(0, len(questions), BATCH):
        part = questions[start : start + BATCH]
        prefix, actions = np.stack([t.prefix for t in part]), np.stack([t.actions for t in part])
        with torch.inference_mode():
            seeds = [torch_seed(0, task.id, "model") for task in part]
            made = model.generate(prefix, actions, seeds=seeds, **suite.sampling.get(model.kind, {}))
        for task, frames in zip(part, np.asarray(made), strict=True):
            _add(task, "model", frames, None)
        shown.update(len(part))
    shown.close()
