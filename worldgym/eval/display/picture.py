"""The picture and the video: truth and models side by side, given and recovered actions written with the frames.

- `draw(columns, tasks, spec, path)`: a PNG. `film(columns, tasks, spec, path)`: an MP4.
- `chosen(given, clips)`: the clips to show, chosen by the given actions alone and never by anybody's score.

The given action stands above the frames, what the judge read under each frame: green where it agrees, red where it does not,
amber for a camera bin next to the right one. A red "(word)" was given and not read.
"""

from __future__ import annotations

import dataclasses
import functools
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from worldgym.actions import ActionSpec, CameraAxis
from worldgym.eval.protocols.base import Protocol
from worldgym.eval.protocols.videos import encode
from worldgym.eval.results.answers import Answer, Question
from worldgym.files import atomic_path

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
MOMENTS = 16  # frames of a clip in the picture, evenly spread; a video shows all
MARGIN = 96  # for names, left of the frames


def chosen(given: Sequence[np.ndarray], clips: int, groups: int) -> list[int]:
    """The clips whose given actions N x (T, A) press the most different labels; ties go to the earlier clip."""
    pressed = [actions[:, :groups] for actions in given]
    variety = [sum(len(np.unique(column[column > 0])) for column in clip.T) for clip in pressed]
    order = np.lexsort((np.arange(len(given)), [-(clip > 0).sum() for clip in pressed], -np.array(variety)))
    return sorted(order[:clips].tolist())


def words(given: Sequence[int], predicted: Sequence[int], spec: ActionSpec) -> list[Word]:
    """What the judge read at one step, each word with its colour."""
    said: list[Word] = []
    for column, wanted, read in zip(spec.columns, given, predicted, strict=True):
        text = _label(column, read) or (f"({_label(column, wanted)})" if wanted != read else "")
        near = isinstance(column, CameraAxis) and abs(int(wanted) - int(read)) == 1
        if text:
            said.append((text, GREEN if wanted == read else AMBER if near else RED))
    return said or [("-", GREEN)]


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


@dataclasses.dataclass(frozen=True, eq=False)
class Column:
    """One row of the table as it is shown.

    Attributes:
        name: of the entry.
        frames: index of a clip -> (T, H, W, 3) uint8.
        read: index of a clip -> (T-P, A) labels that the judge read, or None.
    """

    name: str
    frames: Mapping[int, np.ndarray]
    read: Mapping[int, np.ndarray | None]


def columns(protocol: Protocol, answers: Sequence[Answer]) -> list[Column]:
    """Columns of all entries with frames; the shuffled row is left out, because its frames are those of the truth."""
    return [
        Column(a.name, a.shown, {clip: protocol.captions(a.rows[clip]) for clip in a.shown})
        for a in answers
        if a.shown and a.entrant.kind != "shuffled"
    ]


def _captions(column: Column, task: Question, clip: int, spec: ActionSpec) -> list[list[Word]]:
    """Words for each frame (T); the frames that were given have none."""
    given, read = _asked_for(task), column.read.get(clip)
    if read is None:
        return [[("given", GREY)]] * len(task.prefix) + [[]] * len(given)
    return [[("given", GREY)]] * len(task.prefix) + [words(g, p, spec) for g, p in zip(given, read, strict=True)]


def _asked(task: Question, spec: ActionSpec) -> list[list[Word]]:
    """Words of the given actions for each frame (T)."""
    return [[("", GREY)]] * len(task.prefix) + [[(w, BLACK) for w, _ in words(g, g, spec)] for g in _asked_for(task)]


def _asked_for(task: Question) -> np.ndarray:
    """(T-P, A): the actions that led to the frames that were not given."""
    return task.actions[len(task.prefix) - 1 :]


def draw(shown: Sequence[Column], tasks: Mapping[int, Question], spec: ActionSpec, path: str | os.PathLike) -> None:
    """Write the PNG: per clip the given actions, then every column, eight frames to a line.

    Args:
        shown: truth and models.
        tasks: index of a clip -> task, for the clips to draw.
        spec: of the actions.
        path: of the PNG.
    """
    strips = [strip for clip, task in tasks.items() for strip in _block(shown, task, clip, spec)]
    strips.append(_line(LEGEND, strips[0].width))
    canvas = Image.new("RGB", (max(s.width for s in strips), sum(s.height for s in strips)), BACKGROUND)
    y = 0
    for strip in strips:
        canvas.paste(strip, (0, y))
        y += strip.height
    with atomic_path(path) as temporary:
        canvas.save(temporary, format="PNG")


def _block(shown: Sequence[Column], task: Question, clip: int, spec: ActionSpec) -> Iterator[Image.Image]:
    """Strips of one clip, top to bottom."""
    asked, size = _asked(task, spec), task.truth.shape[1:3]
    moments = np.unique(np.linspace(0, len(asked) - 1, min(len(asked), MOMENTS)).round().astype(int))
    width = MARGIN + min(COLUMNS, len(moments)) * PICTURE.tile(*size)[1]
    yield _line([(f"clip {task.id}", GREY)], width)
    captions = [_captions(column, task, clip, spec) for column in shown]
    for line in (moments[i : i + COLUMNS] for i in range(0, len(moments), COLUMNS)):
        yield _strip("asked for", [_text_tile(asked[t], size, PICTURE) for t in line])
        for column, text in zip(shown, captions, strict=True):
            if clip in column.frames:  # absent where the entry failed
                yield _strip(column.name, [_tile(column.frames[clip][t], text[t], PICTURE) for t in line])


def _text_tile(text: Sequence[Word], size: tuple[int, int], layout: Layout) -> Image.Image:
    _, width = layout.tile(*size)
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


def film(
    shown: Sequence[Column], tasks: Mapping[int, Question], spec: ActionSpec, path: str | os.PathLike, fps: float = 6.0
) -> None:
    """Write the MP4: one clip after another, truth and models side by side; arguments as in `draw`."""
    stills = [still for clip, task in tasks.items() for still in _stills(shown, task, clip, spec)]
    height, width = (max(still.shape[axis] for still in stills) for axis in (0, 1))  # clips may differ in who is shown
    padded = [np.pad(s, ((0, height - s.shape[0]), (0, width - s.shape[1]), (0, 0)), constant_values=255) for s in stills]
    with atomic_path(path) as temporary:
        encode(padded, fps, temporary, "mp4")


def _stills(shown: Sequence[Column], task: Question, clip: int, spec: ActionSpec) -> Iterator[np.ndarray]:
    """(H', W', 3) uint8 images of one clip."""
    there = [column for column in shown if clip in column.frames]
    captions = [_captions(column, task, clip, spec) for column in there]
    asked = _asked(task, spec)
    for t in range(len(asked)):
        tiles = [_tile(column.frames[clip][t], text[t], VIDEO) for column, text in zip(there, captions, strict=True)]
        head = 2 * _even(VIDEO.line)
        canvas = Image.new("RGB", (sum(tile.width for tile in tiles), head + tiles[0].height), BACKGROUND)
        _write(canvas, 2, 0, canvas.width, [("asked for:", GREY), *asked[t]], VIDEO)
        for i, (column, tile) in enumerate(zip(there, tiles, strict=True)):
            _write(canvas, i * tile.width + 2, head // 2, tile.width, [(column.name, BLACK)], VIDEO)
            canvas.paste(tile, (i * tile.width, head))
        yield np.ascontiguousarray(canvas)
