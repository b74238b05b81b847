"""Columns follow from annotations, rows survive the way through Arrow, and misfits are refused."""

import dataclasses
import datetime as dt

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.catalog.keys import first_of_each, matching, newest_of_each
from curation.catalog.schema import TABLES, table_spec
from curation.records import ClipRow, ShardRow
from tests.curation.rows_for_catalog import EPOCH, clip, full, plain, source

KEYS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=30)


def table_of(keys: list[tuple[str, int]]) -> pa.Table:
    """Keys in two columns, their place in the list in a third, and a list column."""
    return pa.table(
        {
            "letter": pa.array([letter for letter, _ in keys], pa.string()),
            "digit": pa.array([digit for _, digit in keys], pa.int64()),
            "place": pa.array(range(len(keys)), pa.int64()),
            "many": pa.array([[letter] * digit for letter, digit in keys], pa.list_(pa.string())),
        }
    )


def test_columns_of_clips_are_the_fields_of_its_row() -> None:
    schema = TABLES["clips"].arrow_schema
    assert schema.names == [field.name for field in dataclasses.fields(ClipRow)]
    assert schema.field("clip_id") == pa.field("clip_id", pa.string(), nullable=False)
    assert schema.field("start_frame") == pa.field("start_frame", pa.int64(), nullable=False)
    assert schema.field("seconds") == pa.field("seconds", pa.float64(), nullable=False)
    assert schema.field("clarity_mean") == pa.field("clarity_mean", pa.float64(), nullable=True)
    moment = pa.timestamp("us", tz="UTC")
    assert schema.field("recorded_at") == pa.field("recorded_at", moment, nullable=False)


@pytest.mark.parametrize("name", TABLES)
def test_rows_survive_the_way_through_arrow(name: str) -> None:
    spec = TABLES[name]
    rows = [plain(spec.row_type), full(spec.row_type)]
    assert [spec.row_type(**row) for row in spec.to_arrow(rows).to_pylist()] == rows


@pytest.mark.parametrize("name", TABLES)
def test_keys_exist_and_cannot_be_null(name: str) -> None:
    spec = TABLES[name]
    assert all(not spec.arrow_schema.field(column).nullable for column in spec.identity)


def test_columns_of_an_arrow_table_are_put_in_order_and_nullable_ones_may_be_left_out() -> None:
    given_table = pa.table(
        {"recorded_at": [EPOCH], "fingerprint": ["f"], "captioner": ["sidecar"], "clip_id": ["c"]}
    )
    assert TABLES["captions"].to_arrow(given_table).to_pylist() == [
        {
            "clip_id": "c",
            "fingerprint": "f",
            "captioner": "sidecar",
            "caption": None,
            "reason": None,
            "source": None,
            "recorded_at": EPOCH,
        }
    ]


def test_a_missing_value_names_its_column() -> None:
    with pytest.raises(ValueError, match=r"clips\.width holds 1 nulls"):
        TABLES["clips"].to_arrow([clip("a"), clip("b", width=None)])


def test_a_missing_column_is_named() -> None:
    with pytest.raises(ValueError, match=r"shards\.sha256 is missing"):
        TABLES["shards"].to_arrow(TABLES["shards"].to_arrow([plain(ShardRow)]).drop(["sha256"]))


def test_an_unknown_column_is_named() -> None:
    shards = TABLES["shards"].to_arrow([plain(ShardRow)])
    with pytest.raises(ValueError, match="shards has no column 'colour'"):
        TABLES["shards"].to_arrow(shards.append_column("colour", pa.array(["red"])))


def test_a_row_of_another_table_is_refused() -> None:
    with pytest.raises(ValueError, match="shards holds ShardRow, not ClipRow"):
        TABLES["shards"].to_arrow([clip("a")])


@pytest.mark.parametrize("value", ["tall", dt.timedelta(1), ["1"]])
def test_a_value_of_another_type_names_its_column(value: object) -> None:
    with pytest.raises(ValueError, match=r"clips\.height"):
        TABLES["clips"].to_arrow([clip("a", height=value)])


def test_text_that_is_not_unicode_names_its_column() -> None:
    with pytest.raises(ValueError, match=r"sources\.uri"):
        TABLES["sources"].to_arrow([source("/films/\udcff.mp4")])


def test_a_column_of_another_type_names_itself() -> None:
    shards = TABLES["shards"].to_arrow([plain(ShardRow)])
    wrong = shards.drop(["bytes"]).append_column("bytes", pa.array([[1]]))
    with pytest.raises(ValueError, match=r"shards\.bytes must be int64"):
        TABLES["shards"].to_arrow(wrong)


def test_an_unknown_table_lists_those_there_are() -> None:
    with pytest.raises(ValueError, match="no table 'clip'; the catalog has sources, videos"):
        table_spec("clip")


@settings(deadline=None)
@given(rows=KEYS, keys=KEYS)
def test_matching_is_membership_in_order(
    rows: list[tuple[str, int]], keys: list[tuple[str, int]]
) -> None:
    for present in (True, False):
        found = matching(table_of(rows), table_of(keys), ["letter", "digit"], present=present)
        expected = [place for place, key in enumerate(rows) if (key in keys) is present]
        assert found["place"].to_pylist() == expected
        assert found["many"].to_pylist() == [[rows[at][0]] * rows[at][1] for at in expected]


@settings(deadline=None)
@given(rows=KEYS)
def test_first_of_each_keeps_the_first_in_order(rows: list[tuple[str, int]]) -> None:
    found = first_of_each(table_of(rows), ["letter", "digit"])
    expected = {key: place for place, key in reversed(list(enumerate(rows)))}
    assert found["place"].to_pylist() == sorted(expected.values())


@settings(deadline=None)
@given(rows=KEYS)
def test_newest_of_each_keeps_the_greatest(rows: list[tuple[str, int]]) -> None:
    found = newest_of_each(table_of(rows), ["letter"], by="digit").to_pylist()
    expected = {letter: max(d for at, d in rows if at == letter) for letter, _ in rows}
    assert {row["letter"]: row["digit"] for row in found} == expected
    assert len(found) == len(expected)
