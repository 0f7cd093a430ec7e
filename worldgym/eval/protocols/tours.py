"""Tours: scripted walks through the true game that come back to where they were, with true poses.

- `SCRIPTS`: name -> actions of a tour. `Guide`: plays tours from many starts and keeps those that truly come back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from worldgym.actions import DOOM
from worldgym.eval.metrics.revisit_error import revisits
from worldgym.eval.results.answers import Question
from worldgym.eval.results.progress import bar
from worldgym.worlds.recorder import make_world

TURN = 24.0  # degrees: the widest yaw of a step
QUARTER = 4  # steps of 24 degrees: 96
LAP = 15  # steps of 24 degrees: 360
OUT, COAST = 5, 3  # steps of walking, and of standing until the player stands still
FEWEST = 0.25  # share of the frames of a tour that must be revisits


def look_away(steps: int, side: int) -> np.ndarray:
    """Turn by 96 degrees, look, turn back, look; again and again: (steps, A)."""
    turn = [DOOM.action(yaw=side * TURN)] * QUARTER
    back = [DOOM.action(yaw=-side * TURN)] * QUARTER
    return _repeat([*turn, DOOM.null, DOOM.null, *back, DOOM.null, DOOM.null], steps)


def full_turns(steps: int, side: int) -> np.ndarray:
    """Turn round and round: (steps, A)."""
    return _repeat([DOOM.action(yaw=side * TURN)], steps)


def out_and_home(steps: int, side: int) -> np.ndarray:
    """Walk forward (side 1) or back (-1), stand, walk home, stand; again and again: (steps, A)."""
    there, home = ("forward", "back") if side > 0 else ("back", "forward")
    rest = [DOOM.null] * COAST
    return _repeat([*[DOOM.action(move=there)] * OUT, *rest, *[DOOM.action(move=home)] * OUT, *rest], steps)


SCRIPTS: dict[str, Callable[[int, int], np.ndarray]] = {
    "look-away": look_away,
    "full-turns": full_turns,
    "out-and-home": out_and_home,
}


class Guide:
    """One open game.

    Args:
        world: its name.
        frames: T of a tour, the first one given.
    """

    def __init__(self, world: str, frames: int):
        self.name, self.frames, self.world = world, frames, make_world(world)

    def close(self) -> None:
        """End the game."""
        self.world.close()

    def tour(self, script: str, seed: int) -> Question | None:
        """The tour that starts where the seed says; None where a wall keeps it from coming back."""
        actions = SCRIPTS[script](self.frames - 1, 1 if seed % 20 < 10 else -1)
        image, info = self.world.reset(seed=seed)
        images, poses = [image], [info["pose"]]
        for action in actions:
            image, _, terminated, _, info = self.world.step(action)
            if terminated:
                return None
            images.append(image)
            poses.append(info["pose"])
        pairs = revisits(np.stack(poses))
        if len(pairs) < FEWEST * self.frames:
            return None
        truth = np.stack(images)
        name = f"{self.name}/{seed}/0/{script}"
        extra = {"poses": np.stack(poses), "revisits": pairs}
        return Question(name, truth[:1].copy(), actions, truth, {"tour": script}, extra)

    def tours(self, scripts: Sequence[str], seeds: Iterator[int], count: int) -> list[Question]:
        """`count` tours that come back, scripts in turn, each from the next seed that allows it."""
        questions: list[Question] = []
        with bar(None, "playing the test clips", count) as shown:
            while len(questions) < count:
                task = self.tour(scripts[len(questions) % len(scripts)], next(seeds))
                if task is not None:
                    questions.append(task)
                    shown.update()
        return questions


def _repeat(pattern: list[np.ndarray], steps: int) -> np.ndarray:
    whole = -(-steps // len(pattern))
    return np.stack(pattern * whole)[:steps]
