"""Rows found by their keys: set operations on Arrow tables.

Acero, Arrow's join engine, does them in native code at the price of order and of list columns:
so only the keys and row numbers are joined, and the rows are then taken in their order.
"""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_ROW = "row number"


def matching(rows: pa.Table, keys: pa.Table, on: Sequence[str], *, present: bool) -> pa.Table:
    """The rows whose values in `on` are (or are not) among the keys, in their order."""
    if rows.num_rows == 0 or keys.num_rows == 0:
        return rows.slice(0, 0) if present else rows
    numbered = _numbered(rows, on)
    kept = numbered.join(
        keys.select(on), keys=list(on), join_type="left semi" if present else "left anti"
    )[_ROW]
    if len(kept) == rows.num_rows:
        return rows
    return rows.take(kept.take(pc.sort_indices(kept)))


def first_of_each(rows: pa.Table, on: Sequence[str]) -> pa.Table:
    """One row for each combination of values in `on`: the first, in order."""
    numbered = _numbered(rows, on)
    firsts = numbered.group_by(list(on)).aggregate([(_ROW, "min")])[f"{_ROW}_min"]
    if len(firsts) == rows.num_rows:
        return rows
    return rows.take(firsts.take(pc.sort_indices(firsts)))


def newest_of_each(rows: pa.Table, key: Sequence[str], by: str) -> pa.Table:
    """For each key its greatest value of the column `by`: columns `key` and `by` only."""
    newest = rows.group_by(list(key)).aggregate([(by, "max")])
    return newest.rename_columns([*key, by])


def _numbered(rows: pa.Table, on: Sequence[str]) -> pa.Table:
    return rows.select(on).append_column(_ROW, pa.array(np.arange(rows.num_rows)))
