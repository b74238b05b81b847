"""Reading packed samples by index: what a loader gets must be the frames in order."""

import io

import numpy as np
import pytest

from curation.errors import DatasetError
from curation.video.encode import EncodeSettings, FilmWriter
from curation.video.packed import PackedVideo
from tests.curation.video.media import U8


def counting_film(frames: int, settings: EncodeSettings | None = None) -> bytes:
    """A film whose frame k has the gray level 5 k (modulo 256)."""
    target = io.BytesIO()
    with FilmWriter(target, 64, 48, settings=settings) as writer:
        for k in range(frames):
            writer.write_rgb(np.full((48, 64, 3), 5 * k % 256, np.uint8))
    return target.getvalue()


def levels(batch: U8) -> list[int]:
    return [round(float(picture[8:-8, 8:-8].mean())) for picture in batch]


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5, 23, 24, 25, 26, 49])
def test_each_frame_of_short_films_is_where_it_belongs(frames: int) -> None:
    video = PackedVideo(counting_film(frames))
    assert len(video) == frames
    assert video.fps == pytest.approx(24)
    expected = [5 * k % 256 for k in range(frames)]
    assert levels(video.frames(range(frames))) == pytest.approx(expected, abs=1)
    single = [levels(video.frames([k]))[0] for k in reversed(range(frames))]
    assert single[::-1] == pytest.approx(expected, abs=1)


@pytest.mark.parametrize("settings", [EncodeSettings(gop=1), EncodeSettings(51, "slower", 250)])
def test_any_order_gives_the_pixels_of_the_sequential_one(settings: EncodeSettings) -> None:
    data = counting_film(120, settings)
    whole = PackedVideo(data).frames(range(120))
    video, chance = PackedVideo(data), np.random.default_rng(0)
    for _ in range(12):
        indices = chance.integers(120, size=chance.integers(1, 9)).tolist()
        assert np.array_equal(video.frames(indices), whole[indices])


def test_frames_are_rgb() -> None:
    target = io.BytesIO()
    with FilmWriter(target, 64, 48) as writer:
        for _ in range(4):
            writer.write_rgb(np.broadcast_to(np.array([200, 60, 30], np.uint8), (48, 64, 3)))
    batch = PackedVideo(target.getvalue()).frames([0, 3])
    assert batch.shape == (2, 48, 64, 3)
    assert np.abs(batch.mean(axis=(1, 2)) - [200, 60, 30]).max() < 3


def test_frames_that_are_not_there() -> None:
    video = PackedVideo(counting_film(5))
    for indices in ([5], [0, -1], [2, 1000]):
        with pytest.raises(DatasetError, match="of a video of 5 frames"):
            video.frames(indices)
    assert video.frames([]).shape == (0, 48, 64, 3)


def test_bytes_that_are_no_video() -> None:
    whole = counting_film(5)
    for data in (b"", b"no video" * 100, whole[: len(whole) // 2]):
        with pytest.raises(DatasetError, match="cannot be opened"):
            PackedVideo(data)
