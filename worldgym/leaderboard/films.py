"""Films of submissions: are they films, and do they show what the rows were measured on?

- `shape_problems(path)`: what is wrong with the file itself. `belongs(path, result, tasks)`: what is wrong with what it shows.

A film holds the shown clips one after the other, lossily. Its given frames must be those of the clips; and where rows have a
peak signal-to-noise ratio, the film's own must be about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import imageio_ffmpeg
import numpy as np

from worldgym.eval.metrics.psnr import psnr
from worldgym.eval.results.answers import Question

LARGEST = 2 << 20  # bytes of one WebM
HEAD = b"\x1a\x45\xdf\xa3"
SEGMENT = b"\x18\x53\x80\x67"
MARKUP = (b"<html", b"<script", b"<!doctype", b"<svg", b"<iframe", b"<body", b"<?php")
GIVEN = 20.0  # dB of the given frames, at least; of all committed films: 25.9 or more
APART = 0.6  # dB between a film and its row, at most; of all committed films: .18 or less
CEILING = 25.0  # dB: above it the codec decides


def shape_problems(path: Path) -> list[str]:
    """Too large, no WebM, or something else beside it in the file."""
    size = path.stat().st_size
    if size > LARGEST:
        return [f"{path} has {size} bytes; at most {LARGEST} are published"]
    content = path.read_bytes()
    if content[:4] != HEAD:
        return [f"{path} is not a WebM file"]
    if not _whole(content):
        return [f"{path} holds something before, between or after the parts of a WebM file"]
    if any(mark in content.lower() for mark in MARKUP):
        return [f"{path} holds markup, which no film needs"]
    return []


def _whole(content: bytes) -> bool:
    """An EBML head and one segment that ends where the file ends."""
    head, start = _size(content, 4)
    place = start + head
    if head < 0 or content[place : place + 4] != SEGMENT:
        return False
    size, start = _size(content, place + 4)
    return size >= 0 and start + size == len(content)


def _size(content: bytes, at: int) -> tuple[int, int]:
    """An EBML number and where what it counts begins; -1 where there is none."""
    first = content[at] if at < len(content) else 0
    length = 9 - first.bit_length()
    if not first or at + length > len(content):
        return -1, at
    rest = int.from_bytes(content[at : at + length], "big") & ((1 << 7 * length) - 1)
    return rest, at + length


def belongs(path: Path, result: Mapping[str, Any], tasks: Sequence[Question]) -> list[str]:
    """Does a film show the clips that its result says, as the rows saw them?"""
    by_id = {task.id: (task, row) for task, row in zip(tasks, result["rows"], strict=True)}
    if not set(result["shown"]) <= by_id.keys():
        return [f"{path} shows clips that are none of the suite's"]
    shown = [by_id[name] for name in result["shown"] if "failure" not in by_id[name][1]]
    height, width = shown[0][0].truth.shape[1:3] if shown else (0, 0)
    frames = decode(path, sum(len(task.truth) for task, _ in shown) + 1)
    if frames is None or len(frames) != sum(len(task.truth) for task, _ in shown):
        return [f"{path} does not hold the frames of the {len(shown)} shown clips"]
    start, own, said = 0, [], []
    for task, row in shown:
        clip = frames[start : start + len(task.truth), :height, :width]
        start += len(task.truth)
        given = len(task.prefix)
        if clip.shape != task.truth.shape or psnr(clip[None, :given], task.prefix[None])[0] < GIVEN:
            return [f"{path} does not begin clip {task.id} with the given frames"]
        value = CEILING if result["entry"]["source"] == "reference" else row.get("scores", {}).get("psnr")
        if value is not None:
            own.append(min(float(psnr(clip[None, given:], task.truth[None, given:])[0]), CEILING))
            said.append(min(value, CEILING))
    if own and np.abs(np.array(own) - said).max() > APART:
        return [f"{path} belongs to other rows: its distance to the true video is not theirs"]
    return []


def decode(path: Path, most: int) -> np.ndarray | None:
    """Frames (T, H, W, 3) uint8, at most so many; None for what cannot be decoded."""
    found = []
    try:
        reader = imageio_ffmpeg.read_frames(str(path), pix_fmt="rgb24", output_params=["-fps_mode", "passthrough"])
        width, height = next(reader)["size"]
        if width * height > 1 << 22:
            return None
        for still in reader:
            found.append(np.frombuffer(still, np.uint8).reshape(height, width, 3))
            if len(found) >= most:
                break
        reader.close()
    except (OSError, RuntimeError, ValueError, StopIteration, IndexError, KeyError):
        return None
    return np.stack(found) if found else None
