"""Votes on disk, one JSON line each, and their statistics: `Votes`, `report(votes)`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from worldgym.errors import InputError
from worldgym.eval.results.statistics import Bootstrap
from worldgym.rng import generator

QUESTIONS = ("actions", "quality")
ANSWERS = ("a", "tie", "b")


class Votes:
    """A file of votes that only grows; a later vote on a pair and question replaces the earlier one when read."""

    def __init__(self, path: Path):
        self.path = path

    def add(self, clip: str, question: str, answer: str) -> None:
        """Append one vote.

        Raises:
            InputError: no such question or answer.
        """
        _check(clip, question, answer)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"clip": clip, "question": question, "answer": answer}, sort_keys=True) + "\n")

    def read(self) -> dict[tuple[str, str], str]:
        """(clip, question) -> answer.

        Raises:
            InputError: a line is no vote.
        """
        answers: dict[tuple[str, str], str] = {}
        lines = self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else []
        for number, line in enumerate(lines, 1):
            try:
                vote = json.loads(line)
                _check(vote["clip"], vote["question"], vote["answer"])
            except (ValueError, KeyError, TypeError) as error:
                raise InputError(f"line {number} of {str(self.path)!r} is no vote: {' '.join(str(error).split())}") from None
            answers[vote["clip"], vote["question"]] = vote["answer"]
        return answers


def _check(clip: Any, question: Any, answer: Any) -> None:
    if not isinstance(clip, str) or question not in QUESTIONS or answer not in ANSWERS:
        raise InputError(f"a vote is a clip, one of {QUESTIONS} and one of {ANSWERS}, not {clip!r}, {question!r}, {answer!r}")


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
