"""Clarity against closed forms and exact arithmetic."""

from fractions import Fraction

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from curation.measure.clarity import ClipClarity, clarity_of, clip_clarity

U8 = npt.NDArray[np.uint8]

pictures = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=3, max_side=24), elements={}
)


def exact_clarity(luma: U8) -> float:
    """Variance of the Laplacian in fractions, pixel by pixel."""
    values = luma.astype(int).tolist()
    responses = [
        values[y][x - 1] + values[y][x + 1] + values[y - 1][x] + values[y + 1][x] - 4 * values[y][x]
        for y in range(1, len(values) - 1)
        for x in range(1, len(values[0]) - 1)
    ]
    count = len(responses)
    mean = Fraction(sum(responses), count)
    return float(Fraction(sum(value * value for value in responses), count) - mean * mean)


@given(pictures)
def test_it_is_the_variance_of_the_laplacian(luma: U8) -> None:
    assert clarity_of(luma) == pytest.approx(exact_clarity(luma), rel=1e-12, abs=1e-9)


def test_a_checkerboard_is_the_upper_end_of_the_range() -> None:
    board = (np.indices((10, 12)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert clarity_of(board) == pytest.approx(1020.0**2)


@given(st.integers(0, 255), st.integers(3, 20), st.integers(3, 20))
def test_a_flat_picture_has_none(level: int, height: int, width: int) -> None:
    assert clarity_of(np.full((height, width), level, np.uint8)) == 0.0


def test_an_even_gradient_has_none_since_the_rim_is_left_out() -> None:
    gradient = np.add.outer(3 * np.arange(20), 5 * np.arange(30)).astype(np.uint8)
    assert clarity_of(gradient) == 0.0


def test_one_bright_pixel() -> None:
    luma = np.zeros((22, 32), np.uint8)  # 20 x 30 pixels have four neighbours
    luma[10, 10] = 100
    # The responses are -400 once, 100 four times, and they add up to 0.
    assert clarity_of(luma) == pytest.approx((400**2 + 4 * 100**2) / (20 * 30))


@given(pictures, st.integers(0, 155))
def test_it_follows_contrast_and_not_brightness(luma: U8, lift: int) -> None:
    low = (luma // 4).astype(np.uint8)
    assert clarity_of(low * np.uint8(2)) == pytest.approx(4 * clarity_of(low), abs=1e-9)
    assert clarity_of(low + np.uint8(lift)) == pytest.approx(clarity_of(low), abs=1e-9)


def test_blur_lowers_it_step_by_step() -> None:
    noise = np.random.default_rng(7).integers(0, 256, (120, 160), dtype=np.uint8)
    values = [clarity_of(noise), *(clarity_of(blurred(noise, sigma)) for sigma in (0.5, 1, 2, 3))]
    assert values == sorted(values, reverse=True)
    assert values[-1] < 1e-4 * values[0]


def blurred(luma: U8, sigma: float) -> U8:
    return np.asarray(cv2.GaussianBlur(luma, (0, 0), sigma), np.uint8)


def test_noise_raises_it_as_the_docstring_warns() -> None:
    generator = np.random.default_rng(7)
    smooth = np.full((200, 300), 128.0)
    noisy = np.rint(smooth + generator.normal(0, 5.0, smooth.shape)).astype(np.uint8)
    # Independent noise of variance v gives (4 + 16) v, rounding adds 1/12 to v.
    assert clarity_of(noisy) == pytest.approx(20 * (25 + 1 / 12), rel=0.03)


def test_a_clip_has_mean_minimum_and_tenth_percentile() -> None:
    measured = clip_clarity(np.arange(21.0)[::-1])
    assert measured == ClipClarity(clarity_mean=10.0, clarity_min=0.0, clarity_p10=2.0)
    between = clip_clarity(np.array([10.0, 20.0]))
    assert between is not None
    assert between.clarity_p10 == pytest.approx(11.0)  # a tenth of the way from 10 to 20


def test_one_sample_is_all_three() -> None:
    assert clip_clarity(np.array([42.5])) == ClipClarity(42.5, 42.5, 42.5)


def test_no_sample_no_clarity() -> None:
    assert clip_clarity(np.array([])) is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_the_three_are_in_order(samples: list[float]) -> None:
    measured = clip_clarity(np.array(samples))
    assert measured is not None
    assert measured.clarity_min <= measured.clarity_p10 <= max(samples)
    assert measured.clarity_min <= measured.clarity_mean * (1 + 1e-12)
