"""`python -m worldgym.record`: record clips of a world with its scripted player.

python -m worldgym.record --world doom-rooms --clips 2000 --seed 0 --out data/doom-rooms --workers 2
"""

from __future__ import annotations

import dataclasses
import os

import tyro

from worldgym.errors import exit_with_sentence
from worldgym.untrusted import check_numbers


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Record clips of a world; any number of workers gives the same bytes."""

    out: str
    """Folder to make."""
    world: str = "doom-rooms"
    """Which world."""
    clips: int = 2000
    """How many clips."""
    seed: int = 0
    """Of the data set, 0 to 89."""
    frames: int = 32
    """Frames per clip."""
    player: str = "scripted"
    """scripted; or held actions: basic, composite, mixed."""
    workers: int = os.cpu_count() or 1
    """Processes."""


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments, prog="python -m worldgym.record")
    check_numbers(arguments)
    from worldgym.data.record import record

    digest = record(**dataclasses.asdict(arguments))
    print(f"{arguments.clips} clips in {arguments.out}, sha256 {digest}")


if __name__ == "__main__":
    main()
