"""Splitting long shots: nothing lost, nothing twice, lengths that the codec takes."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.clips import ClipConfig, largest_4n1, split_span, timeline

rates = st.sampled_from([Fraction(24), Fraction(25), Fraction(30000, 1001), Fraction(60)])


def constant(rate: Fraction, frames: int) -> np.ndarray:
    return (np.arange(frames) * 1_000_000 / float(rate)).astype(np.int64)


@given(rates, st.integers(1, 4000), st.floats(1, 60))
def test_pieces_are_consecutive_short_enough_and_4n1(
    rate: Fraction, frames: int, seconds: float
) -> None:
    times = timeline(constant(rate, frames), Fraction(1, 1_000_000))
    spans = split_span(times, 0, frames, ClipConfig(seconds))
    assert spans[0][0] == 0
    assert spans[-1][1] == frames
    assert all(a[1] == b[0] for a, b in itertools.pairwise(spans))
    lengths = [len(times.offsets(*span)) for span in spans]
    assert max(lengths) <= seconds * 24
    assert all(length % 4 == 1 for length in lengths[:-1])


def test_pieces_are_about_equal() -> None:
    times = timeline(constant(Fraction(24), 24 * 100), Fraction(1, 1_000_000))
    spans = split_span(times, 0, 2400, ClipConfig(60))
    assert [end - start for start, end in spans] == [1197, 1203]


def test_empty_span_gives_no_clip() -> None:
    times = timeline(constant(Fraction(24), 10), Fraction(1, 1_000_000))
    assert split_span(times, 4, 4, ClipConfig()) == []


@given(st.integers(1, 10_000))
def test_largest_4n1(frames: int) -> None:
    length = largest_4n1(frames)
    assert length % 4 == 1
    assert frames - 3 <= length <= frames


def test_clips_of_no_length_are_refused() -> None:
    with pytest.raises(ValueError, match="max_seconds"):
        ClipConfig(0)
