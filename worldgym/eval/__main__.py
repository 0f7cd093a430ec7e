"""The main job: `python -m worldgym.eval` scores world models under a fixed protocol.

    python -m worldgym.eval
    python -m worldgym.eval --models doom-rooms/token-nano my/model.safetensors last-frame --clips 200 --device cuda

With no arguments both bundled models run the suite action-following-doom-rooms-v1 on test clips that are rendered live
from the game. Prints a table; writes result.json, picture.png and video.mp4 to results/<suite>/ (or --out).
"""

from __future__ import annotations

import dataclasses

import tyro

from worldgym.errors import exit_with_sentence


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Score world models under a fixed protocol."""

    suite: str = "action-following-doom-rooms-v1"
    """Which protocol: a name, or the path of a .toml file."""
    models: tuple[str, ...] = ()
    """Zoo names, paths, or "last-frame"; the suite's own list when not given."""
    clips: int | None = None
    """How many clips; the suite's number when not given."""
    device: str = "auto"
    """Where models and judge run: auto, cpu, cuda, cuda:1."""
    out: str | None = None
    """Folder for the result; results/<suite> when not given."""
    seed: int = 0
    """Chooses the clips and all noise; same seed, same result."""
    batch: int = 32
    """Clips at once; changes speed and memory, not what is asked."""


@exit_with_sentence
def main() -> None:
    """The program."""
    arguments = tyro.cli(Arguments, prog="python -m worldgym.eval")
    from worldgym.eval import job

    job.run(job.Job(**dataclasses.asdict(arguments)))


if __name__ == "__main__":
    main()
