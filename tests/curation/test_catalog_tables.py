"""Tables that an older version made, and columns that do not fit any more."""

import dataclasses
import datetime as dt
from pathlib import Path

import pyarrow as pa
import pytest

from curation.catalog import tables
from curation.catalog.connection import CatalogSettings
from curation.catalog.query import sql
from curation.catalog.schema import TableSpec
from curation.catalog.store import Catalog
from curation.errors import CatalogError
from curation.records import SourceRow
from tests.curation.rows_for_catalog import EPOCH, source


@dataclasses.dataclass(frozen=True)
class OldSourceRow:
    """`SourceRow` before it had a licence and a caption."""

    uri: str
    video_id: str | None
    size: int
    mtime_ns: int
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True)
class NarrowSourceRow:
    """Without the size, which a `SourceRow` needs."""

    uri: str
    video_id: str | None
    mtime_ns: int
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True)
class TextSourceRow:
    """With a size of another type."""

    uri: str
    video_id: str | None
    size: str
    mtime_ns: int
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True)
class NullableSourceRow:
    """With a size that may be missing."""

    uri: str
    video_id: str | None
    size: int | None
    mtime_ns: int
    recorded_at: dt.datetime


@dataclasses.dataclass(frozen=True)
class WideSourceRow(SourceRow):
    """`SourceRow` as a later version may have it."""

    colour: str | None


def made_by(row_type: type[object], home: Path, *rows: object) -> None:
    """Make the table as code with another row would have made it, and fill it."""
    spec = TableSpec("sources", row_type, ("uri",), supersedes=True)
    with Catalog.open(CatalogSettings(home)) as catalog:
        table = tables.load(catalog.iceberg, spec)
        if rows:
            table.append(spec.to_arrow(rows))


def test_a_table_gains_the_nullable_columns_of_its_row(tmp_path: Path) -> None:
    made_by(OldSourceRow, tmp_path, OldSourceRow("old", None, 1, 2, EPOCH))
    with Catalog.open(CatalogSettings(tmp_path)) as catalog:
        then = catalog.snapshots()["sources"]
        new = source("new", licence="CC-BY")
        assert catalog.append("sources", [new]) == 1
        old = SourceRow("old", None, 1, 2, None, None, EPOCH)
        assert sorted(catalog.rows(SourceRow), key=lambda row: row.uri) == [new, old]
        assert catalog.read("sources", snapshot=then).to_pylist() == [dataclasses.asdict(old)]
        answer = sql(catalog, "SELECT uri, licence, caption FROM sources ORDER BY uri")
        assert answer.to_pylist() == [
            {"uri": "new", "licence": "CC-BY", "caption": None},
            {"uri": "old", "licence": None, "caption": None},
        ]


def test_two_catalogs_may_add_the_same_columns(tmp_path: Path) -> None:
    made_by(OldSourceRow, tmp_path)
    settings = CatalogSettings(tmp_path)
    with Catalog.open(settings) as one, Catalog.open(settings) as other:
        assert one.append("sources", [source("a")]) == other.append("sources", [source("b")]) == 1
        names = [field.name for field in one.table("sources").schema().fields]
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(SourceRow))


def test_columns_of_a_later_version_are_left_alone(tmp_path: Path) -> None:
    later = WideSourceRow("later", None, 1, 2, None, None, EPOCH, "red")
    made_by(WideSourceRow, tmp_path, later)
    with Catalog.open(CatalogSettings(tmp_path)) as catalog:
        catalog.append("sources", [source("now")])
        assert {row.uri for row in catalog.rows(SourceRow)} == {"later", "now"}
        stored = catalog.table("sources").scan(selected_fields=("uri", "colour")).to_arrow()
        assert sorted(stored.to_pylist(), key=lambda row: row["uri"]) == [
            {"uri": "later", "colour": "red"},
            {"uri": "now", "colour": None},
        ]


@pytest.mark.parametrize(
    ("row_type", "message"),
    [
        (NarrowSourceRow, "without size, which SourceRow requires"),
        (TextSourceRow, r"sources\.size is stored as string not null.*declares long not null"),
        (NullableSourceRow, r"sources\.size is stored as long nullable.*declares long not null"),
    ],
)
def test_contradictions_are_errors(tmp_path: Path, row_type: type[object], message: str) -> None:
    made_by(row_type, tmp_path)
    with (
        Catalog.open(CatalogSettings(tmp_path)) as catalog,
        pytest.raises(CatalogError, match=message),
    ):
        catalog.read("sources")


def test_stored_types_are_those_of_the_contract(tmp_path: Path) -> None:
    with Catalog.open(CatalogSettings(tmp_path)) as catalog:
        fields = {field.name: field for field in catalog.table("samples").schema().fields}
    assert (str(fields["clip_ids"].field_type), fields["clip_ids"].required) == (
        "list<string>",
        True,
    )
    assert (str(fields["mp4_offset"].field_type), fields["mp4_offset"].required) == ("long", True)
    assert (str(fields["licence"].field_type), fields["licence"].required) == ("string", False)


def test_null_is_refused_by_the_table_itself(tmp_path: Path) -> None:
    """Another writer cannot leave out what a row needs either."""
    with Catalog.open(CatalogSettings(tmp_path)) as catalog:
        with pytest.raises(ValueError, match="Mismatch in fields"):
            catalog.table("shards").append(pa.table({"publish_id": ["p"]}))
        assert catalog.read("shards").num_rows == 0
