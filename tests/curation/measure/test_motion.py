"""Motion against scenes whose motion is known in closed form.

The scenes are sums of sines, evaluated where each pixel comes from: nothing is resampled, so a
movement by a fraction of a pixel is exact.
"""

import dataclasses
import math
import random
from collections.abc import Iterator

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.measure.motion import (
    STILL_SPEED,
    MotionMeter,
    MotionSample,
    clip_motion,
    working_size,
)

U8 = npt.NDArray[np.uint8]
F64 = npt.NDArray[np.float64]

WIDTH, HEIGHT = 480, 270
GAP = 1 / 12
DIAGONAL = math.hypot(WIDTH, HEIGHT)
METER = MotionMeter()


def waves(number: int) -> tuple[F64, F64]:
    """The waves that a scene is made of: wave vectors [14, 2] (radians a height) and phases."""
    generator = np.random.default_rng(number)
    wavelengths = np.geomspace(0.06, 0.5, 14)
    angles, phases = generator.uniform(0, 2 * np.pi, (14, 2)).T
    lengths = 2 * np.pi / wavelengths
    return np.stack((lengths * np.cos(angles), lengths * np.sin(angles)), 1), phases


def shot(
    transform: npt.ArrayLike = ((1, 0, 0), (0, 1, 0)),
    *,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    number: int = 0,
    gain: float = 1.0,
) -> U8:
    """A picture of a scene that a transform (2 x 3, about the centre, pixels) has moved.

    A moved wave is a wave, and sin(p + q) = sin p cos q + cos p sin q makes a picture of it out of
    what its rows and what its columns contribute: a product of small matrices, not a million sines.
    """
    width, height = size
    matrix = np.asarray(transform, np.float64)
    vectors, phases = waves(number)
    across, down = (vectors @ np.linalg.inv(matrix[:, :2]) / height).T[:, :, None]
    p = across * (np.arange(width) - (width - 1) / 2 - matrix[0, 2]) + phases[:, None]
    q = down * (np.arange(height) - (height - 1) / 2 - matrix[1, 2])
    total: F64 = np.cos(q).T @ np.sin(p) + np.sin(q).T @ np.cos(p)
    return np.clip(np.rint(gain * (128 + 22 * total)), 0, 255).astype(np.uint8)


def moved(dx: float, dy: float) -> npt.ArrayLike:
    return ((1, 0, dx), (0, 1, dy))


def turned(degrees: float, scale: float = 1.0) -> npt.ArrayLike:
    """Clockwise on the screen, where y grows downwards."""
    c, s = (scale * f(math.radians(degrees)) for f in (math.cos, math.sin))
    return ((c, -s, 0), (s, c, 0))


def noisy(picture: U8, number: int) -> U8:
    """With a sensor's noise, other noise for each number."""
    noise = np.random.default_rng(number).normal(0, 2.0, picture.shape)
    return np.clip(np.rint(picture + noise), 0, 255).astype(np.uint8)


def noise_picture(number: int) -> U8:
    return np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH), dtype=np.uint8)


def test_a_pan_is_so_many_diagonals_a_second() -> None:
    sample = METER.measure(shot(), shot(moved(-12, 0)), GAP)
    assert sample.magnitude == pytest.approx(12 / DIAGONAL / GAP, rel=0.03)
    assert sample.static == 0.0
    assert sample.coherence > 0.9
    assert sample.distortion < 0.01
    assert sample.camera_share > 0.95
    assert sample.pan == pytest.approx(12 / WIDTH / GAP, rel=0.02)  # the scene goes left
    assert sample.tilt == pytest.approx(0.0, abs=0.01)
    assert sample.zoom == pytest.approx(0.0, abs=0.01)
    assert sample.roll == pytest.approx(0.0, abs=0.5)


@settings(
    max_examples=30, deadline=None, derandomize=True
)  # flow estimates: the bounds are not laws
@given(
    dx=st.floats(-14, 14),
    dy=st.floats(-14, 14),
    gap=st.floats(1 / 30, 1 / 4),
    number=st.integers(0, 50),
)
def test_every_pan_and_tilt(dx: float, dy: float, gap: float, number: int) -> None:
    sample = METER.measure(shot(number=number), shot(moved(dx, dy), number=number), gap)
    pixel = 1 / gap  # one pixel of the picture in a gap, per second
    assert sample.pan == pytest.approx(-dx / WIDTH / gap, abs=0.25 * pixel / WIDTH)
    assert sample.tilt == pytest.approx(dy / HEIGHT / gap, abs=0.25 * pixel / HEIGHT)
    length = math.hypot(dx, dy)
    assert sample.magnitude * DIAGONAL * gap == pytest.approx(length, rel=0.05, abs=0.15)


