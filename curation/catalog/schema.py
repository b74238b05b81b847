"""The tables of the catalog, derived from the row dataclasses.

A column is declared once, as an annotated field of a dataclass in `curation.records`; the Arrow
and the Iceberg schema follow from the annotation. The trade-off: only the eight column types below
exist, and anything richer travels as JSON in a string.

    str -> string    int -> long    float -> double    bool -> boolean
    datetime -> timestamptz (microseconds, UTC)        list[str] -> list<string>
    list[int] -> list<long>                            list[float] -> list<float>: 32 bits

``X | None`` makes a column nullable; every other column is NOT NULL.
"""

import contextlib
import dataclasses
import datetime as dt
import functools
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC, PartitionField, PartitionSpec
from pyiceberg.schema import Schema
from pyiceberg.transforms import IdentityTransform
from pyiceberg.types import (
    BooleanType,
    DoubleType,
    FloatType,
    IcebergType,
    ListType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

from curation.records import (
    CaptionRow,
    CheckpointRow,
    ClipRow,
    DatasetRow,
    EvaluationRow,
    PromotionRow,
    RefinementRow,
    RunRow,
    SampleRow,
    ScoreRow,
    ShardRow,
    ShotRow,
    SideShardsRow,
    SourceRow,
    TakedownRow,
    VideoRow,
)

RECORDED_AT = "recorded_at"

_ARROW_TYPES: dict[object, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    dt.datetime: pa.timestamp("us", tz="UTC"),
    list[str]: pa.list_(pa.field("element", pa.string(), nullable=False)),
    list[int]: pa.list_(pa.field("element", pa.int64(), nullable=False)),
    # Embeddings and frame scores are float32 where they are made.
    list[float]: pa.list_(pa.field("element", pa.float32(), nullable=False)),
}


def _iceberg_type(annotation: object, element_id: int) -> IcebergType:
    scalars: dict[object, IcebergType] = {
        str: StringType(),
        int: LongType(),
        float: DoubleType(),
        bool: BooleanType(),
        dt.datetime: TimestamptzType(),
    }
    elements: dict[object, IcebergType] = {
        list[str]: StringType(),
        list[int]: LongType(),
        list[float]: FloatType(),
    }
    if annotation in elements:
        element = elements[annotation]
        return ListType(element_id=element_id, element=element, element_required=True)
    return scalars[annotation]


@dataclasses.dataclass(frozen=True)
class TableSpec:
    """One table: its rows, what identifies a row, and how it is laid out.

    Attributes:
        name: the table's name in the namespace ``tempo``.
        row_type: the dataclass of a row.
        key: the columns that identify what a row is about.
        supersedes: a newer row (by ``recorded_at``) replaces an older one with the same key when
            the table is read; both stay stored. Otherwise a key is stored once and for all.
        partition: a column whose values get data files of their own, for tables of which usually
            one value is read. None for the rest.
    """

    name: str
    row_type: type[Any]
    key: tuple[str, ...]
    supersedes: bool = False
    partition: str | None = None

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns of which no two stored rows agree on all: what "exactly once" means."""
        return (*self.key, RECORDED_AT) if self.supersedes else self.key

    @functools.cached_property
    def arrow_schema(self) -> pa.Schema:
        """Columns in the order of the dataclass, with their nullability."""
        return pa.schema(
            pa.field(name, _ARROW_TYPES[annotation], nullable=nullable)
            for name, annotation, nullable in _columns(self.row_type)
        )

    @functools.cached_property
    def iceberg_schema(self) -> Schema:
        """The same columns for Iceberg; the field ids matter only until a table is created."""
        columns = _columns(self.row_type)
        return Schema(
            *(
                NestedField(
                    field_id=index,
                    name=name,
                    field_type=_iceberg_type(annotation, element_id=len(columns) + index),
                    required=not nullable,
                )
                for index, (name, annotation, nullable) in enumerate(columns, start=1)
            )
        )

    @property
    def partition_spec(self) -> PartitionSpec:
        """Identity partition on `partition`, or none."""
        if self.partition is None:
            return UNPARTITIONED_PARTITION_SPEC
        source = self.iceberg_schema.find_field(self.partition)
        return PartitionSpec(
            PartitionField(
                source_id=source.field_id,
                field_id=1000,
                transform=IdentityTransform(),
                name=self.partition,
            )
        )

    def columns(self, chosen: Sequence[str] | None) -> list[str]:
        """The chosen columns, all when None; `ValueError` for one that there is not."""
        if chosen is None:
            return list(self.arrow_schema.names)
        unknown = [column for column in chosen if column not in self.arrow_schema.names]
        if unknown:
            raise ValueError(
                f"table {self.name} has no column {unknown[0]!r}; "
                f"it has {', '.join(self.arrow_schema.names)}"
            )
        return list(chosen)

    def to_arrow(self, rows: Sequence[Any] | pa.Table) -> pa.Table:
        """Rows as an Arrow table of exactly this table's columns.

        Args:
            rows: instances of `row_type`, or an Arrow table; a nullable column may be left out.

        Raises:
            ValueError: a column is unknown, missing, of another type, or null where it must not be.
        """
        table = rows if isinstance(rows, pa.Table) else self._from_rows(rows)
        self.columns(table.column_names)
        columns = []
        for field in self.arrow_schema:
            column = self._column(table, field)
            if column.null_count and not field.nullable:
                raise ValueError(
                    f"{self.name}.{field.name} holds {column.null_count} nulls and may hold none; "
                    "give every row a value"
                )
            columns.append(column)
        return pa.Table.from_arrays(columns, schema=self.arrow_schema)

    def conform(self, table: pa.Table, columns: Sequence[str]) -> pa.Table:
        """What was read, with these columns in this order; a column that is younger is null."""
        schema = pa.schema(self.arrow_schema.field(name) for name in columns)
        present = set(table.column_names)
        arrays = [
            table[field.name].cast(field.type)
            if field.name in present
            else pa.chunked_array([pa.nulls(table.num_rows, field.type)])
            for field in schema
        ]
        return pa.Table.from_arrays(arrays, schema=schema)

    def _from_rows(self, rows: Sequence[Any]) -> pa.Table:
        for row in rows:
            if not isinstance(row, self.row_type):
                raise ValueError(  # noqa: TRY004 - a wrong value of a row, like the others here
                    f"table {self.name} holds {self.row_type.__name__}, not {type(row).__name__}"
                )
        arrays = []
        for field in self.arrow_schema:
            with _naming(f"{self.name}.{field.name}", field.type):
                values = [getattr(row, field.name) for row in rows]
                arrays.append(pa.array(values, type=field.type))
        return pa.Table.from_arrays(arrays, names=self.arrow_schema.names)

    def _column(self, table: pa.Table, field: pa.Field) -> pa.ChunkedArray:
        if field.name in table.column_names:
            with _naming(f"{self.name}.{field.name}", field.type):
                return table[field.name].cast(field.type)
        if not field.nullable:
            raise ValueError(f"{self.name}.{field.name} is missing; every row needs it")
        return pa.chunked_array([pa.nulls(table.num_rows, field.type)])


@contextlib.contextmanager
def _naming(column: str, wanted: pa.DataType) -> Iterator[None]:
    """Say in which column a value is that does not fit."""
    try:
        yield
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        raise ValueError(f"{column} must be {wanted}: {error}") from error


def _columns(row_type: type[Any]) -> list[tuple[str, object, bool]]:
    """(name, annotation without None, nullable) of each field, in declared order."""
    hints = typing.get_type_hints(row_type)
    columns = []
    for field in dataclasses.fields(row_type):
        annotation, nullable = _without_none(hints[field.name])
        assert annotation in _ARROW_TYPES, f"{row_type.__name__}.{field.name}: {annotation}"
        columns.append((field.name, annotation, nullable))
    return columns


def _without_none(annotation: object) -> tuple[object, bool]:
    if not isinstance(annotation, types.UnionType):
        return annotation, False
    members = [member for member in typing.get_args(annotation) if member is not types.NoneType]
    assert len(members) == 1, f"a column has one type: {annotation}"
    return members[0], True


# Films are re-offered, quarantines retried and takedowns restated: there the newest row counts.
# Measurements are read for one fingerprint at a time, so each gets its own files. Captions that a
# person wrote have a fingerprint each (400 of them made 400 files), so they go by captioner.
TABLES: Mapping[str, TableSpec] = {
    spec.name: spec
    for spec in (
        TableSpec("sources", SourceRow, ("uri",), supersedes=True),
        TableSpec("videos", VideoRow, ("video_id", "scan_fingerprint"), supersedes=True),
        TableSpec(
            "shots",
            ShotRow,
            ("video_id", "derive_fingerprint", "shot_index"),
            partition="derive_fingerprint",
        ),
        TableSpec(
            "clips",
            ClipRow,
            ("clip_id", "derive_fingerprint"),
            partition="derive_fingerprint",
        ),
        TableSpec("scores", ScoreRow, ("clip_id", "fingerprint"), partition="fingerprint"),
        TableSpec("refinements", RefinementRow, ("clip_id", "fingerprint")),
        TableSpec("captions", CaptionRow, ("clip_id", "fingerprint"), partition="captioner"),
        TableSpec("samples", SampleRow, ("publish_id", "sample_id")),
        TableSpec("shards", ShardRow, ("publish_id", "shard")),
        TableSpec("datasets", DatasetRow, ("name", "version")),
        TableSpec("runs", RunRow, ("run_id",)),
        TableSpec("checkpoints", CheckpointRow, ("checkpoint_id",), supersedes=True),
        TableSpec("side_shards", SideShardsRow, ("side_id",), supersedes=True),
        TableSpec("evaluations", EvaluationRow, ("evaluation_id", "schedule"), supersedes=True),
        TableSpec("promotions", PromotionRow, ("model", "decided_at")),
        TableSpec("takedowns", TakedownRow, ("video_id",), supersedes=True),
    )
}


def table_spec(name: str) -> TableSpec:
    """The table of that name, or `ValueError` that lists the names."""
    if name not in TABLES:
        raise ValueError(f"no table {name!r}; the catalog has {', '.join(TABLES)}")
    return TABLES[name]
