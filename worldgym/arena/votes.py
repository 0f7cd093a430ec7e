"""Votes on disk, one JSON line each, and their statistics: `Votes`, `report(votes)`."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldgym.errors import InputError
from worldgym.eval.results.statistics import Bootstrap
from worldgym.rng import generator

QUESTIONS = ("actions", "quality")
ANSWERS = ("a", "tie", "b")


@dataclasses.dataclass(frozen=True)
class Sides:
    """Whose clips were compared.

    Attributes:
        a, b: sha256 over names and bytes of each side's clips.
    """

    a: str
    b: str


class Votes:
    """A file of votes that only grows; a later vote on a pair and question replaces the earlier one when read.

    Every line is on disk before the next is asked for. A line that a kill cut off, or that is no text, is passed over.

    Args:
        path: of the file.
        sides: whose votes these are; lines that say otherwise are refused. None reads and writes lines that do not say.
    """

    def __init__(self, path: Path, sides: Sides | None = None):
        self.path, self.sides = path, sides
        self.broken = 0

    def add(self, clip: str, question: str, answer: str) -> None:
        """Append one vote.

        Raises:
            InputError: no such question or answer.
            OSError: the file cannot be written.
        """
        _check(clip, question, answer)
        vote = {"clip": clip, "question": question, "answer": answer, **(dataclasses.asdict(self.sides) if self.sides else {})}
        with open(self.path, "ab") as file:
            cut_off = file.tell() and not self._ends_a_line()
            file.write((b"\n" if cut_off else b"") + json.dumps(vote, sort_keys=True).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def _ends_a_line(self) -> bool:
        with open(self.path, "rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read() == b"\n"

    def read(self) -> dict[tuple[str, str], str]:
        """(clip, question) -> answer; `broken` counts the lines that were passed over.

        Raises:
            InputError: a line is no vote, or one between other models.
        """
        found: dict[tuple[str, str], str] = {}
        lines = self.path.read_bytes().splitlines() if self.path.is_file() else []
        self.broken = 0
        for number, line in enumerate(lines, 1):
            try:
                vote = json.loads(line)
            except (ValueError, RecursionError):  # half a line, or no text
                self.broken += bool(line.strip())
                continue
            found |= self._vote(vote, number)
        return found

    def _vote(self, vote: Any, number: int) -> dict[tuple[str, str], str]:
        where = f"line {number} of {str(self.path)!r}"
        try:
            _check(vote["clip"], vote["question"], vote["answer"])
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{where} is no vote: {' '.join(str(error).split())[:200]}") from None
        if self.sides and (vote.get("a"), vote.get("b")) != (self.sides.a, self.sides.b):
            raise InputError(f"{where} is a vote between other clips than these; give these another file by --votes")
        return {(vote["clip"], vote["question"]): vote["answer"]}


def _check(clip: Any, question: Any, answer: Any) -> None:
    if not (isinstance(clip, str) and question in QUESTIONS and answer in ANSWERS):
        came = f"{str(clip)[:40]!r}, {str(question)[:40]!r}, {str(answer)[:40]!r}"
        raise InputError(f"a vote is a clip, one of {QUESTIONS} and one of {ANSWERS}, not {came}")


def report(votes: Mapping[tuple[str, str], str], seed: int = 0) -> dict[str, dict[str, Any]]:
    """Per question: how many votes, and the shares of "a", "tie" and "b" with 95 % bootstrap intervals over clips."""
    counted = {}
    for question in QUESTIONS:
        answers = [answer for (_, asked), answer in sorted(votes.items()) if asked == question]
        counted[question] = {"votes": len(answers), **_shares(answers, seed)}
    return counted


def _shares(answers: Sequence[str], seed: int) -> dict[str, list[float] | None]:
    """Share, low, high of each answer; None without votes."""
    if not answers:
        return dict.fromkeys(ANSWERS)
    boot = Bootstrap.draw(len(answers), 1000, generator(seed, "arena votes"))
    scores = {answer: boot.mean(np.array([given == answer for given in answers], float)) for answer in ANSWERS}
    return {answer: [round(x, 6) for x in (score.value, score.low, score.high)] for answer, score in scores.items()}


def table(counted: Mapping[str, Mapping[str, Any]], a: str, b: str) -> str:
    """Two lines of text, as the papers report human comparison: win, tie, lose of A against B."""
    lines = [f"A = {a}, B = {b}; 95 % bootstrap intervals over clips"]
    for question, shares in counted.items():
        words = {"a": "A wins", "tie": "tie", "b": "B wins"}
        cells = [f"{words[x]} {shares[x][0]:.0%} [{shares[x][1]:.0%}, {shares[x][2]:.0%}]" for x in ANSWERS if shares[x]]
        lines.append(f"{question:8} {shares['votes']:4} votes   {'   '.join(cells) or 'none yet'}")
    return "\n".join(lines)
