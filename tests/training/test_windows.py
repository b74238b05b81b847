"""Buckets, lengths and positions, against counting by hand and against the generation tree."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from model.tree import Node
from training.errors import TrainingDataError
from training.windows import (
    Bucket,
    Visits,
    WindowConfig,
    cropped,
    enlargement,
    frame_indices,
    size_for,
    temporal_positions,
    visits_of,
)

GRID = (17, 33, 61, 81, 121, 153)
EVERYTHING = WindowConfig(min_seconds=0, max_seconds=None)


def sort_into_buckets(frames: list[int], config: WindowConfig = EVERYTHING) -> Visits:
    counts = np.array(frames)
    return visits_of(counts, np.full(len(frames), 832), np.full(len(frames), 480), config)


def lengths_by_rate(frames: int, config: WindowConfig = EVERYTHING) -> dict[int, int]:
    visits = sort_into_buckets([frames], config)
    return {
        visits.visit(bucket, place).rate: bucket.frames
        for bucket, codes in visits.codes.items()
        for place in range(len(codes))
    }


@pytest.mark.parametrize(
    ("frames", "expected"),
    [
        (121, {24: 121, 12: 61, 6: 17}),  # 121, 61 and 31 frames are there
        (120, {24: 81, 12: 33, 6: 17}),  # 120, 60 and 30
        (1440, {24: 153, 12: 153, 6: 153}),  # a minute has 360 frames at 6 fps
        (601, {24: 153, 12: 153, 6: 121}),  # 151 frames at 6 fps
        (609, {24: 153, 12: 153, 6: 153}),
        (65, {24: 61, 12: 33, 6: 17}),
    ],
)
def test_windows_are_the_longest_that_fit(frames: int, expected: dict[int, int]) -> None:
    assert lengths_by_rate(frames) == expected


def test_the_cap_holds() -> None:
    config = WindowConfig(min_seconds=0, max_seconds=None, cap=80)
    assert lengths_by_rate(1440, config) == {24: 61, 12: 61, 6: 61}


@settings(deadline=None)
@given(st.lists(st.integers(17, 2000), min_size=1, max_size=40), st.sampled_from([17, 61, 153]))
def test_every_sample_is_shown_at_every_rate_that_it_fills(frames: list[int], cap: int) -> None:
    config = WindowConfig(min_seconds=0, max_seconds=None, cap=cap)
    visits = sort_into_buckets(frames, config)
    seen: dict[int, list[int]] = {}
    for bucket, codes in visits.codes.items():
        assert bucket.frames % 4 == 1
        for place in range(len(codes)):
            visit = visits.visit(bucket, place)
            seen.setdefault(visit.sample, []).append(visit.rate)
            last = frame_indices(0, visit.rate, bucket.frames)[-1]
            assert last < frames[visit.sample]
            longer = [n for n in GRID if bucket.frames < n <= cap]
            assert not longer or (longer[0] - 1) * (24 // visit.rate) >= frames[visit.sample]
    for sample, count in enumerate(frames):
        fits = [rate for rate in (6, 12, 24) if 16 * (24 // rate) < count]
        # A rate that is out of reach gives its turn to the next higher one.
        turns = [min(rate for rate in fits if rate >= wanted) for wanted in (6, 12, 24)]
        assert sorted(seen[sample]) == turns


def test_naming_a_rate_twice_doubles_its_share() -> None:
    visits = sort_into_buckets([1440], WindowConfig(rates=(6, 24, 24)))
    assert [visits.visit(bucket, k).rate for bucket in visits.codes for k in range(3)] == [
        6,
        24,
        24,
    ]


def test_what_is_left_out_is_counted() -> None:
    config = WindowConfig(sizes=((832, 480),))
    visits = visits_of(
        np.array([100, 200, 2000, 200, 200]),
        np.array([832, 832, 832, 416, 480]),
        np.array([480, 480, 480, 240, 832]),
        config,
    )
    assert visits.left_out == {
        "too short": 1, "too long": 1, "too small": 1, "of another shape": 1,
    }  # fmt: skip
    shown = {visits.visit(bucket, 0).sample for bucket in visits.codes}
    assert shown == {1}
    with pytest.raises(TrainingDataError, match=r"none of 1 samples fits.*1 too short"):
        sort_into_buckets([16], EVERYTHING)


def test_a_picture_takes_the_size_that_crops_least_and_then_the_largest_that_it_fills() -> None:
    sizes = ((832, 480), (480, 832), (416, 240), (640, 640))
    config = WindowConfig(sizes=sizes, max_enlarge=4)
    assert sizes[size_for(1920, 1080, config)[0]] == (832, 480)
    assert sizes[size_for(1080, 1920, config)[0]] == (480, 832)
    assert sizes[size_for(640, 360, config)[0]] == (416, 240)
    assert sizes[size_for(320, 180, config)[0]] == (416, 240)
    assert sizes[size_for(700, 700, config)[0]] == (640, 640)


@settings(deadline=None)
@given(*[st.integers(16, 4000)] * 4)
def test_scaling_covers_the_size_and_loses_the_rest(w: int, h: int, x: int, y: int) -> None:
    scale = max(Fraction(x, w), Fraction(y, h))
    assert enlargement((w, h), (x, y)) == pytest.approx(float(scale))
    assert cropped((w, h), (x, y)) == pytest.approx(float(1 - x * y / (w * h * scale**2)), abs=1e-9)


@settings(deadline=None)
@given(st.integers(0, 400), st.sampled_from([6, 12, 24]), st.integers(0, 40))
def test_positions_are_those_of_the_generation_tree(start: int, rate: int, groups: int) -> None:
    frames, stride = 4 * groups + 1, 24 // rate
    end = start + stride * (frames - 1)
    node = Node("0.0", 0, 0, rate, stride, start, end, steps=1, spacing=stride)
    ours = temporal_positions(start, rate, frames, 0.0)
    assert ours.tolist() == list(node.positions)
    assert frame_indices(start, rate, frames).tolist() == list(node.frames)
    # Four times a position is the index of the last frame that the latent holds.
    assert (4 * ours).tolist() == list(node.frames)[::4]


def test_an_offset_moves_all_positions_alike() -> None:
    still, moved = temporal_positions(8, 6, 33, 0.0), temporal_positions(8, 6, 33, 12.34)
    assert np.allclose(moved - still, 12.34)
    assert np.diff(moved) == pytest.approx([4.0] * 8)  # 24 / 6


def test_tokens_are_counted_in_latents() -> None:
    assert Bucket(832, 480, 121).tokens(16) == 31 * 1560  # 1560 tokens a latent frame at 480p


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rates": (10,)}, "windows.rates"),
        ({"rates": ()}, "windows.rates"),
        ({"lengths": (17, 32)}, "windows.lengths"),
        ({"lengths": (33, 17)}, "windows.lengths"),
        ({"cap": 16}, "windows.cap"),
        ({"sizes": ((830, 480),)}, "windows.sizes"),
        ({"sizes": ()}, "windows.sizes"),
        ({"token_side": 12}, "windows.token_side"),
        ({"max_seconds": 1.0}, "windows.max_seconds"),
        ({"max_enlarge": 0.0}, "windows.max_enlarge"),
        ({"max_crop": 1.0}, "windows.max_crop"),
    ],
)
def test_configs_that_cannot_be_meant_are_refused(fields: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        WindowConfig(**fields)  # type: ignore[arg-type] - fields by name
