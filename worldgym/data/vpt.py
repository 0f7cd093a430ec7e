"""Minecraft recordings: folders of mp4 and jsonl files, as VPT's contractors made them or as MineWorld's validation set.

- `Recording(video)`: one mp4 with its jsonl; `window(start, frames)` decodes only what it needs.
- `recordings(folder)`: all of a folder, in the order of the numbers in their names.
- `validation_prompts(folder)`, `validation_windows(folder)`: MineWorld's protocol: the first frames of every file.
- `training_prompts(folder)`: random windows without menus and without standstill, as RLIR filters them.
- `window_prompts(folder, windows)`: those of given files and first frames.

Line i of a jsonl file belongs to frame i. MineWorld generates frame i from the frames before it and line i, so action a_i is
line i; with `lag=1` it is line i - 1, what the player pressed while frame i - 1 was on the screen.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from worldgym.actions import vpt
from worldgym.data.clips import STILL
from worldgym.data.video_file import VideoFile
from worldgym.errors import InputError
from worldgym.resize import resize
from worldgym.types import Prompts

SIZE = (224, 384)  # height and width of the papers' frames


@dataclasses.dataclass(frozen=True, eq=False)
class Window:
    """Some frames of a recording with the actions between them.

    Attributes:
        frames: (T, H, W, 3) uint8. actions: (T-1, 11) int64, columns of the "minecraft" spec.
        degrees: (T-1, 2) float64, pitch and yaw before they were put into bins.
        gui: (T,) bool, whether a menu was open, as far as the file says.
        id: "<file>/<first frame>".
    """

    frames: np.ndarray
    actions: np.ndarray
    degrees: np.ndarray
    gui: np.ndarray
    id: str

    @property
    def still(self) -> np.ndarray:
        """(T-1,) bool: whether a frame looks the same as the one before."""
        return np.abs(np.diff(self.frames.astype(np.int16), axis=0)).mean((1, 2, 3)) < STILL

    @property
    def static(self) -> bool:
        """Whether more than a quarter of the frames stand still."""
        return bool(self.still.mean() > 0.25)


class Recording:
    """An mp4 and the jsonl beside it, which has the same name.

    Args:
        video: path of the mp4.
        lag: see the module's docstring.

    Raises:
        InputError: one of the two files is missing.
    """

    def __init__(self, video: str | Path, lag: int = 0):
        self.video, self.jsonl, self.lag = Path(video), Path(video).with_suffix(".jsonl"), lag
        for path in (self.video, self.jsonl):
            if not path.is_file():
                raise InputError(f"there is no file {str(path)!r}; a recording is an mp4 and a jsonl file of one name")
        if lag not in (0, 1):
            raise InputError(f"lag is {lag}, but must be 0 (MineWorld's reading) or 1")

    @functools.cached_property
    def lines(self) -> list[str]:
        """The lines of the jsonl, one per frame."""
        return [line for line in self.jsonl.read_text().splitlines() if line.strip()]

    @functools.cached_property
    def inputs(self) -> tuple[list[dict[str, Any]], np.ndarray]:
        """What was pressed, one dictionary of actions per frame, and (frames,) bool, whether a menu was open."""
        raw = [_raw(line) for line in self.lines]
        recorded = [step for step in raw if step is not None]
        if len(recorded) == len(raw):  # VPT's own format
            gui = np.array([bool(step.get("isGuiOpen", False)) for step in raw], bool)
            return [vpt.from_recording(step) for step in repaired(recorded)], gui
        steps = [vpt.parse_line(line) for line in self.lines]
        return steps, np.array([bool(step.get("inventory") or step.get("ESC")) for step in steps], bool)

    def __len__(self) -> int:
        return len(self.lines)

    def window(self, start: int = 0, frames: int = 16, size: tuple[int, int] = SIZE) -> Window:
        """Frames start to start + frames - 1, resized as OpenCV does it.

        Args:
            start: first frame. frames: T >= 2. size: height and width in pixels.

        Raises:
            InputError: video or jsonl end before, or a line can't be read.
        """
        first = start + 1 - self.lag  # line of the action that leads to the second frame
        if start < 0 or frames < 2 or max(start + frames, first + frames - 1) > len(self):
            raise InputError(
                f"{str(self.jsonl)!r} has {len(self)} lines; {frames} frames from frame {start} on were asked for"
            )
        with VideoFile(self.video) as file:
            pictures = file.read(start, frames)
        steps, gui = self.inputs
        used = steps[first : first + frames - 1]
        degrees = np.array([np.asarray(step.get("camera", (np.nan, np.nan)), float) for step in used])
        return Window(
            resize(torch.from_numpy(pictures), *size).numpy(),
            np.stack([vpt.columns(step) for step in used]),
            degrees,
            gui[start : start + frames],
            f"{self.video.stem}/{start}",
        )


def _raw(line: str) -> dict[str, Any] | None:
    """A step in VPT's own format; None for anything else."""
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) and "keyboard" in value and "mouse" in value else None


