"""Video files through PyAV, the one door to it: `pip install "worldgym[vpt]"`.

- `VideoFile(path)`: frames from anywhere in a file; it seeks to the key frame before and decodes from there only.
- `encode(frames, path, fps)`: an mp4 as OpenCV's "mp4v" writer makes it, frame for frame the same bytes when read back.
- `through_codec(frames, fps)`: what is left of frames after such a file, which is what MineWorld's evaluation looks at.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np

from worldgym.errors import InputError


def _library() -> Any:
    try:
        import av
    except ImportError:
        raise InputError('reading and writing mp4 needs PyAV: pip install "worldgym[vpt]"') from None
    return av


class VideoFile:
    """A video opened for reading.

    Attributes:
        frames: how many frames the file says it has (0 where it does not say). fps: frames per second.
        height, width: pixels.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        if not self.path.is_file():
            raise InputError(f"there is no video {str(path)!r}")
        av = _library()
        try:
            self._file = av.open(str(self.path))
            self._stream = self._file.streams.video[0]
        except (av.FFmpegError, IndexError) as error:
            raise InputError(f"{str(path)!r} is no video that can be read ({error})") from None
        self._stream.thread_type = "AUTO"
        self.frames, self.fps = int(self._stream.frames), float(self._stream.average_rate or 0)
        self.height, self.width = int(self._stream.height), int(self._stream.width)
        self._times: list[int] | None = None
        self.decoded = 0  # frames decoded so far, those that were skipped over included

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _index(self) -> list[int]:
        """When each frame is shown, in order: from the packets, without decoding them."""
        if self._times is None:
            self._file.seek(0, stream=self._stream, backward=True)
            self._times = sorted(packet.pts for packet in self._file.demux(self._stream) if packet.pts is not None)
        return self._times

    def read(self, start: int, count: int) -> np.ndarray:
        """Frames start to start + count - 1, (count, H, W, 3) uint8 RGB.

        Frames go by their number in the file, whatever their timestamps are, as in the published loaders: a recording that
        paused or lost a tick has one frame per line of actions all the same.

        Raises:
            InputError: the video ends before.
        """
        av, stream = _library(), self._stream
        frames: list[np.ndarray] = []
        try:
            times = self._index()
            if start >= len(times):
                raise InputError(f"{str(self.path)!r} ends after frame {len(times) - 1}; frame {start + count - 1} was needed")
            self._file.seek(times[start], stream=stream, backward=True)
            for frame in self._file.decode(stream):
                self.decoded += 1
                if frame.pts >= times[start]:
                    frames.append(frame.to_ndarray(format="rgb24"))
                if len(frames) == count:
                    return np.stack(frames)
        except av.FFmpegError as error:
            raise InputError(f"{str(self.path)!r} is damaged near frame {start + len(frames)} ({error})") from None
        raise InputError(
            f"{str(self.path)!r} ends after frame {start + len(frames) - 1}; frame {start + count - 1} was needed"
        )


def encode(frames: np.ndarray, target: str | Path | io.BytesIO, fps: int) -> None:
    """MPEG-4 part 2 with OpenCV's settings: 1.5 bits per pixel, quantiser of at least 3, a key frame every 12 frames.

    Args:
        frames: (T, H, W, 3) uint8 RGB, H and W even.
        target: path of the mp4, or a buffer.
        fps: frames per second; decides about the bits that a frame gets.
    """
    av = _library()
    height, width = frames.shape[1:3]
    if height % 2 or width % 2:
        raise InputError(f"frames of {height}x{width} pixels can't be written as mp4; both must be even")
    with av.open(target if isinstance(target, io.BytesIO) else str(target), "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = int(1.5 * fps * width * height)
        stream.codec_context.gop_size, stream.codec_context.qmin = 12, 3
        stream.codec_context.thread_count = 1  # each thread writes a slice of its own, and slices change the bytes
        for picture in frames:
            # by way of BGR and bicubic chroma, as OpenCV does it
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[..., ::-1]), format="bgr24")
            file.mux(stream.encode(frame.reformat(format="yuv420p", interpolation="BICUBIC")))
        file.mux(stream.encode())


def through_codec(frames: np.ndarray, fps: int) -> np.ndarray:
    """(T, H, W, 3) uint8, written with `encode` and read back."""
    av, buffer = _library(), io.BytesIO()
    encode(frames, buffer, fps)
    buffer.seek(0)
    with av.open(buffer) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)])
