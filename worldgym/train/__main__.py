"""Post-train a world model: python -m worldgym.train {grpo,nft,draft} [--preset NAME] --out FOLDER --minutes M."""

from __future__ import annotations

import contextlib
import dataclasses
import shlex
import sys
from pathlib import Path
from typing import Any

import tyro

from worldgym.data import leaks
from worldgym.errors import InputError, exit_with_sentence, unknown
from worldgym.files import claimed
from worldgym.train import presets
from worldgym.train.config import (
    ALGORITHMS,
    TrainRun,
    from_yaml,
    reachable,
    refuse_foreign,
    section_classes,
    sections,
)
from worldgym.train.settings import Settings
from worldgym.untrusted import check_numbers

PROGRAM = "python -m worldgym.train"


@exit_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Run one command; `arguments` as on the command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = f"{PROGRAM} {shlex.join(arguments)}"
    words = [word for word in arguments if word != "--allow-leak"]
    config = read(words)
    from worldgym.train import run

    check_numbers(config)
    with claimed(config.run.out), leaks.allowed() if words != arguments else contextlib.nullcontext([]) as noted:
        path = run.train(config, command)
    leaks.put_on_card(path, noted)
    print(path)


def read(arguments: list[str]) -> TrainRun:
    """The settings of a command line: a preset or a file first, then every field that is named.

    Raises:
        InputError: no such algorithm or preset, or a field that this run does not have.
        SystemExit: help was asked for, or a value cannot be read.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        raise SystemExit(0 if arguments else 2)
    algorithm, *rest = arguments
    if algorithm not in ALGORITHMS:
        raise unknown("algorithm", algorithm, ALGORITHMS)
    name, rest = _taken(rest, "--preset")
    file, rest = _taken(rest, "--settings")
    resume, rest = "--resume" in rest, [word for word in rest if word != "--resume"]
    model = _taken(rest, "--model")[0]
    kind = _kind(model) if model else None
    if file:
        if name:
            raise InputError("give --preset or --settings, not both")
        start: Settings = _from_file(Path(file), algorithm, kind)
        print(f"settings of {file!r}: {algorithm} of {start.rollout.kind} models", file=sys.stderr)
    else:
        name, start = presets.find(algorithm, name, kind)
        print(f"preset {name!r}: {algorithm} of {start.rollout.kind} models", file=sys.stderr)
    return _overridden(algorithm, start, rest, resume)


def _overridden(algorithm: str, start: Settings, words: list[str], resume: bool) -> TrainRun:
    """`start` with what the words say; the command line is made from the classes of its sections."""
    classes = section_classes(algorithm, start.rollout.kind)
    refuse_foreign(_named(words, classes), algorithm, start.rollout.kind)
    given = sections(start)
    named = {word.split("=")[0] for word in words}
    if "run" in given and named & {"--minutes", "--iterations"}:  # another budget than the file's
        budget = {"iterations": 1, "minutes": None} if "--iterations" in named else {"iterations": None, "minutes": 1.0}
        given["run"] = dataclasses.replace(given["run"], **budget)
    fields: list[Any] = [(name, cls) for name, cls in classes.items() if name not in given]
    fields += [(name, classes[name], dataclasses.field(default=part)) for name, part in given.items()]
    shape = dataclasses.make_dataclass("TrainingSettings", fields, frozen=True, kw_only=True)
    about = f"{classes['algorithm'].__doc__} Presets: {', '.join(presets.names(algorithm))}."
    plain = (tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes)
    found = tyro.cli(shape, args=words, prog=f"{PROGRAM} {algorithm}", description=about, config=plain)
    return TrainRun(**{name: getattr(found, name) for name in classes}, resume=resume)


def _named(words: list[str], classes: dict[str, type]) -> list[str]:
    """Fields that the words name; --no-x is field x where that is a switch."""
    known, found = reachable(classes), []
    for word in words:
        if not word.startswith("--") or word in ("--", "--help"):
            continue
        name = word[2:].split("=")[0].replace("-", "_")
        found.append(name[3:] if name.startswith("no_") and (name not in known) else name)
    return found


def _taken(words: list[str], name: str) -> tuple[str | None, list[str]]:
    """The value of a word, and the others."""
    for index, word in enumerate(words):
        if word == name and index + 1 < len(words):
            return words[index + 1], words[:index] + words[index + 2 :]
        if word.startswith(f"{name}="):
            return word.partition("=")[2], words[:index] + words[index + 1 :]
    return None, words


def _from_file(path: Path, algorithm: str, kind: str | None) -> TrainRun:
    found = from_yaml(path.read_text())
    if found.name != algorithm or kind not in (None, found.rollout.kind):
        raise InputError(f"{str(path)!r} holds settings for {found.name} of a {found.rollout.kind} model")
    return found


def _kind(model: str) -> str:
    """Kind of a world model, from its file's head."""
    from worldgym import zoo

    kind = zoo.origin(model)[0]
    if kind not in ("token", "diffusion"):
        raise InputError(f"{model!r} is no world model; name a token or a diffusion model")
    return kind


def _help() -> str:
    start = f"usage: {PROGRAM} {{{','.join(ALGORITHMS)}}} [--preset NAME | --settings FILE.yaml] [--resume]"
    lines = [f"{start} --out FOLDER (--minutes M | --iterations N) …", ""]
    lines += [f"{owner} presets for {kind} models: {', '.join(group)}" for (owner, kind), group in presets.PRESETS.items()]
    lines += ["", "--allow-leak: train on what evaluation holds out; the card and every later result say so"]
    return "\n".join([*lines, "", f"all settings: {PROGRAM} grpo --help; --model decides which kind they are for"])


if __name__ == "__main__":
    main()