def repaired(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Undo two faults of VPT's recorder, as VPT's own loader does.

    Attack may be stuck down from the first step on until it is pressed anew; and a slot that was chosen with the scroll
    wheel shows in "hotbar" only, so it is given the key of its slot.
    """
    stuck = bool(steps) and steps[0]["mouse"].get("newButtons") == [0]
    slot, mended = 0, []
    for index, step in enumerate(steps):
        mouse, keys = dict(step["mouse"]), list(step["keyboard"]["keys"])
        stuck = stuck and not (index and 0 in mouse.get("newButtons", ()))
        if stuck:
            mouse["buttons"] = [button for button in mouse["buttons"] if button]
        now = step.get("hotbar", slot)
        if now != slot:
            keys.append(f"key.keyboard.{now + 1}")
        slot = now
        mended.append({**step, "mouse": mouse, "keyboard": {**step["keyboard"], "keys": keys}})
    return mended


def recordings(folder: str | Path, lag: int = 0) -> list[Recording]:
    """Every mp4 of a folder with its jsonl, by the last number in its name, as MineWorld sorts them, then by name.

    Raises:
        InputError: there are none.
    """
    videos = sorted(Path(folder).glob("*.mp4"), key=lambda path: (_number(path.stem), path.name))
    if not videos:
        raise InputError(
            f"there is no mp4 in the folder {str(folder)!r}; it needs pairs NAME.mp4 and NAME.jsonl, as in MineWorld's "
            "validation.zip (huggingface.co/datasets and its mirrors) or VPT's contractor data"
        )
    return [Recording(video, lag) for video in videos]


def _number(stem: str) -> int:
    numbers = re.findall(r"\d+", stem)
    return int(numbers[-1]) if numbers else -1


def validation_prompts(
    folder: str | Path, clips: int | None = None, frames: int = 16, prefix: int = 1, size: tuple[int, int] = SIZE
) -> Prompts:
    """The first `frames` frames of every recording: MineWorld's validation layout as prompts for an environment or a suite.

    Args:
        folder: of mp4 and jsonl files. clips: at most so many; all when left out.
        frames: T, prefix included. prefix: P frames that are given. size: height and width in pixels.
    """
    return _prompts(validation_windows(folder, clips, frames, size), prefix)


def validation_windows(
    folder: str | Path, clips: int | None = None, frames: int = 16, size: tuple[int, int] = SIZE
) -> list[Window]:
    """As `validation_prompts`, with all that is known of the windows."""
    return [recording.window(0, frames, size) for recording in recordings(folder)[:clips]]


def window_prompts(
    folder: str | Path,
    windows: Sequence[tuple[str, int]],
    frames: int = 16,
    prefix: int = 1,
    size: tuple[int, int] = SIZE,
    lag: int = 0,
) -> Prompts:
    """Windows by name.

    Args:
        folder: of mp4 and jsonl files. windows: B pairs of a file's name without ending and the window's first frame.
        frames, prefix, size: as in `validation_prompts`. lag: as in `Recording`.

    Raises:
        InputError: a file is missing or too short.
    """
    opened = {name: Recording(Path(folder) / f"{name}.mp4", lag) for name, _ in windows}
    return _prompts([opened[name].window(start, frames, size) for name, start in windows], prefix)


def training_prompts(
    folder: str | Path,
    clips: int,
    generator: np.random.Generator,
    frames: int = 16,
    prefix: int = 1,
    size: tuple[int, int] = SIZE,
    lag: int = 0,
) -> Prompts:
    """Random windows with no menu open and something to see (RLIR, arXiv 2509.23958, section 4: GUI and static clips go).

    Args:
        folder: of mp4 and jsonl files. clips: B. generator: chooses the windows.
        frames, prefix, size: as in `validation_prompts`. lag: as in `Recording`.

    Raises:
        InputError: 20 windows per wanted clip were looked at and too few passed.
    """
    kept: dict[str, Window] = {}
    for window in _candidates(recordings(folder, lag), 20 * clips, generator, frames, size):
        if not window.static:
            kept[window.id] = window
        if len(kept) == clips:
            return _prompts(list(kept.values()), prefix)
    raise InputError(f"{str(folder)!r} gave {len(kept)} windows without menus and standstill; {clips} were asked for")


def _candidates(
    choices: list[Recording], tries: int, generator: np.random.Generator, frames: int, size: tuple[int, int]
) -> Iterator[Window]:
    """Random windows of random recordings; where a menu is open nothing is decoded."""
    for _ in range(tries):
        recording = choices[int(generator.integers(len(choices)))]
        room = len(recording) - frames
        if room < 0:
            continue
        start = int(generator.integers(room + 1))
        if not recording.inputs[1][start : start + frames].any():
            yield recording.window(start, frames, size)


def _prompts(windows: list[Window], prefix: int) -> Prompts:
    truth = np.stack([window.frames for window in windows])
    if not 1 <= prefix < truth.shape[1]:
        raise InputError(f"prefix is {prefix}; at least 1 frame must be given and 1 of {truth.shape[1]} left to make")
    actions = np.stack([window.actions for window in windows])
    return Prompts(truth[:, :prefix].copy(), actions, truth, tuple(window.id for window in windows))
