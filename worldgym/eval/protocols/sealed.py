"""Questions from a secret: test clips that nobody can play again before it is told.

- `questions(suite, secret, clips)`: clips of the suite's world whose ids say nothing.

Ids of the published suites are world seeds, so whoever has the game can see what truly happened. Here start and player come
from a secret of 256 bits, through HMAC-SHA256; the same secret gives the same clips.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

import numpy as np

from worldgym.errors import InputError
from worldgym.eval.results.answers import Question
from worldgym.eval.results.suite import Suite
from worldgym.types import Clip
from worldgym.worlds.player import ScriptedPlayer, Walls
from worldgym.worlds.recorder import make_world

LEADS = (6, 30)  # steps before the first frame, at least and at most
ATTEMPTS = 64  # where the map ends an episode
PROTOCOLS = ("action-following",)


def number(secret: bytes, *names: object) -> int:
    """256 bits that follow from the secret and a path of names."""
    text = "/".join(map(str, names)).encode()
    return int.from_bytes(hmac.new(secret, text, hashlib.sha256).digest(), "big")


def questions(suite: Suite, secret: bytes, clips: int) -> list[Question]:
    """Clips of the scripted player, in the order of their ids.

    Args:
        suite: of action following; says world, frames and prefix.
        secret: at least 16 bytes.
        clips: how many.

    Raises:
        InputError: a suite of another kind, or a secret that could be guessed.
    """
    if suite.protocol not in PROTOCOLS:
        raise InputError(f"rounds are of protocol {PROTOCOLS[0]!r}, but suite {suite.name!r} has {suite.protocol!r}")
    if len(secret) < 16:
        raise InputError(f"the secret has {8 * len(secret)} bits; at least 128 are needed")
    world, walls, found = make_world(suite.world), None, []
    try:
        for index in range(clips):
            clip, walls = _play(world, secret, index, suite.frames, walls)
            found.append(Question(f"q{index:05}", clip.frames[: suite.prefix], clip.actions, clip.frames))
    finally:
        world.close()
    return found


def _play(world, secret: bytes, index: int, frames: int, walls: Walls | None) -> tuple[Clip, Walls]:
    for attempt in range(ATTEMPTS):
        rng = np.random.default_rng(number(secret, "clip", index, attempt))
        _, info = world.reset(seed=number(secret, "start", index, attempt) % 2**31)
        walls = walls or Walls(world.blocking_lines())
        lead = int(rng.integers(*LEADS))
        player = ScriptedPlayer(walls, rng, world.config.tics)
        images, actions, poses = [], [], []
        for step in range(lead + frames - 1):
            action = player.act(info)
            image, _, ended, _, info = world.step(action)
            if ended:
                break
            actions.append(action)
            if step >= lead - 1:
                images.append(image)
                poses.append(info["pose"])
        if len(images) == frames:
            return Clip(np.stack(images), np.asarray(np.stack(actions[lead:]), np.int64), np.stack(poses), index), walls
    raise RuntimeError(f"no episode lasted {frames} frames in {ATTEMPTS} tries")


def sha256_of(found: Sequence[Question]) -> str:
    """Hash over all questions and what truly happened."""
    return hashlib.sha256("\n".join(task.sha256() for task in found).encode()).hexdigest()
