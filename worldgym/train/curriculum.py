"""Which clip of the episode an iteration trains: `target_clip`, the horizon curriculum of WorldCompass (arXiv 2602.09022)."""

from __future__ import annotations

from worldgym.errors import InputError, unknown

CURRICULA = ("cycle", "grow", "last")


def target_clip(name: str, iteration: int, clips: int, iterations: int = 1) -> int:
    """The clip to train, 0 is the first that is made; give it to `env.reset` as the option "clip".

    Args:
        name: "cycle": 0, 1, …, N - 1 and again, "min2max" of the released code, which counts 1 + ((step - 1) mod N) from 1;
            "grow": from 0 to N - 1 in even shares of the run; "last": always N - 1, no curriculum.
        iteration: from 0.
        clips: N of an episode.
        iterations: length of the run, for "grow".
    """
    if name not in CURRICULA:
        raise unknown("curriculum", name, CURRICULA)
    if iteration < 0 or clips < 1 or iterations < 1:
        raise InputError(f"iteration {iteration} of {iterations} with {clips} clips: counts start at 1, iterations at 0")
    if name == "cycle":
        return iteration % clips
    if name == "grow":
        return min(clips - 1, iteration * clips // iterations)
    return clips - 1
