"""The total score against the totals that the paper prints beside its six columns."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluation.score import DIMENSIONS, total_score

# Tables 1, 3 and 4: total, subject, background, motion, dynamic, imaging, aesthetic.
PRINTED = {
    "table 1, 500 frames, MAGI-1": (78.50, 98.26, 97.29, 99.41, 21.38, 66.36, 55.91),
    "table 1, 500 frames, FramePack": (79.52, 98.68, 99.20, 99.54, 16.82, 70.90, 61.34),
    "table 1, 500 frames, SkyReels-V2": (79.17, 96.04, 96.01, 99.07, 53.28, 64.85, 56.28),
    "table 1, 500 frames, MMPL": (78.80, 96.25, 95.36, 98.82, 49.26, 66.48, 55.80),
    "table 1, 500 frames, ours": (80.30, 97.41, 97.87, 98.94, 41.10, 70.20, 59.62),
    "table 1, 121 frames, MAGI-1": (79.05, 97.66, 97.63, 99.28, 32.24, 67.71, 58.49),
    "table 1, 121 frames, FramePack": (79.90, 98.24, 99.03, 99.49, 22.87, 70.77, 61.48),
    "table 1, 121 frames, SkyReels-V2": (80.54, 96.40, 96.99, 99.01, 49.93, 69.31, 59.54),
    "table 1, 121 frames, MMPL": (80.55, 95.67, 95.10, 98.60, 69.25, 67.24, 56.78),
    "table 1, 121 frames, ours": (80.76, 98.24, 98.02, 99.05, 37.37, 70.95, 61.71),
    "table 3, 500 frames, f(6,24)m(1,4)": (80.30, 97.91, 97.57, 98.74, 43.97, 69.49, 59.35),
    "table 3, 500 frames, f(6,24)m(1,8)": (80.29, 97.30, 97.86, 98.77, 41.26, 70.22, 60.20),
    "table 3, 500 frames, m(1,2,4)": (80.30, 97.41, 97.87, 98.94, 41.10, 70.20, 59.62),
    "table 3, 500 frames, m(1,4,8)": (80.30, 97.40, 97.77, 98.99, 40.69, 70.02, 60.00),
    "table 3, 500 frames, m(1,8,8)": (80.04, 97.38, 97.84, 99.00, 40.61, 70.00, 59.96),
    "table 3, 121 frames, f(6,24)m(1,4)": (80.55, 97.79, 98.26, 99.16, 35.47, 70.68, 61.56),
    "table 3, 121 frames, f(6,24)m(1,8)": (80.46, 97.80, 98.25, 99.13, 35.27, 70.59, 61.39),
    "table 3, 121 frames, m(1,2,4)": (80.76, 98.24, 98.02, 99.05, 37.37, 70.95, 61.71),
    "table 3, 121 frames, m(1,4,8)": (80.26, 97.82, 98.26, 99.26, 32.42, 70.50, 61.33),
    "table 3, 121 frames, m(1,8,8)": (80.30, 97.27, 97.71, 99.02, 38.52, 70.39, 60.79),
    "table 4, without random": (80.00, 97.41, 97.87, 98.94, 37.70, 70.20, 59.62),
    "table 4, with random": (80.19, 97.44, 97.94, 98.96, 39.09, 70.23, 59.74),
}
PERFECT = {name: 100.0 * dimension.high for name, dimension in DIMENSIONS.items()}
percents = st.floats(0.0, 100.0)


def metrics(row: tuple[float, ...]) -> dict[str, float]:
    return dict(zip(DIMENSIONS, row[1:], strict=True))


def test_the_papers_totals() -> None:
    gaps = {name: round(total_score(metrics(row)) - row[0], 2) for name, row in PRINTED.items()}
    contradicting = {name: gap for name, gap in gaps.items() if abs(gap) > 0.02}
    assert len(gaps) - len(contradicting) == 19
    assert sorted(contradicting.values()) == pytest.approx([-1.03, -0.07, 0.27], abs=0.011)


def test_perfect_is_a_hundred() -> None:
    assert total_score(PERFECT) == pytest.approx(100.0)


@given(row=st.lists(percents, min_size=6, max_size=6), name=st.sampled_from(list(DIMENSIONS)))
def test_dynamic_degree_counts_half_and_the_others_once(row: list[float], name: str) -> None:
    values = dict(zip(DIMENSIONS, row, strict=True))
    dimension = DIMENSIONS[name]
    step = total_score(values | {name: 100.0}) - total_score(values | {name: 0.0})
    weight = 0.5 if name == "dynamic_degree" else 1.0
    assert math.isclose(step, 100.0 * weight / (dimension.high - dimension.low) / 5.5)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dynamic_degree": 101.0}, "percent, 0 to 100"),
        ({"dynamic_degree": math.nan}, "percent, 0 to 100"),
        ({"proxy_sharpness": 50.0}, "unknown proxy_sharpness"),
    ],
)
def test_what_is_no_percentage_is_refused(wrong: dict[str, float], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        total_score(PERFECT | wrong)


def test_five_dimensions_make_no_total() -> None:
    five = {name: value for name, value in PERFECT.items() if name != "imaging_quality"}
    with pytest.raises(ValueError, match="missing imaging_quality"):
        total_score(five)
