"""Post-train a world model: python -m worldgym.train {grpo,nft,draft} --preset NAME --out FOLDER --minutes M.

`python -m worldgym.train average --models A B … --out FOLDER` writes the mean of trained models.
"""

from __future__ import annotations

import shlex
import sys

import tyro

from worldgym.errors import InputError, exit_with_sentence, unknown
from worldgym.files import claimed
from worldgym.train.config import DraftRun, GrpoRun, NftRun, TrainRunConfig
from worldgym.train.presets import FIRST, PRESETS, preset
from worldgym.untrusted import check_numbers

PROGRAM = "python -m worldgym.train"
AVERAGE = "average"
ALGORITHMS = {"grpo": GrpoRun, "nft": NftRun, "draft": DraftRun}


@exit_with_sentence
def main(arguments: list[str] | None = None) -> None:
    """Run one command; `arguments` as on the command line."""
    arguments = sys.argv[1:] if arguments is None else arguments
    command = f"{PROGRAM} {shlex.join(arguments)}"
    if arguments[:1] == [AVERAGE]:
        from worldgym.train.average import AverageConfig, average

        print(average(tyro.cli(AverageConfig, args=arguments[1:], prog=f"{PROGRAM} {AVERAGE}"), command))
        return
    config = read(arguments)
    from worldgym.train import run

    check_numbers(config)
    with claimed(config.out):
        print(run.train(config, command))


def read(arguments: list[str]) -> TrainRunConfig:
    """The settings of a command line: preset first, then every field that is named.

    Raises:
        InputError: no such algorithm or preset.
        SystemExit: help was asked for, or a field is unknown.
    """
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help())
        raise SystemExit(0 if arguments else 2)
    algorithm, *rest = arguments
    if algorithm not in ALGORITHMS:
        raise unknown("algorithm", algorithm, [*ALGORITHMS, AVERAGE])
    name, rest = _preset_name(rest, FIRST[algorithm])
    cls = ALGORITHMS[algorithm]
    fields = preset(algorithm, name) | {"out": tyro.MISSING}
    given = {word.split("=")[0] for word in rest}
    if not given & {"--minutes", "--iterations", "-h", "--help"}:
        raise InputError("give a budget: --iterations 100 or --minutes 30")
    unfinished = cls(**fields, iterations=1)  # a budget so that the preset itself is valid; the command line's replaces it
    object.__setattr__(unfinished, "iterations", None)
    words = f"{cls.__doc__} Preset {name!r}; --preset is one of: {', '.join(PRESETS[algorithm])}."
    return tyro.cli(cls, args=rest, default=unfinished, prog=f"{PROGRAM} {algorithm}", description=words)


def _preset_name(words: list[str], first: str) -> tuple[str, list[str]]:
    for index, word in enumerate(words):
        if word == "--preset" and index + 1 < len(words):
            return words[index + 1], words[:index] + words[index + 2 :]
        if word.startswith("--preset="):
            return word.partition("=")[2], words[:index] + words[index + 1 :]
    return first, words


def _help() -> str:
    lines = [f"usage: {PROGRAM} {{{','.join(ALGORITHMS)}}} [--preset NAME] --out FOLDER (--minutes M | --iterations N) …", ""]
    lines += [f"{algorithm} presets: {', '.join(names)}" for algorithm, names in PRESETS.items()]
    lines += ["", f"the mean of trained models: {PROGRAM} {AVERAGE} --models A B --out FOLDER"]
    return "\n".join([*lines, "", f"all settings: {PROGRAM} grpo --help"])


if __name__ == "__main__":
    main()
