"""What a change touches: files of a leaderboard that are not as they were at a commit.

- `since(folder, ref)`: `Changes`. `base()`: the commit before the change under review, where it can be told.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
from pathlib import Path

from worldgym.errors import InputError


@dataclasses.dataclass(frozen=True)
class Changes:
    """Files of a folder, against a commit.

    Attributes:
        ref: the commit.
        new: files that were not there. edited: files that were, with other content. gone: files that were.
    """

    ref: str
    new: frozenset[Path]
    edited: frozenset[Path]
    gone: frozenset[Path]

    def touches(self, path: Path) -> bool:
        """Is the file, or the film beside it, new or edited?"""
        both = {path.resolve(), path.with_suffix(".webm").resolve()}
        return bool(both & (self.new | self.edited))


def since(folder: Path, ref: str) -> Changes:
    """Files below a folder that differ from a commit, in the working tree, tracked or not.

    Raises:
        InputError: the folder is in no repository, or the commit is unknown.
    """
    top = Path(_git(folder, "rev-parse", "--show-toplevel").strip())
    commit = _git(folder, "rev-parse", "--verify", "--end-of-options", f"{ref}^{{commit}}").strip()
    listed = _git(folder, "diff", "--no-renames", "--name-status", "-z", commit, "--", ".").split("\0")
    kinds: dict[str, set[Path]] = {"A": set(), "M": set(), "D": set()}
    for kind, name in zip(listed[::2], listed[1::2], strict=False):
        kinds["A" if kind == "A" else "D" if kind == "D" else "M"].add(top / name)
    others = _git(folder, "ls-files", "--others", "--exclude-standard", "--full-name", "-z", "--", ".").split("\0")
    kinds["A"] |= {top / name for name in others if name}
    new, edited, gone = (frozenset(path.resolve() for path in kinds[kind]) for kind in "AMD")
    return Changes(commit, new, edited, gone)


def base(folder: Path) -> str:
    """The commit before the change under review: where it leaves the branch that it asks to be merged into, else HEAD.

    A pull request's target is GITHUB_BASE_REF, as GitHub sets it; elsewhere what is not committed is the change.
    """
    target = os.environ.get("GITHUB_BASE_REF", "")
    for name in (f"origin/{target}", target) if target else ():
        try:
            return _git(folder, "merge-base", "--end-of-options", name, "HEAD").strip()
        except InputError:
            continue
    return "HEAD"


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=120)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InputError(f"git cannot be run in {str(folder)!r}: {type(error).__name__}") from None
    if done.returncode:
        reason = " ".join(done.stderr.split())[:200]
        raise InputError(f"git does not know what changed in {str(folder)!r}: {reason}")
    return done.stdout
