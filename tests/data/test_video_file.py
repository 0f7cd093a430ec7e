"""Frames of recordings with uneven timestamps go by number; the written mp4 does not depend on how many cores there are."""

import io
from fractions import Fraction

import av
import numpy as np
import pytest

from worldgym.data.video_file import VideoFile, encode, through_codec
from worldgym.errors import InputError

COUNT = 40
TIMES = {
    "even": [50 * i for i in range(COUNT)],
    "a missing tick after frame 20": [50 * (i + (i > 20)) for i in range(COUNT)],
    "a pause of 1.5 s": [50 * i + 1500 * (i > 8) for i in range(COUNT)],
    "uneven": np.cumsum(np.random.default_rng(0).integers(5, 120, COUNT)).tolist(),
    "a late start": [700 + 50 * i for i in range(COUNT)],
}


def shade(index: int) -> int:
    return 6 * index


def recording(path, times) -> None:
    """Frame i is grey of brightness 6 i, shown at times[i] ms; key frames lie 7 apart, with frames that look ahead."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=20)
        stream.width = stream.height = 32
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.codec_context.gop_size, stream.codec_context.max_b_frames = 7, 2
        for index, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade(index), np.uint8), format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())


@pytest.mark.parametrize("times", TIMES.values(), ids=TIMES)
@pytest.mark.parametrize("start", [0, 8, 9, 10, 20, 21, 22, 37])
def test_frames_go_by_their_number(tmp_path, times, start: int):
    recording(tmp_path / "a.mp4", times)
    with VideoFile(tmp_path / "a.mp4") as file:
        found = file.read(start, 3)
        assert np.round(found.mean((1, 2, 3)) / 6).astype(int).tolist() == [start, start + 1, start + 2]
        assert file.decoded <= 24  # from a key frame near by, threads running ahead
        with pytest.raises(InputError, match="ends after frame 39"):
            file.read(38, 3)
        with pytest.raises(InputError, match="ends after frame 39"):
            file.read(60, 1)
        assert round(file.read(2, 1).mean() / 6) == 2


def by_hand(frames, fps: int, threads: int) -> bytes:
    """`encode` with a number of threads."""
    buffer, (height, width) = io.BytesIO(), frames.shape[1:3]
    with av.open(buffer, "w", format="mp4") as file:
        stream = file.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.bit_rate = int(1.5 * fps * width * height)
        stream.codec_context.gop_size, stream.codec_context.qmin = 12, 3
        stream.codec_context.thread_count = threads
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture[..., ::-1]), format="bgr24")
            file.mux(stream.encode(frame.reformat(format="yuv420p", interpolation="BICUBIC")))
        file.mux(stream.encode())
    with av.open(io.BytesIO(buffer.getvalue())) as file:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]).tobytes()


@pytest.mark.parametrize("size", [(224, 384), (96, 128), (64, 64)])
def test_the_mp4_is_that_of_one_thread_on_any_machine(size):
    y, x, t = np.ogrid[: size[0], : size[1], :6]
    waves = 127 + 60 * np.sin(x / 9 + t) + 60 * np.cos(y / 7 - t / 2)
    frames = np.repeat(np.moveaxis(waves, -1, 0)[..., None], 3, -1).astype(np.uint8)
    assert through_codec(frames, 6).tobytes() == by_hand(frames, 6, 1)
    if size[0] == 224:
        assert by_hand(frames, 6, 4) != by_hand(frames, 6, 1)  # slices do change it


def test_the_encoder_is_told_so(monkeypatch):
    """Where one core is all there is, nothing else would show it."""
    told = []
    original = av.container.output.OutputContainer.add_stream

    def add_stream(self, *arguments, **more):
        told.append(original(self, *arguments, **more))
        return told[-1]

    class Container:
        def __init__(self, inside):
            self.inside = inside

        def __enter__(self):
            self.inside.__enter__()
            return self

        def __exit__(self, *error):
            return self.inside.__exit__(*error)

        def add_stream(self, *arguments, **more):
            return add_stream(self.inside, *arguments, **more)

        def mux(self, packets):
            return self.inside.mux(packets)

    real = av.open
    monkeypatch.setattr(av, "open", lambda *a, **k: Container(real(*a, **k)))
    encode(np.zeros((2, 16, 16, 3), np.uint8), io.BytesIO(), 6)
    assert [stream.codec_context.thread_count for stream in told] == [1]
