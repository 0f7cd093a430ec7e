"""Check and build the leaderboard: `python -m worldgym.leaderboard {add,check,tables,build}`.

python -m worldgym.leaderboard add results/action-following-doom-rooms-v1   copies result files to leaderboards/
python -m worldgym.leaderboard check leaderboards/                            the gate of a pull request
python -m worldgym.leaderboard tables leaderboards/                           writes leaderboards/README.md
python -m worldgym.leaderboard build leaderboards/ --out site                 writes the page
"""

from __future__ import annotations

import dataclasses
import shutil
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


@dataclasses.dataclass(frozen=True)
class Check:
    """Say everything that is wrong; exit status 1 if anything is."""

    folder: tyro.conf.Positional[str] = "leaderboards"
    """The leaderboards' folder."""
    sample: int = 0
    """Clips per file that are made again from weights."""
    device: str = "cpu"
    """Where."""


@dataclasses.dataclass(frozen=True)
class Tables:
    """Write README.md with all tables into the leaderboards' folder."""

    folder: tyro.conf.Positional[str] = "leaderboards"
    """The leaderboards' folder."""


@dataclasses.dataclass(frozen=True)
class Build:
    """Write the page: one self-contained folder that opens without a server."""

    folder: tyro.conf.Positional[str] = "leaderboards"
    """The leaderboards' folder."""
    out: str = "site"
    """Where the page goes."""


Command = (
    Annotated[Add, tyro.conf.subcommand("add")]
    | Annotated[Check, tyro.conf.subcommand("check")]
    | Annotated[Tables, tyro.conf.subcommand("tables")]
    | Annotated[Build, tyro.conf.subcommand("build")]
)


def add(asked: Add) -> None:
    """Copy results and their clips."""
    from worldgym.eval.results import schema
    from worldgym.eval.results.record import slug

    paths = sorted(Path(asked.run).glob("*/[0-9]*.json"))
    if not paths:
        raise InputError(f"{asked.run!r} holds no result files; name the folder of a run, as in results/<suite>")
    for path in paths:
        result = schema.read(path)
        place = Path(asked.to, result["suite"]["name"], slug(result["entry"]["name"]))
        place.mkdir(parents=True, exist_ok=True)
        for file in (path, path.with_suffix(".webm")):
            if file.is_file():
                shutil.copyfile(file, place / f"{result['seed']}{file.suffix}")
        print(place / f"{result['seed']}.json")


def check(asked: Check) -> None:
    """Print every problem."""
    from worldgym.leaderboard.check import check as problems_of
    from worldgym.leaderboard.entries import result_files

    problems = problems_of(Path(asked.folder), asked.sample, asked.device)
    print("\n".join(problems) or f"{len(result_files(Path(asked.folder)))} result files, nothing wrong")
    raise SystemExit(1 if problems else 0)


def tables(asked: Tables) -> None:
    """Write README.md."""
    from worldgym import files
    from worldgym.leaderboard import entries
    from worldgym.leaderboard.tables import markdown

    path = Path(asked.folder) / "README.md"
    files.write_bytes(path, markdown(entries.load(Path(asked.folder))).encode())
    print(path)


def build(asked: Build) -> None:
    """Write the page."""
    from worldgym.leaderboard import entries, site

    print(site.build(entries.load(Path(asked.folder)), Path(asked.out)))


@exit_with_sentence
def main() -> None:
    """The program."""
    asked = tyro.cli(Command, prog="python -m worldgym.leaderboard", description=__doc__)
    {Add: add, Check: check, Tables: tables, Build: build}[type(asked)](asked)


if __name__ == "__main__":
    main()
