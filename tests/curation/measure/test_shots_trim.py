"""Blurred frames at a shot's ends, by closed form."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.measure.shots.find import Shot, TrimConfig, trim_blurred_edges
from curation.measure.shots.transition import Transition

CONFIG = TrimConfig(guard_seconds=0.2, min_sharpness=0.4, max_seconds=1.0)
FPS = 10.0  # so the guard is 2 frames and at most 10 are trimmed


def shot(start: int, end: int, before: str = "cut", after: str = "cut") -> Shot:
    return Shot(start, end, Transition(before, start, start), Transition(after, end, end))


def test_blurred_frames_go_from_both_ends_and_only_from_there() -> None:
    sharpness = np.full(100, 50.0, np.float32)
    sharpness[20:23] = 10  # blurred start
    sharpness[40] = 5  # a blurred frame in the middle stays
    sharpness[58:60] = 19  # blurred end
    assert trim_blurred_edges(shot(20, 60), sharpness, FPS, CONFIG) == (23, 58)


def test_sharpness_is_judged_by_the_shot_itself_not_by_the_film() -> None:
    sharpness = np.full(100, 1000.0, np.float32)
    sharpness[20:60] = 10  # a soft shot in a sharp film
    assert trim_blurred_edges(shot(20, 60), sharpness, FPS, CONFIG) == (20, 60)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("cut", "cut", (20, 60)),
        ("start", "end", (20, 60)),
        ("fade", "cut", (22, 60)),
        ("cut", "dissolve", (20, 58)),
        ("dissolve", "fade", (22, 58)),
    ],
)
def test_a_guard_is_cut_off_beside_gradual_transitions(
    before: str, after: str, expected: tuple[int, int]
) -> None:
    sharpness = np.full(100, 50.0, np.float32)
    assert trim_blurred_edges(shot(20, 60, before, after), sharpness, FPS, CONFIG) == expected


def test_a_long_blur_is_trimmed_only_so_far() -> None:
    sharpness = np.full(100, 50.0, np.float32)
    sharpness[20:35] = 1
    assert trim_blurred_edges(shot(20, 80), sharpness, FPS, CONFIG) == (30, 80)


def test_a_shot_no_longer_than_its_guards_is_left_empty() -> None:
    start, end = trim_blurred_edges(
        shot(20, 23, "fade", "fade"), np.ones(100, np.float32), FPS, CONFIG
    )
    assert start == end
    assert 20 <= start <= 23


@given(
    values=st.lists(st.floats(0, 1000, width=32), min_size=1, max_size=60),
    kinds=st.tuples(*[st.sampled_from(["cut", "fade"])] * 2),
)
def test_what_is_left_lies_in_the_shot_and_is_clear_at_both_ends(
    values: list[float], kinds: tuple[str, str]
) -> None:
    sharpness = np.array([7.0, *values, 7.0], np.float32)
    whole = shot(1, len(values) + 1, *kinds)
    # No cap, so that both ends must be clear.
    config = TrimConfig(guard_seconds=0.2, min_sharpness=0.4, max_seconds=100.0)
    start, end = trim_blurred_edges(whole, sharpness, FPS, config)
    assert whole.start <= start <= end <= whole.end
    guards = [2 if kind == "fade" else 0 for kind in kinds]
    inner = sharpness[whole.start + guards[0] : whole.end - guards[1]]
    if start < end:
        least = 0.4 * np.median(inner)
        assert sharpness[start] >= least
        assert sharpness[end - 1] >= least
    else:
        assert len(inner) == 0


def test_impossible_settings_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"trim\.guard_seconds"):
        TrimConfig(guard_seconds=-1.0)
