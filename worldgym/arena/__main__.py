"""Human comparison of two models: `python -m worldgym.arena A B`.

    python -m worldgym.eval --models doom-rooms/token-nano doom-rooms/diffusion-nano --save-clips
    python -m worldgym.arena results/…/clips/doom-rooms--token-nano results/…/clips/doom-rooms--diffusion-nano

Opens a page on this machine that shows pairs blind, in random order and on random sides, with the true video between them
where its clips lie beside those of A. Every vote is written at once; --report prints win, tie and lose with intervals.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import tyro

from worldgym.errors import exit_with_sentence
from worldgym.untrusted import check_numbers


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Compare two models by eye."""

    a: tyro.conf.Positional[str]
    """Folder of A's clips, as --save-clips writes them."""
    b: tyro.conf.Positional[str]
    """Folder of B's clips."""
    truth: str | None = None
    """Folder of the true clips; the folder "truth" beside A's when there is one."""
    votes: str = "votes.jsonl"
    """Where votes go; go on with the same file."""
    count: int | None = None
    """How many pairs; all when not given."""
    seed: int = 0
    """Decides order and sides."""
    port: int = 8000
    """Of the page; 0 takes a free one."""
    report: bool = False
    """Only print what the votes say."""


@exit_with_sentence
def main() -> None:
    """The program."""
    asked = tyro.cli(Arguments, prog="python -m worldgym.arena", description=__doc__)
    check_numbers(asked)
    from worldgym.arena import pairs, server, votes

    a, b = Path(asked.a), Path(asked.b)
    stored = votes.Votes(Path(asked.votes), pairs.sides(a, b))
    if not asked.report:
        beside = Path(asked.truth) if asked.truth else a.parent / "truth"
        folders = {"a": a, "b": b, **({"truth": beside} if beside.is_dir() else {})}
        arena = server.Arena(folders, pairs.pairs(a, b, asked.seed, asked.count), stored)
        running = server.serve(arena, asked.port)
        print(f"open http://127.0.0.1:{running.server_address[1]}/ (stop with Ctrl-C)", flush=True)
        try:
            running.serve_forever()
        except KeyboardInterrupt:
            print()
        finally:
            running.server_close()
    print(votes.table(votes.report(stored.read(), asked.seed), a.name, b.name))
    if stored.broken:
        print(f"{stored.broken} lines of {asked.votes!r} were cut off or are no text; they do not count")


if __name__ == "__main__":
    main()
