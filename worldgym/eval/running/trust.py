"""Who may answer when a result file is checked: nothing is run because a file names it.

- `enter(protocol, entry, named, pins)`: the entrant that a file's entry stands for, or why there is none here.
- `changed_since(entry)`: does the source that is here differ from the one that answered?
- `weights_here(protocol, name)`: the hash of what is bundled.
- `Pins`: code of this repository as it stood before a change.

A file's own word reaches bundled models, baselines and references, which are data or the library's code. Code of this
repository runs when its source is that of the commit before the change under review. Everything else runs when whoever checks
names it; code then in a process of its own (`worldgym.eval.running.sandbox`).
"""

from __future__ import annotations

import dataclasses
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worldgym import zoo
from worldgym.errors import InputError
from worldgym.eval.protocols import entries, sources
from worldgym.eval.protocols.base import Protocol
from worldgym.eval.results.answers import Entrant
from worldgym.eval.running.sandbox import Guest


class NotHere(InputError):
    """Nobody here can make the entry's clips; no fault of the file."""


@dataclasses.dataclass(frozen=True)
class Pins:
    """Code as it stood before a change.

    Attributes:
        ref: commit before the change; "" for none: then no code runs that a file names.
    """

    ref: str = ""

    def hold(self, name: str) -> bool:
        """Is every file behind "package.module:attribute" the same as at `ref`?"""
        found = sources.files_of(name.partition(":")[0])
        return bool(self.ref and found) and all(path.read_bytes() == self._before(path) for path in found.values())

    def _before(self, path: Path) -> bytes | None:
        try:
            command = ["git", "-C", str(path.parent), "show", f"{self.ref}:./{path.name}"]
            done = subprocess.run(command, capture_output=True, timeout=60)
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None


def enter(protocol: Protocol, entry: Mapping[str, Any], named: str | None = None, pins: Pins | None = None) -> Entrant:
    """The entrant that can make an entry's clips again.

    Args:
        protocol: of the suite.
        entry: the file's own word.
        named: what whoever checks names instead of the file's origin.
        pins: code that may run because it was here before.

    Raises:
        NotHere: it would have to run or read what only the file names.
        InputError: what was named is no entrant.
    """
    asked = named or entry["origin"]
    if asked in protocol.references or is_bundled(protocol, asked):
        return protocol.enter(asked)
    if entries.is_attribute(asked):
        return _code(protocol, asked, named is not None or (pins or Pins()).hold(asked))
    if named is None:
        raise NotHere(f"{asked[:80]!r} is not bundled; give it by --models")
    return protocol.enter(named)


def changed_since(entry: Mapping[str, Any]) -> bool:
    """Is a module of the entry's name here, with another source than the one that answered? Looks, and imports nothing."""
    code = entry["source"] == "module" and entries.is_attribute(entry["origin"])
    digest = sources.sha256(entry["origin"]) if code else None
    return digest is not None and digest != entry["weights_sha256"]


def weights_here(protocol: Protocol, name: str) -> str | None:
    """Hash of what is bundled under a name, loaded by nobody: a model's file, a reward's source; None for a baseline."""
    if protocol.entrants == "reward":
        known = protocol.entrants_known().get(name)
        return entries.source_sha256(known) if isinstance(known, type) else None
    return None if name in entries.BASELINES else entries.weights(name)


def is_bundled(protocol: Protocol, name: str) -> bool:
    """A model, reward or baseline of the library, and not a file or folder of that name that lies here."""
    if protocol.entrants == "reward":
        return name in protocol.entrants_known()
    return name in entries.BASELINES or name in zoo.names() and not Path(name).exists()


def _code(protocol: Protocol, asked: str, allowed: bool) -> Entrant:
    if not allowed:
        raise NotHere(f"{asked[:80]!r} is code that only the file names, and that is not run; give it by --models")
    if protocol.entrants == "reward":
        raise NotHere(f"{asked[:80]!r} is somebody's own reward, which is not run here")
    digest = sources.sha256(asked)
    if digest is None:
        raise NotHere(f"there is no module {asked.partition(':')[0][:80]!r} here")
    guest = Guest(asked, protocol.suite, protocol.device)
    sampling = dict(protocol.suite.sampling.get(guest.kind, {}))
    return Entrant(asked, guest.kind, guest, sampling, digest, "module")
