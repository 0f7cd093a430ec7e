"""Test clips of a suite, recorded from the game when the suite runs.

- `record(suite, seed, count)`: one `Question` per reserved world seed, with a progress bar.
"""

from __future__ import annotations

from worldgym.eval.results import suite as suites
from worldgym.eval.results.answers import Question
from worldgym.eval.results.progress import bar
from worldgym.eval.results.suite import Suite

CHUNK = 32  # clips per opened game, because starting a game takes as long as a clip or two


def record(suite: Suite, seed: int, count: int) -> list[Question]:
    """Play and render test clips; the first n are the same for any count."""
    from worldgym.data.prompts import record_prompts

    seeds, tasks = suites.suite_seeds(suite, seed, count), []
    with bar(None, "playing the test clips", count) as shown:
        for start in range(0, count, CHUNK):
            part = record_prompts(suite.world, seeds[start : start + CHUNK], suite.frames, suite.prefix)
            tasks += [Question(part.ids[i], part.prefix[i], part.actions[i], part.truth[i]) for i in range(len(part))]
            shown.update(len(part))
    return tasks
