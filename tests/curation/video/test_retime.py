"""Retiming to 24 fps: closed forms, and the definition taken at its word."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.video.retime import end_of_span, repeated_and_dropped, source_offsets

time_bases = st.sampled_from(
    [
        Fraction(1, 24),
        Fraction(1, 90_000),
        Fraction(1001, 24_000),
        Fraction(1, 1000),
        Fraction(7, 3),
    ]
)


def constant(fps: Fraction, frames: int) -> list[int]:
    """Offsets of a film of constant rate; its time base is one frame."""
    return [int(offset) for offset in source_offsets(np.arange(frames), frames, 1 / fps)]


@pytest.mark.parametrize(
    ("fps", "shown"),
    [
        (Fraction(24), Fraction(1)),
        (Fraction(25), Fraction(25, 24)),
        (Fraction(30), Fraction(5, 4)),
        (Fraction(60), Fraction(5, 2)),
        (Fraction(12), Fraction(1, 2)),
        (Fraction(24_000, 1001), Fraction(1000, 1001)),
        (Fraction(30_000, 1001), Fraction(1250, 1001)),
    ],
)
def test_constant_rates_have_a_closed_form(fps: Fraction, shown: Fraction) -> None:
    frames = 3000
    offsets = constant(fps, frames)
    assert len(offsets) == -(-frames * 24 // fps)
    assert offsets == [int(k * shown) for k in range(len(offsets))]


def test_24_fps_is_untouched() -> None:
    assert constant(Fraction(24), 100) == list(range(100))
    assert repeated_and_dropped(np.arange(100, dtype=np.int32), 100) == (0, 0)


def test_film_speed_repeats_a_frame_every_41_7_seconds() -> None:
    offsets = np.array(constant(Fraction(24_000, 1001), 3000))
    repeats = np.flatnonzero(np.diff(offsets) == 0) + 1  # 1001 output frames last 41.7 s
    assert np.diff(repeats).tolist() == [1001] * (len(repeats) - 1)


def test_12_fps_shows_each_frame_twice_and_60_fps_drops_three_of_five() -> None:
    slow = np.array(constant(Fraction(12), 24), np.int32)
    assert slow.tolist() == [k // 2 for k in range(48)]
    assert repeated_and_dropped(slow, 24) == (0.5, 0)
    fast = np.array(constant(Fraction(60), 60), np.int32)
    repeated, dropped = repeated_and_dropped(fast, 60)
    assert repeated == 0
    assert dropped == pytest.approx(0.6)


def test_variable_rate_keeps_its_own_timing() -> None:
    # milliseconds: a frame that stands for half a second, then three quick ones
    pts = np.array([1000, 1500, 1510, 1520])
    offsets = source_offsets(pts, 1625, Fraction(1, 1000)).tolist()
    assert offsets == [0] * 12 + [1, 3, 3]


@given(st.sampled_from([600, 1000, 90_000, 1_000_000]), st.integers(0, 500), st.integers(1, 300))
def test_24_fps_in_any_fine_time_base_is_untouched(units: int, start: int, frames: int) -> None:
    """Matroska rounds 41.67 ms to 42, 83, 125: that is not a late frame."""
    pts = np.array([round(Fraction(k * units, 24)) for k in range(start, start + frames + 1)])
    offsets = source_offsets(pts[:-1], int(pts[-1]), Fraction(1, units))
    assert offsets.tolist() == list(range(frames))


@given(time_bases, st.integers(-(10**9), 10**9), st.data())
def test_each_output_frame_shows_the_latest_source_frame(
    time_base: Fraction, start: int, data: st.DataObject
) -> None:
    most = max(1, int(2 / time_base))  # at most two seconds a frame
    steps = data.draw(st.lists(st.integers(1, most), min_size=1, max_size=12))
    times = start + np.cumsum([0, *steps])
    offsets = source_offsets(times[:-1], int(times[-1]), time_base).tolist()
    seconds = [int(time - times[0]) * time_base for time in times]
    slack = time_base if time_base <= Fraction(1, 500) else 0
    assert len(offsets) == max(1, -(-(seconds[-1] - slack) * 24 // 1))
    for k, offset in enumerate(offsets):
        assert seconds[offset] <= Fraction(k, 24) + slack
        if offset + 1 < len(steps):
            assert seconds[offset + 1] > Fraction(k, 24) + slack
    assert offsets == sorted(offsets)
    repeated, dropped = repeated_and_dropped(np.array(offsets, np.int32), len(steps))
    assert round(repeated * len(offsets)) == len(offsets) - len(set(offsets))
    assert round(dropped * len(steps)) == len(steps) - len(set(offsets))


def test_a_span_ends_where_the_next_frame_begins() -> None:
    pts = np.array([0, 10, 25, 30])
    assert [end_of_span(pts, end, step=7) for end in (1, 2, 3, 4)] == [10, 25, 30, 37]
