"""The arguments of the command line: `Job`."""

from __future__ import annotations

import dataclasses
from typing import Annotated

import tyro


@dataclasses.dataclass(frozen=True)
class Job:
    """Score world models, or rewards, under a fixed protocol; check or compare result files."""

    suite: str = "action-following-doom-rooms-v1"
    """Which protocol: a name, or the path of a .toml file."""
    models: Annotated[tuple[str, ...], tyro.conf.arg(aliases=("--model", "--reward", "--rewards"))] = ()
    """Zoo names, paths, "last-frame", "package.module:Class", or folders of finished videos; in a suite that judges rewards,
    rewards. "label=name" gives an entry another name. The suite's own list when not given."""
    clips: int | None = None
    """How many clips; the suite's number when not given."""
    device: str = "auto"
    """Where models and judges run: auto, cpu, cuda, cuda:1."""
    out: str | None = None
    """Folder for the result; results/<suite> when not given."""
    seed: int = 0
    """Chooses the clips and all noise; same seed, same result."""
    batch: int = 32
    """Clips at once; changes speed and memory, not what is asked."""
    save_clips: bool = False
    """Keep every generated clip as .npy under <out>/clips/, for --verify … --videos."""
    export: str | None = None
    """Write first frames and actions of the test clips to this folder, for a model that cannot run here, and stop."""
    verify: tuple[str, ...] = ()
    """Check result files and stop: scores from rows, a sample of clips from weights."""
    videos: str | None = None
    """With --verify: the folder of the entry's clips, from which all rows are computed again."""
    sample: int = 2
    """With --verify: how many clips are made again from weights; 0 for none."""
    compare: tuple[str, str] | None = None
    """Compare two result files, or two entries' folders (all their seeds), clip by clip, and stop; writes compare.png and
    compare.json when --out is given."""
