"""Stock tools read the tables with nothing of ours between: PyIceberg, DuckDB, Polars."""

from pathlib import Path

import polars as pl
import pyarrow.parquet as pq
import pytest
from pyiceberg.catalog import load_catalog
from pyiceberg.table import StaticTable, Table

from curation.catalog.connection import CatalogSettings
from curation.catalog.store import Catalog
from tests.curation.rows_for_catalog import EPOCH, clip


@pytest.fixture
def clips(tmp_path: Path) -> Table:
    """The table of clips as plain PyIceberg opens it: a, b and d; c was deleted."""
    with Catalog.open(CatalogSettings(tmp_path)) as catalog:
        catalog.append("clips", [clip("a", seconds=1.0), clip("b", seconds=2.0)])
        catalog.append("clips", [clip("c", seconds=3.0), clip("d", seconds=4.0)])
        catalog.delete_rows("clips", {"clip_id": "c"})
    plain = load_catalog(
        "tempo",
        type="sql",
        uri=f"sqlite:///{tmp_path}/catalog.db",
        warehouse=str(tmp_path / "warehouse"),
    )
    assert plain.list_namespaces() == [("tempo",)]
    return plain.load_table("tempo.clips")


@pytest.fixture
def _polars_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without this, Polars warns that a plugin of its own would plan faster."""
    monkeypatch.setenv("POLARS_ICEBERG_PLANNER", "pyiceberg")


def test_plain_pyiceberg_reads(clips: Table) -> None:
    found = clips.scan(row_filter="seconds >= 2.0", selected_fields=("clip_id", "recorded_at"))
    assert sorted(found.to_arrow().to_pylist(), key=lambda row: row["clip_id"]) == [
        {"clip_id": "b", "recorded_at": EPOCH},
        {"clip_id": "d", "recorded_at": EPOCH},
    ]


def test_plain_pyiceberg_travels_in_time(clips: Table) -> None:
    first = clips.history()[0].snapshot_id
    ids = clips.scan(snapshot_id=first).to_arrow()["clip_id"].to_pylist()
    assert sorted(ids) == ["a", "b"]


def test_plain_pyiceberg_writes_what_we_read(clips: Table, tmp_path: Path) -> None:
    with Catalog.open(CatalogSettings(tmp_path)) as catalog:
        clips.append(catalog.read("clips", {"clip_id": "a"}))
        clips.refresh()
        assert catalog.read("clips", {"clip_id": "a"}).num_rows == 2, "a duplicate of theirs"
        assert catalog.append("clips", [clip("a"), clip("b")]) == 0


def test_duckdb_reads(clips: Table) -> None:
    with clips.scan().to_duckdb("clips") as connection:
        answer = connection.execute("SELECT count(*), sum(seconds) FROM clips").fetchall()
    assert answer == [(3, 7.0)]


@pytest.mark.usefixtures("_polars_alone")
def test_polars_reads(clips: Table) -> None:
    frame = pl.scan_iceberg(clips).filter(pl.col("seconds") > 1.5).select("clip_id").collect()
    assert sorted(frame["clip_id"].to_list()) == ["b", "d"]


@pytest.mark.usefixtures("_polars_alone")
def test_polars_reads_the_metadata_file_alone(clips: Table) -> None:
    static = StaticTable.from_metadata(clips.metadata_location)
    assert pl.scan_iceberg(static).select(pl.len()).collect().item() == 3


def test_the_files_are_parquet(tmp_path: Path, clips: Table) -> None:
    paths = [task.file.file_path for task in clips.scan().plan_files()]
    ids = [at for path in paths for at in pq.ParquetFile(path).read()["clip_id"].to_pylist()]
    assert sorted(ids) == ["a", "b", "d"]
    assert all(Path(path).is_relative_to(tmp_path) for path in paths)
