"""Videos as files: writing them, and reading finished videos of models that cannot run here.

- `encode(stills, fps, path, kind)`: H.264 in MP4 or VP9 in WebM. `read(path, size, frames)`: (T, H, W, 3) uint8.
- `Folder`: finished videos as a model. `file_of(task id)`: the file name that a clip has in such a folder.
"""

from __future__ import annotations

import errno
import hashlib
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from worldgym import files, untrusted
from worldgym.errors import InputError

CODECS = {
    "mp4": ("-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-preset", "veryfast", "-f", "mp4"),
    "webm": ("-c:v", "libvpx-vp9", "-pix_fmt", "yuv420p", "-crf", "30", "-b:v", "0", "-threads", "1", "-f", "webm"),
}
ENDINGS = (".npy", ".mp4", ".webm")
LARGEST = 1 << 30  # bytes of one video file, and of one decoded clip


def encode(stills: Sequence[np.ndarray], fps: float, path: Path, kind: str) -> None:
    """Write stills (H, W, 3) uint8, H and W even; the container is named because a temporary path has no ending.

    Raises:
        OSError: the encoder failed, or the disk is full.
    """
    height, width = stills[0].shape[:2]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    same = ["-fflags", "+bitexact", "-flags:v", "+bitexact"]  # no date and no random identity: same stills, same bytes
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *source, *same, *CODECS[kind], str(path)]
    done = subprocess.run(command, input=b"".join(still.tobytes() for still in stills), capture_output=True)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        full = b"No space left" in done.stderr
        raise OSError(errno.ENOSPC if full else errno.EIO, f"the video encoder failed {reason}", str(path))


def file_of(task_id: str) -> str:
    """The name of a clip's file without its ending: "doom-rooms/900000019/0" -> "doom-rooms--900000019--0"."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", task_id.replace("/", "--")).strip(".")


def read(path: Path, frames: int, size: tuple[int, int]) -> np.ndarray:
    """A clip (T, H, W, 3) uint8 from .npy, .mp4 or .webm.

    Args:
        path: of the file.
        frames: T that is needed.
        size: H and W that are needed.

    Raises:
        InputError: missing, damaged, or of another length or size; one sentence.
    """
    if path.stat().st_size > LARGEST:
        raise InputError(f"video {str(path)!r} has {path.stat().st_size} bytes; at most {LARGEST} are read")
    clip = _array(path) if path.suffix == ".npy" else _decode(path, frames, size)
    if clip.shape != (frames, *size, 3) or clip.dtype != np.uint8:
        raise InputError(
            f"video {str(path)!r} holds {clip.dtype} {list(clip.shape)}, "
            f"but uint8 {[frames, *size, 3]} (frames, height, width, 3) is needed"
        )
    return clip


def _array(path: Path) -> np.ndarray:
    return np.array(untrusted.array(path, f"video {str(path)!r}"))


def _decode(path: Path, frames: int, size: tuple[int, int]) -> np.ndarray:
    """All frames; stops one frame after those that are needed, so that an endless video costs nothing."""
    try:
        reader = imageio_ffmpeg.read_frames(str(path), pix_fmt="rgb24", output_params=["-fps_mode", "passthrough"])
        width, height = next(reader)["size"]
    except (OSError, RuntimeError, ValueError, StopIteration, IndexError, KeyError):
        raise InputError(f"video {str(path)!r} cannot be decoded: it is damaged or no video") from None
    if (height, width) != size:
        reader.close()
        raise InputError(f"video {str(path)!r} has frames of {height}x{width} pixels, but {size[0]}x{size[1]} are needed")
    stills = []
    try:
        for still in reader:
            stills.append(np.frombuffer(still, np.uint8).reshape(height, width, 3))
            if len(stills) > frames:
                raise InputError(f"video {str(path)!r} has more than {frames} frames, but exactly {frames} are needed")
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"video {str(path)!r} breaks off after {len(stills)} frames, but {frames} are needed") from None
    finally:
        reader.close()
    if len(stills) != frames:
        raise InputError(f"video {str(path)!r} has {len(stills)} frames, but {frames} are needed")
    return np.stack(stills)


class Folder:
    """Finished videos as a model: one file per clip, named by `file_of(id)`, ending in .npy, .mp4 or .webm.

    Frames that were given are put back exactly, so that a lossy first frame costs nothing.
    """

    kind = "videos"

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)

    def for_tasks(self, ids: Sequence[str], frames: int, size: tuple[int, int]) -> np.ndarray:
        """(B, T, H, W, 3) uint8 for the clips of these names.

        Raises:
            InputError: a file is missing or wrong.
        """
        return np.stack([read(self.find(name), frames, tuple(size)) for name in ids])

    def find(self, task_id: str) -> Path:
        """The file of a clip.

        Raises:
            InputError: there is none, there are two, or it is not a plain file inside the folder.
        """
        paths = [path for ending in ENDINGS if (path := self.folder / (file_of(task_id) + ending)).exists()]
        if len(paths) != 1:
            problem = "holds no video" if not paths else "holds two videos"
            names = " or ".join(file_of(task_id) + ending for ending in ENDINGS)
            raise InputError(f"folder {str(self.folder)!r} {problem} of clip {task_id!r}; exactly one is needed: {names}")
        if paths[0].is_symlink() or not paths[0].is_file():
            raise InputError(f"{str(paths[0])!r} is not a plain file inside its folder")
        return paths[0]

    def generate(self, prefix: Any, actions: Any, seeds: Any) -> Any:
        """Videos are found by the clip's name, not made from its first frame."""
        raise InputError("finished videos belong to the clips of one suite and seed; they cannot answer anything else")


def folder_sha256(folder: str | Path) -> str:
    """Hash over the names and bytes of all videos of a folder.

    Raises:
        InputError: there is none.
    """
    paths = sorted(path for path in Path(folder).iterdir() if path.suffix in ENDINGS and path.is_file())
    if not paths:
        raise InputError(f"folder {str(folder)!r} holds no videos ({', '.join(ENDINGS)})")
    lines = "\n".join(f"{path.name} {files.sha256(path)}" for path in paths)
    return hashlib.sha256(lines.encode()).hexdigest()