def test_a_zoom_about_the_centre() -> None:
    sample = METER.measure(shot(), shot(turned(0.0, scale=1.03)), GAP)
    assert sample.zoom == pytest.approx(math.log(1.03) / GAP, rel=0.03)
    assert sample.pan == pytest.approx(0.0, abs=0.01)
    assert sample.tilt == pytest.approx(0.0, abs=0.01)
    assert sample.roll == pytest.approx(0.0, abs=0.5)
    # A pixel at distance r from the centre moves 0.03 r.
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    mean_distance = np.hypot(x - WIDTH / 2, y - HEIGHT / 2).mean()
    assert sample.magnitude == pytest.approx(0.03 * mean_distance / DIAGONAL / GAP, rel=0.05)
    assert sample.coherence > 0.85  # though its vectors point everywhere
    outwards = METER.measure(shot(), shot(turned(0.0, scale=1 / 1.03)), GAP)
    assert outwards.zoom == pytest.approx(-math.log(1.03) / GAP, rel=0.03)


def test_a_roll_turns_the_other_way_than_the_picture() -> None:
    sample = METER.measure(shot(), shot(turned(2.0)), GAP)
    assert sample.roll == pytest.approx(-2.0 / GAP, rel=0.03)
    assert sample.zoom == pytest.approx(0.0, abs=0.01)


def test_stillness() -> None:
    assert METER.measure(shot(), shot(), GAP) == MotionSample(
        magnitude=0.0,
        static=1.0,
        coherence=1.0,
        distortion=0.0,
        camera_share=1.0,
        pan=0.0,
        tilt=0.0,
        zoom=0.0,
        roll=0.0,
    )


def test_sensor_noise_is_no_motion() -> None:
    sample = METER.measure(noisy(shot(), 1), noisy(shot(), 2), GAP)
    assert sample.magnitude < STILL_SPEED
    assert sample.static > 0.9
    assert sample.coherence > 0.7
    assert sample.distortion == 0.0


def test_noise_is_distorted_and_incoherent() -> None:
    samples = [
        METER.measure(noise_picture(2 * number), noise_picture(2 * number + 1), GAP)
        for number in range(10)
    ]
    assert np.median([sample.distortion for sample in samples]) > 0.8
    for sample in samples:
        assert sample.distortion > 0.5
        assert sample.coherence < 0.25
        assert sample.camera_share < 0.5


def test_pictures_that_have_nothing_to_do_with_each_other() -> None:
    sample = METER.measure(shot(number=1), shot(number=2), GAP)
    assert sample.distortion > 0.6
    assert sample.coherence < 0.3


def test_flicker_is_no_motion_and_incoherent() -> None:
    sample = METER.measure(shot(), shot(gain=0.75), GAP)
    assert sample.coherence < 0.35
    pan = METER.measure(shot(), shot(moved(6, 2)), GAP)
    assert sample.magnitude < 0.5 * pan.magnitude


