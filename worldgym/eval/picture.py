"""The picture and the video: truth and models side by side, given and recovered actions written with the frames.

- `draw(answers, prompts, path)`: a PNG. `film(answers, prompts, path)`: an MP4. Both show the same clips.
- `chosen(given, clips)`: which; by the given actions alone, never by how well anybody did.

Above the frames the given action; under each frame what the judge read: green where it agrees, red where it does not,
amber for a camera bin next to the right one; "(word)" in red was given and not read.
"""

from __future__ import annotations

import dataclasses
import errno
import functools
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worldgym.actions import ActionSpec, CameraAxis
from worldgym.eval.runner import Answer
from worldgym.files import atomic_path
from worldgym.types import Prompts

BACKGROUND, GREY, BLACK = (255, 255, 255), (110, 110, 110), (20, 20, 20)
GREEN, RED, AMBER = (0, 125, 45), (200, 25, 25), (185, 120, 0)
GAP, LINES = 4, 3
Word = tuple[str, tuple[int, int, int]]


@dataclasses.dataclass(frozen=True)
class Layout:
    """Sizes in pixels."""

    scale: int
    """Each pixel of a frame becomes a square of so many."""
    font: int
    """Height of the text."""

    @property
    def line(self) -> int:
        """Height of a line of text."""
        return self.font + 3

    def tile(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of a frame with the text under it, both even as video needs."""
        return _even(height * self.scale + LINES * self.line + GAP), _even(width * self.scale + GAP)


def _even(value: int) -> int:
    return value + value % 2


PICTURE, VIDEO = Layout(scale=2, font=12), Layout(scale=3, font=15)
LEGEND = [
    ("under each frame what the judge read:", GREY),
    ("as given,", GREEN),
    ("not as given,", RED),
    ("(given but not read),", RED),
    ("camera one bin off", AMBER),
]
COLUMNS = 8  # frames of the picture side by side
MARGIN = 96  # for names, left of the frames


def chosen(given: np.ndarray, clips: int, groups: int) -> list[int]:
    """The clips whose given actions (N, T, A) press the most different labels; ties go to the earlier clip."""
    pressed = given[..., :groups]
    variety = [sum(len(np.unique(column[column > 0])) for column in clip.T) for clip in pressed]
    order = np.lexsort((np.arange(len(given)), -(pressed > 0).sum((1, 2)), -np.array(variety)))
    return sorted(order[:clips].tolist())


def words(given: Sequence[int], predicted: Sequence[int], spec: ActionSpec) -> list[Word]:
    """What the judge read at one step, each word with its colour."""
    found: list[Word] = []
    for column, wanted, read in zip(spec.columns, given, predicted, strict=True):
        text = _label(column, read) or (f"({_label(column, wanted)})" if wanted != read else "")
        near = isinstance(column, CameraAxis) and abs(int(wanted) - int(read)) == 1
        if text:
            found.append((text, GREEN if wanted == read else AMBER if near else RED))
    return found or [("-", GREEN)]


def _label(column: object, value: int) -> str:
    """ "forward", "yaw+5", or nothing for null."""
    if isinstance(column, CameraAxis):
        return "" if value == column.null else f"{column.name}{column.centers[value]:+.0f}"
    return column.labels[value] if value else ""


@functools.lru_cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)


def _write(canvas: Image.Image, x: int, y: int, width: int, text: Sequence[Word], layout: Layout) -> None:
    """Words in their colours, broken into at most `LINES` lines."""
    pen, font = ImageDraw.Draw(canvas), _font(layout.font)
    left, line, space = x, 0, pen.textlength(" ", font)
    for word, colour in text:
        length = pen.textlength(word, font)
        if left > x and left + length > x + width:
            left, line = x, line + 1
        if line == LINES:
            return
        pen.text((left, y + line * layout.line), word, colour, font)
        left += length + space


def _tile(frame: np.ndarray, text: Sequence[Word], layout: Layout) -> Image.Image:
    """A frame (H, W, 3), enlarged, with words under it."""
    height, width = frame.shape[:2]
    rows, columns = layout.tile(height, width)
    canvas = Image.new("RGB", (columns, rows), BACKGROUND)
    size = width * layout.scale, height * layout.scale
    canvas.paste(Image.fromarray(frame).resize(size, Image.Resampling.NEAREST))
    _write(canvas, 0, size[1] + 1, size[0], text, layout)
    return canvas


def _captions(answer: Answer, clip: int, prefix: int) -> list[list[Word]]:
    """Words for each frame (T); the frames that were given have none."""
    judged = answer.judged
    pairs = zip(judged.given[clip], judged.predicted[clip], strict=True)
    return [[("given", GREY)]] * prefix + [words(g, p, judged.spec) for g, p in pairs]


def _asked(answer: Answer, clip: int, prefix: int) -> list[list[Word]]:
    """Words of the given actions for each frame (T)."""
    spec = answer.judged.spec
    return [[("", GREY)]] * prefix + [[(w, BLACK) for w, _ in words(g, g, spec)] for g in answer.judged.given[clip]]


def _shown(answers: Sequence[Answer]) -> list[Answer]:
    """Everything but the shuffled row, whose frames are those of the truth."""
    return [answer for answer in answers if answer.kind != "shuffled"]


def draw(answers: Sequence[Answer], prompts: Prompts, path: str | os.PathLike, clips: int = 2) -> None:
    """Write the PNG: per clip the given actions, then truth and every model, eight frames to a line."""
    shown = _shown(answers)
    picks = chosen(shown[0].judged.given, clips, len(shown[0].judged.spec.groups))
    strips = [strip for clip in picks for strip in _block(shown, prompts, clip)]
    strips.append(_line(LEGEND, strips[0].width))
    canvas = Image.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips)), BACKGROUND)
    y = 0
    for strip in strips:
        canvas.paste(strip, (0, y))
        y += strip.height
    with atomic_path(path) as temporary:
        canvas.save(temporary, format="PNG")


def _block(shown: Sequence[Answer], prompts: Prompts, clip: int) -> Iterator[Image.Image]:
    """Strips of one clip, top to bottom."""
    prefix, frames = prompts.prefix.shape[1], prompts.truth.shape[1]
    asked = _asked(shown[0], clip, prefix)
    width = MARGIN + min(COLUMNS, frames) * PICTURE.tile(*prompts.truth.shape[2:4])[1]
    yield _line([(f"clip {prompts.ids[clip]}", GREY)], width)
    for first in range(0, frames, COLUMNS):
        columns = range(first, min(first + COLUMNS, frames))
        yield _strip("asked for", [_text_tile(asked[t], prompts, PICTURE) for t in columns])
        for answer in shown:
            captions = _captions(answer, clip, prefix)
            yield _strip(answer.name, [_tile(answer.frames[clip, t], captions[t], PICTURE) for t in columns])


def _text_tile(text: Sequence[Word], prompts: Prompts, layout: Layout) -> Image.Image:
    _, width = layout.tile(*prompts.truth.shape[2:4])
    canvas = Image.new("RGB", (width, LINES * layout.line + GAP), BACKGROUND)
    _write(canvas, 0, GAP, width - GAP, text, layout)
    return canvas


def _line(text: Sequence[Word], width: int) -> Image.Image:
    """One line of words over the whole width."""
    canvas = Image.new("RGB", (width, PICTURE.line + 2 * GAP), BACKGROUND)
    _write(canvas, 2, GAP, width, text, PICTURE)
    return canvas


def _strip(name: str, tiles: Sequence[Image.Image]) -> Image.Image:
    """A name, then tiles from left to right."""
    canvas = Image.new("RGB", (MARGIN + sum(t.width for t in tiles), tiles[0].height), BACKGROUND)
    ImageDraw.Draw(canvas).multiline_text((2, 2), name.replace("/", "/\n"), BLACK, _font(PICTURE.font))
    for i, tile in enumerate(tiles):
        canvas.paste(tile, (MARGIN + i * tile.width, 0))
    return canvas


def film(answers: Sequence[Answer], prompts: Prompts, path: str | os.PathLike, clips: int = 6, fps: float = 6.0) -> None:
    """Write the MP4: one clip after another, truth and models side by side."""
    shown = _shown(answers)
    picks = chosen(shown[0].judged.given, clips, len(shown[0].judged.spec.groups))
    stills = [still for clip in picks for still in _stills(shown, prompts, clip)]
    with atomic_path(path) as temporary:
        _encode(stills, fps, temporary)


def _encode(stills: Sequence[np.ndarray], fps: float, path: Path) -> None:
    """Stills (H', W', 3) uint8 to H.264; the container is named because a temporary path has no ending."""
    height, width = stills[0].shape[:2]
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(fps), "-i", "-"]
    target = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "20", "-preset", "veryfast", "-f", "mp4", str(path)]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *source, *target]
    done = subprocess.run(command, input=b"".join(still.tobytes() for still in stills), capture_output=True)
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()[-1:]
        full = b"No space left" in done.stderr
        raise OSError(errno.ENOSPC if full else errno.EIO, f"the video encoder failed {reason}", str(path))


def _stills(shown: Sequence[Answer], prompts: Prompts, clip: int) -> Iterator[np.ndarray]:
    """(H', W', 3) uint8 images of one clip."""
    prefix, frames = prompts.prefix.shape[1], prompts.truth.shape[1]
    captions = [_captions(answer, clip, prefix) for answer in shown]
    asked = _asked(shown[0], clip, prefix)
    for t in range(frames):
        tiles = [_tile(a.frames[clip, t], c[t], VIDEO) for a, c in zip(shown, captions, strict=True)]
        head = 2 * _even(VIDEO.line)
        canvas = Image.new("RGB", (sum(tile.width for tile in tiles), head + tiles[0].height), BACKGROUND)
        _write(canvas, 2, 0, canvas.width, [("asked for:", GREY), *asked[t]], VIDEO)
        for i, (answer, tile) in enumerate(zip(shown, tiles, strict=True)):
            _write(canvas, i * tile.width + 2, head // 2, tile.width, [(answer.name, BLACK)], VIDEO)
            canvas.paste(tile, (i * tile.width, head))
        yield np.ascontiguousarray(canvas)
