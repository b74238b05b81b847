"""The packed picture: of the size that was promised, upright, undistorted, limited range."""

import dataclasses
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.errors import FilmError
from curation.pictures import cut_picture, evidence_pictures, fitted_size, motion_luma, sample_luma
from curation.records import VideoRow
from curation.video.conform import conform
from curation.video.film import Film
from curation.video.geometry import Box, content_box, content_size, display_size, packed_size
from tests.curation.video.media import Library, ffmpeg, ffmpeg_frames, ffmpeg_luma, psnr, shown

sides = st.integers(16, 8192)
aspects = st.fractions(Fraction(1, 4), Fraction(4), max_denominator=255)
PATTERN = ("-f", "lavfi", "-i")


def pattern(size: str, *coding: str) -> tuple[str, ...]:
    return (*PATTERN, f"testsrc2=size={size}:rate=5:duration=0.4", *coding)


@given(sides, sides, aspects, st.sampled_from([0, 90, 180, 270]))
def test_displayed_size_loses_no_line_and_keeps_the_shape(
    width: int, height: int, aspect: Fraction, rotation: int
) -> None:
    shown_size = display_size(Box(0, 0, width, height), aspect, rotation)
    across, down = shown_size[::-1] if rotation in (90, 270) else shown_size
    assert across >= width - 1
    assert down >= height - 1
    assert across == width or down == height
    shape = aspect * width / height
    assert abs(across - down * shape) <= max(Fraction(1), shape)


@given(sides, sides, st.none() | st.integers(16, 2160))
def test_packed_size_is_even_never_larger_and_of_the_same_shape(
    width: int, height: int, short_side: int | None
) -> None:
    packed = packed_size(width, height, short_side)
    assert all(side % 2 == 0 and side >= 2 for side in packed)
    assert packed[0] <= width
    assert packed[1] <= height
    wanted = min(width, height, short_side or 8192)
    assert 0 <= wanted - min(packed) < 2
    scale = wanted / min(width, height)
    assert abs(packed[0] - width * scale) <= 2.5
    assert abs(packed[1] - height * scale) <= 2.5


