"""Exposure against plain statistics; borders against frames whose bars are known to the pixel."""

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from curation.measure.exposure import (
    HIGHLIGHT_LEVEL,
    SHADOW_LEVEL,
    ClipExposure,
    ExposureSample,
    clip_exposure,
    content_box,
    exposure_of,
    lit_sides,
)

U8 = npt.NDArray[np.uint8]
BLACK = 16
FRAME = (270, 480)
WHOLE = (0, 0, 480, 270)


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40)))
def test_exposure_is_plain_statistics(luma: U8) -> None:
    measured = exposure_of(luma)
    assert measured.luma_mean == pytest.approx(luma.mean(dtype=np.float64))
    assert measured.luma_std == pytest.approx(luma.std(dtype=np.float64), abs=1e-9)
    assert measured.shadows_clipped == np.mean(luma <= SHADOW_LEVEL)
    assert measured.highlights_clipped == np.mean(luma >= HIGHLIGHT_LEVEL)


def test_half_black_half_white() -> None:
    luma = np.zeros((10, 10), np.uint8)
    luma[5:] = 255
    assert exposure_of(luma) == ExposureSample(127.5, 127.5, 0.5, 0.5)


def test_a_clip_is_the_mean_of_its_samples() -> None:
    samples = {
        "luma_mean": np.array([100.0, 110.0]),
        "luma_std": np.array([20.0, 40.0]),
        "shadows_clipped": np.array([0.0, 0.5]),
        "highlights_clipped": np.array([0.25, 0.25]),
    }
    assert clip_exposure(samples) == ClipExposure(105.0, 30.0, 0.25, 0.25)
    assert clip_exposure({name: values[:0] for name, values in samples.items()}) is None


