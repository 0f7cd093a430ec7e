"""A store of clips on disk: plain .npy arrays, memory-mapped, with a manifest and a hash.

A finished store is a folder with `manifest.json` and, for N clips of T frames and A action columns:
frames.npy (N,T,H,W,3) uint8, actions.npy (N,T-1,A) int64, poses.npy (N,T,6) float64, lead.npy (N,n,A) int64,
seeds.npy and starts.npy (N,) int64, visible.npy (N,) bool.

- `ClipStore`: opens one. `visible(clip)`: whether there is anything to see in it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from worldgym import untrusted
from worldgym.actions import ActionSpec, spec
from worldgym.data import leaks, store_hash
from worldgym.data.splits import SPLITS
from worldgym.errors import InputError, unknown
from worldgym.types import Clip
from worldgym.worlds.recorder import Play

FORMAT = 1
# name: dtype and number of axes
ARRAYS = {
    "frames": ("uint8", 5),
    "actions": ("int64", 3),
    "poses": ("float64", 3),
    "lead": ("int64", 3),
    "seeds": ("int64", 1),
    "starts": ("int64", 1),
    "visible": ("bool", 1),
}
STILL = 1.5  # mean absolute change of a pixel below which two frames look the same
BLOCKED = 4.0  # map units: less than this in a step is standing


class ClipStore:
    """A recorded data set.

    Attributes:
        frames, actions, poses, lead, seeds, starts, visible: arrays as in the module's docstring, memory-mapped.
        manifest: what was recorded, by which versions. sha256: hash of all array bytes, the data's identity.
        spec: the action spec.
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        path = self.folder / "manifest.json"
        if not path.is_file():
            raise InputError(
                f"no clip store at {str(folder)!r} (it has no manifest.json); make one with "
                f"python -m worldgym.record --world doom-rooms --clips 2000 --out {folder}"
            )
        fields = {"clips": int, "spec": str, "sha256": str}
        self.manifest = untrusted.json_object(path, f"the manifest of the clip store {str(folder)!r}")
        if self.manifest.get("format") != FORMAT:
            raise InputError(f"the clip store {str(folder)!r} has format {self.manifest.get('format')!r}; expected {FORMAT}")
        untrusted.json_object(path, f"the manifest of the clip store {str(folder)!r}", fields)
        self.spec: ActionSpec = spec(self.manifest["spec"])
        for name in ARRAYS:
            setattr(self, name, self._open(name))
        self._check_shapes()
        self.sha256: str = self.manifest["sha256"]
        store_hash.check(self.folder, self.sha256, {name: getattr(self, name) for name in ARRAYS}, content_hash)
        leaks.check_seeds(self.seeds, f"the clip store {str(folder)!r}")

    def _open(self, name: str) -> np.ndarray:
        damaged = f"the clip store {str(self.folder)!r} is damaged: {name}.npy"
        array = untrusted.array(self.folder / f"{name}.npy", damaged)
        kind, rank = ARRAYS[name]
        if array.dtype != kind or array.ndim != rank:
            raise InputError(f"{damaged} holds {array.dtype} {list(array.shape)}, but {kind} with {rank} axes is needed")
        if len(array) != self.manifest["clips"]:
            raise InputError(
                f"the clip store {str(self.folder)!r} is damaged: {name}.npy has {len(array)} clips, "
                f"the manifest says {self.manifest['clips']}"
            )
        return array

    def _check_shapes(self) -> None:
        frames, actions, poses, lead = self.frames.shape, self.actions.shape, self.poses.shape, self.lead.shape
        columns = len(self.spec.sizes)
        if frames[4] != 3 or actions[1:] != (frames[1] - 1, columns) or poses[1:] != (frames[1], 6) or lead[2] != columns:
            raise InputError(
                f"the clip store {str(self.folder)!r} is damaged: frames {list(frames)}, actions {list(actions)}, poses "
                f"{list(poses)} and lead {list(lead)} do not belong together"
            )

    def __len__(self) -> int:
        return len(self.seeds)

    def __getitem__(self, index: int) -> Clip:
        return Clip(
            np.array(self.frames[index]), np.array(self.actions[index]), np.array(self.poses[index]), int(self.seeds[index])
        )

    def split(self, name: str, visible_only: bool = True) -> np.ndarray:
        """(n,) int64 indices of the clips of a split, by seed; those in which nothing can be seen are left out."""
        if name not in SPLITS:
            raise unknown("split", name, SPLITS)
        chosen = np.isin(np.asarray(self.seeds) % 10, SPLITS[name])
        if visible_only:
            chosen &= np.asarray(self.visible)
        return np.flatnonzero(chosen)


def visible(clip: Clip) -> bool:
    """Whether the actions of a clip can be seen: at most a quarter of its frames are still, and at most 3 steps are blocked.

    RLIR filters static clips in the same way. A step is still when the picture changes by less than 1.5 grey levels per pixel
    on average, and blocked when a movement key is held for the second time in a row and the player does not move.
    """
    change = np.abs(np.diff(clip.frames.astype(np.int16), axis=0)).mean((1, 2, 3))
    pressed = (clip.actions[:, :2] > 0).any(1)
    distance = np.linalg.norm(np.diff(clip.poses[:, :2], axis=0), axis=1)
    blocked = pressed[1:] & pressed[:-1] & (distance[1:] < BLOCKED)
    return bool((change < STILL).mean() <= 0.25 and blocked.sum() <= 3)


def columns(play: Play) -> dict[str, np.ndarray]:
    """One row of each array of a store."""
    clip = play.clip
    return {
        "frames": clip.frames,
        "actions": clip.actions,
        "poses": clip.poses,
        "lead": play.lead,
        "seeds": np.int64(clip.seed),
        "starts": np.int64(play.start),
        "visible": np.bool_(visible(clip)),
    }


def content_hash(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 over the names, types, shapes and bytes of the arrays, clip by clip."""
    digest = hashlib.sha256()
    for name in ARRAYS:
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        for row in array:
            digest.update(np.ascontiguousarray(row).tobytes())
    return digest.hexdigest()
