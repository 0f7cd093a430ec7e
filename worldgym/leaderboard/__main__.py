"""Check and build the leaderboard: `python -m worldgym.leaderboard {add,check,tables,build,round}`.

python -m worldgym.leaderboard add results/action-following-doom-rooms-v1   copies result files to leaderboards/
python -m worldgym.leaderboard check leaderboards/                            every file, each by itself
python -m worldgym.leaderboard check leaderboards/ --changed-since main       the gate of a pull request
python -m worldgym.leaderboard tables leaderboards/                           writes leaderboards/README.md
python -m worldgym.leaderboard build leaderboards/ --out site                 writes the page
python -m worldgym.leaderboard round rounds/1 --new --deadline …              a sealed round (docs/evaluation.md)
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import tyro

from worldgym.errors import InputError, exit_with_sentence


@dataclasses.dataclass(frozen=True)
class Add:
    """Copy the result files of a run to their places."""

    run: tyro.conf.Positional[str]
    """Folder of a run, as `python -m worldgym.eval --out` writes it."""
    to: str = "leaderboards"
    """The leaderboards' folder."""
    replace: bool = False
    """Write over results that are there."""


@dataclasses.dataclass(frozen=True)
class Check:
    """Say everything that is wrong; exit status 1 if anything is."""

    folder: tyro.conf.Positional[str] = "leaderboards"
    """The leaderboards' folder."""
    sample: int | None = None
    """Clips per file that are made again from weights; when not given none, and with --changed-since two of changed files."""
    device: str = "cpu"
    """Where."""
    changed_since: str = ""
    """Commit before the change under review: only what differs from it is looked at in depth."""
    models: tuple[str, ...] = ()
    """"entry=model" for entries that only you can make: a path, a folder of videos, or "package.module:Class", which then runs
    in a process of its own."""
    lists: bool = False
    """Also print every entry's list (reproduced or reported), why, and what a reader should know."""


@dataclasses.dataclass(frozen=True)
class Tables:
    """Write README.md with all tables into the leaderboards' folder."""

    folder: tyro.conf.Positional[str] = "leaderboards"
    """The leaderboards' folder."""
    all_metrics: bool = False
    """Print tables with secondary metrics, too, and write nothing."""


@dataclasses.dataclass(frozen=True)
class Build:
    """Write the page: one self-contained folder that opens without a server."""

    folder: tyro.conf.Positional[str] = "leaderboards"
    """The leaderboards' folder."""
    out: str = "site"
    """Where the page goes."""


@dataclasses.dataclass(frozen=True)
class Round:
    """A sealed round: questions whose truth follows from a secret that is told after the deadline."""

    folder: tyro.conf.Positional[str]
    """Folder of the round."""
    new: bool = False
    """Make it: <folder>/public is to be published, <folder>/secret.json is not."""
    enter: str | None = None
    """Take an entrant of this name, before the deadline."""
    reveal: bool = False
    """After the deadline: score all entries and tell the secret."""
    verify: bool = False
    """Does the secret that was told belong to the round?"""
    suite: str = "action-following-doom-rooms-v2"
    """With --new: which suite."""
    deadline: str = ""
    """With --new: as 2027-01-31T12:00:00+00:00."""
    clips: int | None = None
    """With --new: how many questions; the suite's number when not given."""
    judge: str | None = None
    """With --new and --reveal: path of a private judge; only its hash is published."""
    videos: str | None = None
    """With --enter: folder of the answers, one video per question."""
    device: str = "cpu"
    """With --reveal: where judges run."""


Command = (
    Annotated[Add, tyro.conf.subcommand("add")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Tables, tyro.conf.subcommand("tables")]
    | Annotated[Build, tyro.conf.subcommand("build")]
    | Annotated[Round, tyro.conf.subcommand("round")]
)


def add(asked: Add) -> None:
    """Copy results and their clips."""
    from worldgym.leaderboard.add import add as put

    print("\n".join(map(str, put(Path(asked.run), Path(asked.to), asked.replace))))


def check(asked: Check) -> None:
    """Print every problem."""
    from worldgym.eval.running import processor

    processor.everywhere_the_same()
    from worldgym.leaderboard import check as gate
    from worldgym.leaderboard.entries import sorted_files

    folder, named = Path(asked.folder), dict(text.partition("=")[::2] for text in asked.models)
    problems = gate.check(folder, asked.sample, asked.device, asked.changed_since, named)
    print("\n".join(problems) or f"{len(sorted_files(folder)[0])} result files, nothing wrong")
    if asked.lists and not problems:
        print("\n".join(gate.standings(folder)))
    raise SystemExit(1 if problems else 0)


def tables(asked: Tables) -> None:
    """Write README.md."""
    from worldgym import files
    from worldgym.leaderboard import entries
    from worldgym.leaderboard.tables import markdown

    path = Path(asked.folder) / "README.md"
    text = markdown(entries.load(Path(asked.folder)), asked.all_metrics)
    if asked.all_metrics:
        print(text)
        return
    files.write_bytes(path, text.encode())
    print(path)


def build(asked: Build) -> None:
    """Write the page."""
    from worldgym.leaderboard import entries, site

    print(site.build(entries.load(Path(asked.folder)), Path(asked.out)))


def sealed_round(asked: Round) -> None:
    """Exactly one of --new, --enter, --reveal and --verify."""
    from worldgym.leaderboard import rounds

    out = Path(asked.folder)
    if sum((asked.new, asked.enter is not None, asked.reveal, asked.verify)) != 1:
        raise InputError("say one of --new, --enter NAME --videos FOLDER, --reveal and --verify")
    if asked.new:
        print(f"publish {rounds.new(out, asked.suite, asked.deadline, asked.clips, asked.judge)}; keep {out / rounds.SECRET}")
    elif asked.enter is not None:
        print(rounds.enter(out, asked.enter, Path(asked.videos or "")))
    elif asked.reveal:
        for name, scored in rounds.reveal(out, asked.judge, asked.device).items():
            print(f"{name}: " + ", ".join(f"{metric} {score['value']}" for metric, score in scored.items()))
    else:
        print(f"{len(rounds.verify(out))} questions follow from the secret that was told")


@exit_with_sentence
def main() -> None:
    """The program."""
    asked = tyro.cli(Command, prog="python -m worldgym.leaderboard", description=__doc__)
    {Add: add, Check: check, Tables: tables, Build: build, Round: sealed_round}[type(asked)](asked)


if __name__ == "__main__":
    main()
