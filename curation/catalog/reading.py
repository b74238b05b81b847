"""Which rows, and reading them piece by piece.

PyIceberg decides from partitions and column statistics which files may hold the rows, and Arrow
reads of these only the needed columns. Files are read a few at a time rather than by PyIceberg's
own batch reader, which starts on all at once and holds what they give: slower where there are many
cores, but bounded.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc
from pyiceberg.expressions import (
    AlwaysFalse,
    AlwaysTrue,
    And,
    BooleanExpression,
    EqualTo,
    GreaterThanOrEqual,
    In,
    IsNull,
    LessThanOrEqual,
    Or,
    Reference,
)
from pyiceberg.expressions.literals import Literal, literal
from pyiceberg.expressions.visitors import bind
from pyiceberg.io.pyarrow import ArrowScan
from pyiceberg.table import Table

from curation.catalog.keys import matching, newest_of_each
from curation.catalog.schema import RECORDED_AT, TableSpec
from curation.errors import CatalogError

Where = Mapping[str, object] | BooleanExpression
"""Which rows: ``{"video_id": [..], "reason": None}`` (all must hold; a list means any of, None
means null), or a PyIceberg expression such as ``GreaterThan("seconds", 5.0)``."""

FILES_AT_ONCE = 4
"""Data files that are read in parallel and held: 128 MB of Arrow each, all columns counted."""

_PUSHED_DOWN_VALUES = 200  # Iceberg skips no files by a longer IN list


def condition(spec: TableSpec, where: Where | None) -> BooleanExpression:
    """`where` as an expression that fits the table.

    Raises:
        ValueError: it names an unknown column, or compares unlike types.
    """
    if where is None:
        return AlwaysTrue()
    try:
        expression = _all_equal(where) if isinstance(where, Mapping) else where
        bind(spec.iceberg_schema, expression, case_sensitive=True)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"table {spec.name} cannot be filtered by {where!r}: {error}; its columns are "
            f"{', '.join(spec.arrow_schema.names)}"
        ) from error
    return expression


def _equal(column: str, value: object) -> BooleanExpression:
    if value is None:
        return IsNull(term=Reference(column))
    if isinstance(value, list | tuple | set | frozenset):
        return In(term=Reference(column), values={literal(member) for member in value})
    return EqualTo(term=Reference(column), value=_literal(value))


def _literal(value: object) -> Literal[Any]:
    """`literal`, which raises `TypeError` for what no column can hold."""
    return cast("Callable[[object], Literal[Any]]", literal)(value)


def _all_equal(row: Mapping[str, object]) -> BooleanExpression:
    return And(AlwaysTrue(), AlwaysTrue(), *(_equal(name, value) for name, value in row.items()))


def near(rows: pa.Table, columns: Sequence[str]) -> BooleanExpression:
    """Holds for every row that agrees with one of these in these columns, and for few files more.

    A cheap first sieve: `curation.catalog.keys.matching` then decides exactly.
    """
    return And(AlwaysTrue(), AlwaysTrue(), *(_near(column, rows[column]) for column in columns))


def _near(column: str, values: pa.ChunkedArray) -> BooleanExpression:
    distinct = pc.unique(values)
    if len(distinct) <= _PUSHED_DOWN_VALUES:
        return _equal(column, distinct.to_pylist())
    ends = pc.min_max(values).as_py()
    return And(
        GreaterThanOrEqual(term=Reference(column), value=literal(ends["min"])),
        LessThanOrEqual(term=Reference(column), value=literal(ends["max"])),
    )


def any_key(rows: pa.Table) -> BooleanExpression:
    """Holds for the rows that agree with one of these in all of their columns."""
    return Or(AlwaysFalse(), AlwaysFalse(), *(_all_equal(row) for row in rows.to_pylist()))


def stored_rows(
    spec: TableSpec,
    table: Table,
    where: BooleanExpression,
    columns: Sequence[str],
    snapshot: int | None = None,
) -> Iterator[pa.Table]:
    """All rows as they are stored, in pieces; what `FILES_AT_ONCE` files give is held."""
    if snapshot is not None and table.snapshot_by_id(snapshot) is None:
        raise CatalogError(
            f"table {spec.name} has no snapshot {snapshot}: it was expired, or belongs to another "
            "catalog; read the present state, or take the id from this catalog"
        )
    scan = table.scan(row_filter=where, snapshot_id=snapshot)
    # A column that is younger than the snapshot is not in it; `conform` gives it nulls.
    present = set(scan.projection().column_names)
    scan = scan.select(*(column for column in columns if column in present))
    reader = ArrowScan(table.metadata, table.io, scan.projection(), scan.row_filter)
    tasks = list(scan.plan_files())
    for first in range(0, len(tasks), FILES_AT_ONCE):
        for batch in reader.to_record_batches(tasks[first : first + FILES_AT_ONCE]):
            yield spec.conform(pa.Table.from_batches([batch]), columns)


def visible_rows(
    spec: TableSpec,
    table: Table,
    where: BooleanExpression,
    columns: Sequence[str],
    snapshot: int | None = None,
) -> Iterator[pa.Table]:
    """The rows that count, in pieces: where newer ones supersede, only the newest of each key."""
    if not spec.supersedes:
        yield from stored_rows(spec, table, where, columns, snapshot)
        return
    # The filter may hold for an old row and not for the one that replaced it: so the newest are
    # found first, among all rows.
    everything = stored_rows(spec, table, AlwaysTrue(), spec.identity, snapshot)
    newest = newest_of_each(together(spec, everything, spec.identity), spec.key, by=RECORDED_AT)
    needed = list(dict.fromkeys([*columns, *spec.identity]))
    for piece in stored_rows(spec, table, where, needed, snapshot):
        yield matching(piece, newest, spec.identity, present=True).select(columns)


def together(spec: TableSpec, pieces: Iterator[pa.Table], columns: Sequence[str]) -> pa.Table:
    """The pieces as one table, which has its columns even when there are none."""
    empty = spec.conform(spec.arrow_schema.empty_table(), columns)
    return pa.concat_tables([empty, *pieces])