def test_opposite_motions_do_not_cancel() -> None:
    before, left, right = shot(), shot(moved(-8, 0)), shot(moved(8, 0))
    after = np.vstack([left[: HEIGHT // 2], right[HEIGHT // 2 :]])
    sample = METER.measure(before, after, GAP)
    assert sample.magnitude == pytest.approx(8 / DIAGONAL / GAP, rel=0.1)


def test_something_that_moves_before_the_camera_is_not_the_camera() -> None:
    before, after = shot(), shot(moved(-6, 0))
    thing = (slice(90, 190), slice(160, 320))
    before[thing] = shot(number=5)[thing]
    after[thing] = shot(moved(0, 10), number=5)[thing]
    sample = METER.measure(before, after, GAP)
    assert sample.pan == pytest.approx(6 / WIDTH / GAP, rel=0.1)
    assert sample.tilt == pytest.approx(0.0, abs=0.02)
    assert 0.5 < sample.camera_share < 0.97


def test_where_nothing_can_be_seen_there_is_no_camera() -> None:
    flat = np.full((HEIGHT, WIDTH), 90, np.uint8)
    sample = METER.measure(flat, flat, GAP)
    assert (sample.camera_share, sample.pan, sample.tilt) == (0.0, None, None)
    assert (sample.zoom, sample.roll) == (None, None)
    assert (sample.magnitude, sample.static, sample.distortion) == (0.0, 1.0, 0.0)


@pytest.mark.parametrize("factor", [0.5, 2.0, 3.0])
def test_the_size_of_the_film_does_not_matter(factor: float) -> None:
    size = round(WIDTH * factor), round(HEIGHT * factor)
    here = METER.measure(shot(), shot(moved(9, -5)), GAP)
    there = METER.measure(shot(size=size), shot(moved(9 * factor, -5 * factor), size=size), GAP)
    for name in ("magnitude", "pan", "tilt"):
        assert getattr(there, name) == pytest.approx(getattr(here, name), rel=0.04)


def test_an_upright_film() -> None:
    size = (HEIGHT, WIDTH)
    sample = METER.measure(shot(size=size), shot(moved(6, 12), size=size), GAP)
    assert sample.magnitude == pytest.approx(math.hypot(6, 12) / DIAGONAL / GAP, rel=0.03)
    assert sample.pan == pytest.approx(-6 / HEIGHT / GAP, rel=0.03)
    assert sample.tilt == pytest.approx(12 / WIDTH / GAP, rel=0.03)


@given(st.integers(16, 8192), st.integers(16, 8192))
def test_the_working_size_is_bounded(width: int, height: int) -> None:
    small_width, small_height = working_size(width, height)
    assert max(small_width, small_height) == 256
    assert min(small_width, small_height) >= 32
    if max(width, height) <= 8 * min(width, height):
        scale = 256 / max(width, height)
        assert abs(small_width - width * scale) <= 0.5
        assert abs(small_height - height * scale) <= 0.5


@pytest.mark.parametrize("size", [(16, 16), (2000, 24), (24, 2000), (17, 300)])
def test_odd_shapes_are_measured(size: tuple[int, int]) -> None:
    sample = METER.measure(shot(size=size), shot(size=size), GAP)
    assert (sample.magnitude, sample.static) == (0.0, 1.0)


@pytest.fixture
def own_threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.mark.usefixtures("own_threads")
def test_the_same_pictures_give_the_same_bytes() -> None:
    """Whatever the threads, the meter's past, and where in memory the pictures lie."""
    generator = random.Random(3)  # noqa: S311 - places in memory, no secret
    pairs = [
        (noisy(shot(), 1), noisy(shot(moved(5.3, -2.1)), 2)),
        (shot(number=1), shot(number=2)),
        (noise_picture(3), noise_picture(4)),
    ]
    for before, after in pairs:
        samples = set()
        for _ in range(8):
            cv2.setNumThreads(generator.choice((1, 2, 4)))
            clutter = [np.ones(generator.randrange(1, 100_000)) for _ in range(4)]
            meter = MotionMeter() if generator.random() < 0.5 else METER
            samples.add(meter.measure(placed(before, generator), placed(after, generator), GAP))
            del clutter
        assert len(samples) == 1


def placed(picture: U8, generator: random.Random) -> U8:
    """A copy that begins anywhere."""
    start = generator.randrange(64)
    memory = np.empty(picture.size + 64, np.uint8)
    copy = memory[start : start + picture.size].reshape(picture.shape)
    copy[:] = picture
    return copy


def samples_of(*rows: tuple[float, float, MotionSample | None]) -> dict[str, F64]:
    """Arrays as `clip_motion` takes them, from (frame, pair_frame, sample)."""
    columns: dict[str, list[float]] = {"frame": [], "pair_frame": []}
    for field in dataclasses.fields(MotionSample):
        columns[field.name] = []
    for frame, pair_frame, sample in rows:
        columns["frame"].append(frame)
        columns["pair_frame"].append(pair_frame)
        for field in dataclasses.fields(MotionSample):
            value = None if sample is None else getattr(sample, field.name)
            columns[field.name].append(math.nan if value is None else value)
    return {name: np.array(values, np.float64) for name, values in columns.items()}


def sample_with(level: float, *, camera_share: float = 1.0) -> MotionSample:
    camera = (level,) * 4
    return MotionSample(level, level, level, level, camera_share, *camera)


def test_a_clip_is_the_mean_of_the_pairs_inside_it() -> None:
    samples = samples_of(
        (0, 2, sample_with(100.0)),
        (10, 12, sample_with(0.2)),
        (22, 24, sample_with(0.4)),
        (28, 30, sample_with(100.0)),  # its second frame belongs to the next clip
    )
    measured = clip_motion(samples, 10, 30)
    assert measured is not None
    assert dataclasses.astuple(measured) == pytest.approx((0.3,) * 8)


def test_the_pair_that_ends_with_the_clip_belongs_to_it() -> None:
    samples = samples_of((10, 29, sample_with(0.5)))
    assert clip_motion(samples, 10, 30) is not None
    assert clip_motion(samples, 10, 29) is None
    assert clip_motion(samples, 11, 30) is None


def test_no_pair_no_motion() -> None:
    assert clip_motion(samples_of(), 0, 100) is None
    assert clip_motion(samples_of((10, math.nan, None)), 0, 100) is None


def test_the_camera_is_known_only_where_most_pairs_know_it() -> None:
    lost = sample_with(9.0, camera_share=0.3)
    clear = sample_with(0.1)
    half = clip_motion(samples_of((0, 2, lost), (10, 12, clear)), 0, 20)
    assert half is not None
    assert half.camera_pan == pytest.approx(0.1)  # the lost pair has no say
    assert half.motion_magnitude == pytest.approx((9.0 + 0.1) / 2)
    third = clip_motion(samples_of((0, 2, lost), (4, 6, lost), (10, 12, clear)), 0, 20)
    assert third is not None
    assert (third.camera_pan, third.camera_tilt) == (None, None)
    assert (third.camera_zoom, third.camera_roll) == (None, None)
