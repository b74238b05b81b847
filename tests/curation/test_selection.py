"""Selection: pure, in float32, every reason kept."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.selection import COLUMNS, Range, SelectionPolicy, select

OPEN = SelectionPolicy(**dict.fromkeys(COLUMNS, Range()))
numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)


def table(**columns: list[float | None]) -> pa.Table:
    count = len(next(iter(columns.values())))
    everything = {column: pa.array([1.0] * count) for column in COLUMNS.values()}
    for name, values in columns.items():
        everything[COLUMNS[name]] = pa.array(values, pa.float64())
    return pa.table(everything | {"licence": pa.nulls(count, pa.string())})


def policy(**ranges: Range) -> SelectionPolicy:
    return SelectionPolicy(**{name: ranges.get(name, Range()) for name in COLUMNS})


def test_every_broken_rule_is_a_reason() -> None:
    clips = table(motion=[0.0, 0.5, 9.0, None], clarity=[5.0, 50.0, 5.0, 50.0])
    chosen = select(clips, policy(motion=Range(0.1, 1.0), clarity=Range(min=20.0)))
    assert [chosen.reasons(k) for k in range(4)] == [
        ["clarity_low", "motion_low"],
        [],
        ["clarity_low", "motion_high"],
        ["motion_missing"],
    ]
    assert chosen.kept.tolist() == [False, True, False, False]


def test_missing_measurement_is_no_reason_where_nothing_is_asked_of_it() -> None:
    assert select(table(motion=[None]), OPEN).kept.all()


def test_ends_are_inclusive_and_compared_in_float32() -> None:
    # In float64 the clip lies below the threshold; both are the same float32.
    below = 0.1 - 1e-12
    chosen = select(table(motion=[below]), policy(motion=Range(min=0.1)))
    assert below < 0.1
    assert chosen.kept.all()


@given(st.lists(numbers, min_size=1, max_size=30), numbers, numbers)
def test_kept_is_exactly_what_lies_between(values: list[float], a: float, b: float) -> None:
    low, high = sorted((a, b))
    chosen = select(table(motion=list(values)), policy(motion=Range(low, high)))
    expected = [np.float32(low) <= np.float32(value) <= np.float32(high) for value in values]
    assert chosen.kept.tolist() == expected


def test_licences_are_an_allow_list() -> None:
    clips = table(motion=[1.0, 1.0, 1.0]).set_column(
        len(COLUMNS), "licence", pa.array(["CC0-1.0", "unknown", None])
    )
    allowed = SelectionPolicy(**dict.fromkeys(COLUMNS, Range()), licences=("CC0-1.0",))
    assert select(clips, allowed).kept.tolist() == [True, False, False]


def test_no_clips_at_all() -> None:
    assert select(table(motion=[]), SelectionPolicy()).kept.tolist() == []


@pytest.mark.parametrize("ends", [(2.0, 1.0), (float("nan"), None), (None, float("inf"))])
def test_impossible_ranges_are_refused(ends: tuple[float | None, float | None]) -> None:
    with pytest.raises(ValueError, match="range"):
        Range(*ends)


def test_scores_are_held_in_columns_of_their_own() -> None:
    clips = table(motion=[1.0, 1.0, 1.0])
    for name, values in (("aesthetic", [4.4, 4.5, None]), ("technical", [9.0, 1.0, 9.0])):
        clips = clips.append_column(name, pa.array(values, pa.float64()))
    asked = SelectionPolicy(
        **dict.fromkeys(COLUMNS, Range()), aesthetic=Range(min=4.5), technical=Range(min=2.0)
    )
    chosen = select(clips, asked)
    assert [chosen.reasons(k) for k in range(3)] == [
        ["aesthetic_low"],
        ["technical_low"],
        ["aesthetic_missing"],
    ]
    assert asked.columns() == []
    assert asked.scores() == {"aesthetic": "laion", "technical": "technical"}
