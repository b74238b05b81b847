"""The technical score against closed forms, and what it must rank rightly."""

import itertools

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from curation.scoring.frames import tells_something
from curation.scoring.technical import (
    HASH_BITS,
    TechnicalScorer,
    colourfulness,
    perceptual_hash,
    sharpness,
    technical_score,
    well_exposed,
)

U8 = npt.NDArray[np.uint8]


def flat(blue: int, green: int, red: int) -> U8:
    return np.full((32, 48, 3), (blue, green, red), np.uint8)


def scene(seed: int, side: int = 288) -> U8:
    """Soft blobs of colour with an edge through them."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (9, 12, 3)).astype(np.uint8)
    picture = cv2.resize(coarse, (side * 16 // 9, side), interpolation=cv2.INTER_CUBIC)
    picture[:, : side // 2] //= 2
    return picture.astype(np.uint8)


def distance(a: U8, b: U8) -> float:
    return float(np.unpackbits(perceptual_hash(a) ^ perceptual_hash(b)).sum() / HASH_BITS)


def test_grey_has_no_colour_and_no_contrast_and_the_best_exposure() -> None:
    grey = flat(128, 128, 128)
    assert colourfulness(grey) == 0.0
    assert technical_score(grey) == pytest.approx(2.5, abs=0.001)  # a quarter: exposure alone


def test_colourfulness_is_that_of_the_paper() -> None:
    # Half red, half blue. rg is 200 or 0, yb is 100 or -200: means 100 and -50, deviations 100
    # and 150.
    picture = np.concatenate([flat(0, 0, 200), flat(200, 0, 0)])
    expected = np.hypot(100, 150) + 0.3 * np.hypot(100, -50)
    assert colourfulness(picture) == pytest.approx(expected, rel=1e-6)


def test_exposure_of_black_and_white_is_the_tail_of_the_bell() -> None:
    tail = np.exp(-(0.5**2) / (2 * 0.2**2))
    for level in (0, 255):
        luma = np.full((16, 16), level, np.uint8)
        assert well_exposed(luma) == pytest.approx(tail)


def test_sharpness_of_a_checkerboard() -> None:
    board = (np.indices((40, 40)).sum(axis=0) % 2 * 100).astype(np.uint8)
    assert sharpness(board) == pytest.approx(400.0**2)  # the Laplacian is +400 or -400


def test_blurred_faded_and_murky_pictures_score_lower() -> None:
    good = scene(1)
    blurred = cv2.GaussianBlur(good, (0, 0), 8).astype(np.uint8)
    faded = (good // 8 + 110).astype(np.uint8)
    murky = good // 8
    scores = [technical_score(picture) for picture in (good, blurred, faded, murky)]
    assert scores[0] > max(scores[1:])


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, st.tuples(st.integers(3, 24), st.integers(3, 24), st.just(3))))
def test_score_is_from_0_to_below_10(picture: U8) -> None:
    assert 0.0 <= technical_score(picture) < 10.0


def test_a_picture_is_known_again_after_coding_scaling_and_a_change_of_light() -> None:
    picture = scene(2)
    _, jpeg = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 20])
    small = cv2.resize(picture, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA)
    darker = (picture * 0.8).astype(np.uint8)
    for other in (cv2.imdecode(jpeg, cv2.IMREAD_COLOR), small, darker):
        assert distance(picture, other.astype(np.uint8)) <= 0.08
    others = [distance(scene(a), scene(b)) for a, b in itertools.combinations(range(12), 2)]
    assert min(others) > 0.25


def test_flat_pictures_tell_nothing() -> None:
    assert not tells_something(flat(0, 0, 0))
    assert not tells_something(flat(200, 30, 90))
    titled = flat(0, 0, 0)
    titled[2:4, 2:4] = 200  # a small watermark on black
    assert not tells_something(titled)
    assert tells_something(scene(3))


def test_a_batch_is_what_its_pictures_are() -> None:
    pictures = [scene(4), flat(0, 0, 0), scene(5)]
    judged = TechnicalScorer().judge(pictures)
    assert judged.scores.tolist() == [np.float32(technical_score(one)) for one in pictures]
    assert judged.telling.tolist() == [True, False, True]
    assert judged.embeddings is None
