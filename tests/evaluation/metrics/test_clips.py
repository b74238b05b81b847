"""Cutting against its definition; footage against what was encoded, and against damage."""

import weakref
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.errors import MetricError
from evaluation.metrics.arrays import U8
from evaluation.metrics.clips import Footage, cut
from tests.evaluation.metrics.videos import clip_spans, pan, texture, write


def numbered(count: int) -> Iterator[U8]:
    for number in range(count):
        yield np.full((2, 2, 3), number % 251, np.uint8)


@given(frames=st.integers(1, 300), length=st.integers(1, 60))
def test_clips_are_where_the_definition_has_them(frames: int, length: int) -> None:
    clips = list(cut(numbered(frames), length))
    spans = clip_spans(frames, length)
    assert [(clip.start, clip.start + len(clip.frames)) for clip in clips] == list(spans)
    assert [clip.index for clip in clips] == list(range(len(spans)))
    for clip, (start, end) in zip(clips, spans, strict=True):
        assert clip.frames[:, 0, 0, 0].tolist() == [k % 251 for k in range(start, end)]


@pytest.mark.parametrize(
    ("frames", "starts"), [(121, [0, 48, 73]), (500, [*range(0, 480, 48), 452])]
)
def test_the_papers_lengths(frames: int, starts: list[int]) -> None:
    assert [clip.start for clip in cut(numbered(frames), 48)] == starts


def test_no_more_frames_are_held_than_a_clip_has() -> None:
    class Frame(np.ndarray):  # plain arrays cannot be referred to weakly
        pass

    made: list[weakref.ref[Frame]] = []
    most = 0

    def frames() -> Iterator[U8]:
        nonlocal most
        for number in range(400):
            frame = np.full((2, 2, 3), number % 251, np.uint8).view(Frame)
            made.append(weakref.ref(frame))
            most = max(most, sum(one() is not None for one in made))
            yield frame

    assert sum(len(clip.frames) for clip in cut(frames(), 24)) == 17 * 24
    assert most <= 24 + 1


def test_footage_gives_the_pictures_that_were_encoded(tmp_path: Path) -> None:
    frames = pan(60, 2.0)
    footage = Footage(write(tmp_path / "pan.mp4", frames))
    assert (footage.fps, footage.clip_frames) == (24, 48)
    read = np.stack(list(footage.frames()))
    assert read.shape == frames.shape
    # These loud colours clip on their way through 4:2:0, but no frame is another's.
    assert np.abs(read.mean(axis=(1, 2)) - frames.mean(axis=(1, 2))).max() < 3.0
    apart = np.abs(read[:, None, ::8, ::8].astype(int) - frames[None, :, ::8, ::8]).mean((2, 3, 4))
    assert apart.argmin(axis=1).tolist() == list(range(60))
    assert [clip.start for clip in footage.clips()] == [0, 12]


def test_damaged_footage_is_refused_not_flattered(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.mp4", pan(96, 3.0))
    data = bytearray(whole.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(data)
    with pytest.raises(MetricError, match="damaged"):
        list(Footage(broken).clips())


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100])
def test_what_is_no_video_is_said_to_be_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.mp4"
    path.write_bytes(content)
    with pytest.raises(MetricError, match=r"x\.mp4"):
        Footage(path)


def test_a_slide_show_is_refused(tmp_path: Path) -> None:
    import av

    path = tmp_path / "slides.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=1)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        for number in range(3):
            frame = av.VideoFrame.from_ndarray(texture(64, 64, number), format="rgb24")
            frame.pts = number * 4
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MetricError, match="frames per second"):
        Footage(path)


def test_clips_that_would_fill_the_memory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = write(tmp_path / "pan.mp4", pan(60, 2.0))
    monkeypatch.setattr("evaluation.metrics.clips._MOST_BYTES", 48 * 96 * 128 * 3)
    assert len(list(Footage(video).clips())) == 2
    monkeypatch.setattr("evaluation.metrics.clips._MOST_BYTES", 48 * 96 * 128 * 3 - 1)
    with pytest.raises(MetricError, match="smaller video"):
        list(Footage(video).clips())


def test_a_rotated_real_film_stands_upright(films_dir: Path) -> None:
    first = next(Footage(films_dir / "decord_rot90.mov").frames())
    height, width = first.shape[:2]
    assert height > width