@pytest.mark.parametrize(
    ("size", "aspect", "expected"),
    [
        ("101x57", "1", (100, 56)),
        ("176x144", "16/11", (256, 144)),
        ("176x144", "8/9", (176, 162)),
        ("177x145", "12/11", (192, 144)),
    ],
)
def test_odd_sizes_and_oblong_pixels(
    size: str, aspect: str, expected: tuple[int, int], tmp_path: Path
) -> None:
    source = tmp_path / "source.mkv"
    coding = ("-vf", f"setsar={aspect}", "-c:v", "libvpx-vp9", "-crf", "10", "-cpu-used", "8")
    ffmpeg(*pattern(size, *coding), source)
    film = Film(source)
    across, down = (side // 2 * 2 for side in map(int, size.split("x")))
    stretch = f"crop={across}:{down}:0:0,scale={expected[0]}:{expected[1]}:flags=lanczos"
    reference = ffmpeg_frames(source, "-vf", stretch, width=expected[0], height=expected[1])[0]
    assert psnr(shown(film), reference) > 32


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_crop_and_turn_together(degrees: int, library: Library, tmp_path: Path) -> None:
    source = tmp_path / "turned.mp4"
    with av.open(library["h264.mp4"]) as plain, av.open(source, "w") as container:
        stream = container.add_stream_from_template(plain.streams.video[0])
        stream.set_display_rotation(degrees)
        for packet in plain.demux(plain.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    film, box = Film(source), Box(12, 20, 96, 50)
    width, height = packed_size(*film.info.display_size(box), None)
    assert (width, height) == ((50, 96) if degrees % 180 else (96, 50))
    # ffmpeg turns first and crops then, so the box is turned for it.
    x, y = {0: (12, 20), 90: (20, 20), 180: (20, 26), 270: (26, 12)}[degrees]
    view = f"crop={width}:{height}:{x}:{y}"
    reference = ffmpeg_frames(source, "-vf", view, width=width, height=height)[0]
    frame = next(film.frames(threads=1))
    packed = conform(frame, film.info, box, (width, height))
    assert (packed.width, packed.height, packed.format.name) == (width, height, "yuv420p")
    assert psnr(packed.to_ndarray(format="rgb24").astype(np.uint8), reference) > 30

    small = fitted_size(film.info, box, 40)
    view = f"{view},scale={small[0]}:{small[1]}:flags=area"
    reference = ffmpeg_frames(source, "-vf", view, width=small[0], height=small[1])[0]
    evidence, luma = evidence_pictures(frame, film.info, box, 40)
    assert psnr(evidence[..., ::-1], reference) > 26
    assert np.array_equal(luma, motion_luma(frame, film.info, box, 40))


@pytest.mark.parametrize("size", [(88, 66), (64, 48), (40, 30)])
def test_shrinking(size: tuple[int, int], library: Library) -> None:
    film = Film(library["h264.mp4"])
    frame = next(film.frames(threads=1))
    packed = conform(frame, film.info, film.info.whole, size)
    view = f"scale={size[0]}:{size[1]}:flags=lanczos+accurate_rnd"
    reference = ffmpeg_luma(film.path, "-vf", view, width=size[0], height=size[1])[0]
    luma = dataclasses.replace(frame, raw=packed).planes()[0]
    assert psnr(luma, reference) > 45


def test_a_frame_that_needs_nothing_is_passed_on(library: Library) -> None:
    film = Film(library["h264.mp4"])
    frame = next(film.frames(threads=1))
    assert conform(frame, film.info, film.info.whole, (128, 96)) is frame.raw


def test_full_range_becomes_limited(tmp_path: Path) -> None:
    source = tmp_path / "white.mp4"
    white = ("-f", "lavfi", "-i", "color=white:size=64x48:rate=5:duration=0.4")
    ffmpeg(*white, "-c:v", "libx264", "-pix_fmt", "yuvj420p", source)
    film = Film(source)
    frame = next(film.frames(threads=1))
    assert frame.planes()[0].min() == 255
    for size in ((64, 48), (32, 24)):
        packed = conform(frame, film.info, film.info.whole, size)
        luma = packed.to_ndarray(format="gray")  # FFmpeg stretches gray to full range
        assert packed.format.name == "yuv420p"
        assert np.abs(luma.astype(int) - 255).max() <= 1


def test_the_pictures_that_are_measured(library: Library) -> None:
    film = Film(library["h264.mp4"])
    frame, info, whole = next(film.frames(threads=1)), film.info, film.info.whole
    assert cut_picture(frame, info, whole, 256).shape == (96, 128, 3)  # never enlarged
    assert cut_picture(frame, info, whole, 64).shape == (48, 64, 3)
    assert cut_picture(frame, info, Box(0, 20, 128, 56), 64).shape == (28, 64, 3)
    assert sample_luma(frame, info, whole, 480).shape == (96, 128)
    assert sample_luma(frame, info, whole, 48).shape == (48, 64)
    assert evidence_pictures(frame, info, whole, 48)[0].shape == (48, 64, 3)
    for short_side in (16, 20, 48, 96):
        exact = sample_luma(frame, info, whole, short_side)
        assert psnr(motion_luma(frame, info, whole, short_side), exact) > 30


def test_a_row_says_the_size_of_its_content() -> None:
    values: dict[str, Any] = {field.name: None for field in dataclasses.fields(VideoRow)}
    values |= {"crop_x": 8, "crop_y": 60, "crop_width": 704, "crop_height": 456}
    row = VideoRow(**(values | {"sample_aspect": "16:11", "rotation": 90}))
    assert content_box(row) == Box(8, 60, 704, 456)
    assert content_size(row) == (456, 1024)


def test_row_without_a_picture_is_refused_with_the_remedy() -> None:
    values: dict[str, Any] = {field.name: None for field in dataclasses.fields(VideoRow)}
    row = VideoRow(**(values | {"video_id": "f" * 32, "status": "quarantined"}))
    for of in (content_box, content_size):
        with pytest.raises(FilmError, match=r"not_scanned: .*f{32} is quarantined.*--retry"):
            of(row)