def picture(number: int, size: tuple[int, int], low: int = 40, high: int = 220) -> U8:
    """A cloudy picture [h, w] with values from low to high, another one for each number."""
    noise = np.random.default_rng(number).normal(size=(size[0] // 8 + 2, size[1] // 8 + 2))
    clouds = cv2.resize(noise, size[::-1], interpolation=cv2.INTER_CUBIC)
    return cv2.normalize(clouds, np.empty(0), low, high, cv2.NORM_MINMAX).astype(np.uint8)


def framed(number: int, x: int, y: int, width: int, height: int, *, black: int = BLACK) -> U8:
    """A frame that is black but for a picture in that box."""
    frame = np.full(FRAME, black, np.uint8)
    frame[y : y + height, x : x + width] = picture(number, (height, width))
    return frame


def film(make: Callable[[int], U8], count: int = 6) -> list[U8]:
    return [make(number) for number in range(count)]


@pytest.mark.parametrize("black", [0, 16])
@pytest.mark.parametrize(
    "box",
    [
        (0, 34, 480, 202),
        (60, 0, 360, 270),
        (30, 20, 420, 230),
        (164, 0, 152, 270),
        (0, 2, 480, 266),
    ],
    ids=["letterbox", "pillarbox", "both", "upright film", "thin"],
)
def test_bars_are_found_to_the_line(box: tuple[int, int, int, int], black: int) -> None:
    frames = film(lambda number: framed(number, *box, black=black))
    assert content_box(frames, black) == box


@settings(max_examples=60)
@given(
    top=st.integers(0, 40),
    lopsided=st.integers(0, 2),
    left=st.integers(0, 60),
    odd=st.integers(0, 2),
)
def test_the_box_is_even_inside_the_picture_and_misses_less_than_two_lines(
    top: int, lopsided: int, left: int, odd: int
) -> None:
    bottom, right = 270 - top - lopsided, 480 - left - odd
    frames = film(lambda n: framed(n, left, top, right - left, bottom - top), 3)
    x, y, width, height = content_box(frames, BLACK)
    assert x % 2 == y % 2 == width % 2 == height % 2 == 0
    assert left <= x < left + 2
    assert top <= y < top + 2
    assert right - 2 < x + width <= right
    assert bottom - 2 < y + height <= bottom


def test_noise_and_ringing_in_the_bars_do_not_matter() -> None:
    def noisy(number: int) -> U8:
        blurred = cv2.GaussianBlur(framed(number, 0, 34, 480, 202), (0, 0), 0.6)
        noise = np.random.default_rng(number).normal(0, 2.5, FRAME)
        return np.clip(np.rint(blurred + noise), 0, 255).astype(np.uint8)

    x, y, width, height = content_box(film(noisy, 12), BLACK)
    assert (x, width) == (0, 480)
    assert y in (32, 34)
    assert y + height in (236, 238)


def test_a_picture_without_bars_stays_whole() -> None:
    assert content_box(film(lambda number: picture(number, FRAME)), BLACK) == WHOLE


def test_odd_frames_lose_their_odd_line() -> None:
    frames = film(lambda number: picture(number, (271, 481)))
    assert content_box(frames, BLACK) == (0, 0, 480, 270)


def test_dark_frames_beside_clear_ones_change_nothing() -> None:
    frames = film(lambda number: framed(number, 0, 34, 480, 202))
    frames.insert(0, np.full(FRAME, BLACK, np.uint8))
    frames.append(np.full(FRAME, BLACK + 3, np.uint8))
    assert content_box(frames, BLACK) == (0, 34, 480, 202)


@pytest.mark.parametrize("level", [BLACK, BLACK + 5])
def test_black_frames_say_nothing(level: int) -> None:
    assert content_box([np.full(FRAME, level, np.uint8)] * 4, BLACK) == WHOLE


def test_a_night_film_is_not_cropped() -> None:
    """Lit in the middle, fading into black on all sides."""

    def night(number: int) -> U8:
        y, x = np.mgrid[0 : FRAME[0], 0 : FRAME[1]]
        away = np.hypot((x - 240) / 240, (y - 135) / 135)
        light = np.clip(1.1 - away, 0, 1) ** 2
        lit = BLACK + light * (picture(number, FRAME) - float(BLACK))
        return np.asarray(lit, np.uint8)

    assert content_box(film(night), BLACK) == WHOLE


def test_a_dark_sky_above_a_skyline_is_not_a_bar() -> None:
    skyline = 80 + (30 * np.sin(np.arange(480) / 25)).astype(int)

    def city(number: int) -> U8:
        frame = picture(number, FRAME)
        frame[np.arange(270)[:, None] < skyline] = BLACK
        return frame

    assert content_box(film(city), BLACK) == WHOLE


def test_black_on_one_side_only_is_not_a_bar() -> None:
    frames = film(lambda number: framed(number, 0, 0, 480, 200))
    assert content_box(frames, BLACK) == WHOLE


def test_bars_must_be_there_in_every_frame() -> None:
    frames = film(lambda number: framed(number, 0, 34, 480, 202))
    frames[3] = picture(3, FRAME)
    assert content_box(frames, BLACK) == WHOLE


def test_subtitles_in_a_bar_are_kept() -> None:
    frames = film(lambda number: framed(number, 0, 34, 480, 202))
    cv2.putText(frames[2], "what did he say?", (120, 258), cv2.FONT_HERSHEY_PLAIN, 1.2, 235, 1)
    assert content_box(frames, BLACK) == WHOLE


def test_a_title_card_seen_once_is_not_a_film_inside_bars() -> None:
    card = framed(1, 120, 60, 240, 150)
    assert content_box([card, card.copy()], BLACK) == WHOLE
    assert content_box([framed(1, 60, 30, 360, 210), framed(2, 60, 30, 360, 210)], BLACK) == (
        60,
        30,
        360,
        210,
    )


def test_one_frame_is_enough_for_a_letterbox() -> None:
    assert content_box([framed(1, 0, 34, 480, 202)], BLACK) == (0, 34, 480, 202)


def test_what_would_leave_too_little_is_not_done() -> None:
    frames = film(lambda number: framed(number, 0, 105, 480, 60))
    assert content_box(frames, BLACK) == WHOLE


@given(
    dark=st.lists(st.integers(0, 9), min_size=4, max_size=4),
    level=st.integers(BLACK, BLACK + 40),
    frames=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_once_every_side_was_lit_no_frame_can_find_a_bar(
    dark: list[int], level: int, frames: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    lumas = []
    for _ in range(frames):
        luma = random.integers(BLACK, 200, (54, 96)).astype(np.uint8)
        top, bottom, left, right = dark
        luma[:top], luma[54 - bottom :], luma[:, :left], luma[:, 96 - right :] = (level,) * 4
        lumas.append(luma)
    lit = np.logical_or.reduce([lit_sides(luma, BLACK) for luma in lumas])
    barred = [width > 0 and level <= BLACK + 6 for width in dark]
    if level <= BLACK + 6:
        assert [not side for side in lit] == barred
    if lit.all():
        black = np.full((54, 96), BLACK, np.uint8)
        assert content_box([*lumas, black], BLACK) == (0, 0, 96, 54)


def test_the_black_level_decides() -> None:
    """Limited-range black is dark grey in full range: then it is picture, not a bar."""
    frames = film(lambda number: framed(number, 0, 34, 480, 202, black=16))
    assert content_box(frames, 0) == WHOLE
