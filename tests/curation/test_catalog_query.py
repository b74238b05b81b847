"""SQL sees the tables as they are read, and nothing else of this machine."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curation.catalog.connection import CatalogSettings
from curation.catalog.query import sql
from curation.catalog.schema import TABLES
from curation.catalog.store import Catalog
from curation.errors import CatalogError
from curation.records import SampleRow, VideoRow
from tests.curation.rows_for_catalog import EPOCH, clip, full, later, plain, source


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(CatalogSettings(tmp_path / "home")) as opened:
        yield opened


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with files in it that no query may read."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    pq.write_table(pa.table({"secret": ["treasure"]}), folder / "secret.parquet")
    for name in ("secret.csv", "secret.json", "secret.txt"):
        (folder / name).write_text('{"secret": "treasure"}\n')
    monkeypatch.chdir(folder)
    return folder


def test_rows_are_counted_grouped_and_joined(catalog: Catalog) -> None:
    catalog.append(
        "clips", [clip("a", video_id="x"), clip("b", video_id="x"), clip("c", video_id="y")]
    )
    catalog.append("videos", [plain(VideoRow, video_id="x", codec="av1")])
    catalog.append("videos", [plain(VideoRow, video_id="y", codec="vp9")])
    answer = sql(
        catalog,
        "WITH mine AS (SELECT * FROM clips WHERE seconds < 1) "
        "SELECT codec, count(*) AS clips FROM mine JOIN videos USING (video_id) "
        "GROUP BY codec ORDER BY codec",
    )
    assert answer.to_pylist() == [{"codec": "av1", "clips": 2}, {"codec": "vp9", "clips": 1}]


@pytest.mark.parametrize("name", TABLES)
def test_each_table_is_seen_as_it_is_read(catalog: Catalog, name: str) -> None:
    empty = sql(catalog, f"FROM {name}")
    assert (empty.num_rows, empty.column_names) == (0, TABLES[name].arrow_schema.names)
    catalog.append(name, [full(TABLES[name].row_type)])
    (row,) = sql(catalog, f"FROM {name}").to_pylist()
    assert TABLES[name].row_type(**row) == full(TABLES[name].row_type)


def test_only_the_newest_rows_are_seen_but_the_others_are_not_hidden(catalog: Catalog) -> None:
    catalog.append("sources", [source("a", size=1), source("b", size=1)])
    catalog.append("sources", [source("a", size=2, recorded_at=later(1))])
    newest = sql(catalog, "SELECT uri, size FROM sources ORDER BY uri").to_pylist()
    assert newest == [{"uri": "a", "size": 2}, {"uri": "b", "size": 1}]
    assert sql(catalog, "SELECT uri FROM sources WHERE size = 1").to_pylist() == [{"uri": "b"}]
    history = sql(catalog, "SELECT size FROM Sources_History WHERE uri = 'a' ORDER BY size")
    assert history["size"].to_pylist() == [1, 2]


def test_deleted_rows_are_not_seen(catalog: Catalog) -> None:
    catalog.append("clips", [clip("a"), clip("b")])
    catalog.delete_rows("clips", {"clip_id": "a"})
    assert sql(catalog, "SELECT clip_id FROM clips").to_pylist() == [{"clip_id": "b"}]


def test_times_and_lists_keep_their_types(catalog: Catalog) -> None:
    catalog.append("samples", [plain(SampleRow, clip_ids=["b", "a"])])
    catalog.append("sources", [source("a")])
    answer = sql(catalog, "SELECT clip_ids, recorded_at FROM samples, sources")
    assert answer.to_pylist() == [{"clip_ids": ["b", "a"], "recorded_at": EPOCH}]
    assert sql(catalog, "SELECT len(clip_ids) AS n FROM samples")["n"].to_pylist() == [2]


@pytest.mark.parametrize(
    "query",
    ["SHOW TABLES", "DESCRIBE clips", "SUMMARIZE clips", "EXPLAIN FROM clips", "VALUES (1)"],
)
def test_reading_statements_are_answered(catalog: Catalog, query: str) -> None:
    assert sql(catalog, query).num_rows > 0


def test_show_tables_shows_all(catalog: Catalog) -> None:
    shown = set(sql(catalog, "SHOW TABLES")["name"].to_pylist())
    superseding = {
        "sources", "videos", "checkpoints", "side_shards", "evaluations", "takedowns",
    }  # fmt: skip
    assert shown == {*TABLES, *(f"{name}_history" for name in superseding)}


def test_a_table_named_only_in_a_string_is_not_taken_for_empty(catalog: Catalog) -> None:
    catalog.append("clips", [clip("a")])
    assert sql(catalog, "SELECT clip_id FROM query_table('clips')").num_rows == 1
    assert sql(catalog, "SELECT * FROM query('SELECT clip_id FROM clips')").num_rows == 1


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC 1", "syntax error"),
        ("SELECT colour FROM clips", "colour"),
        ("SELECT * FROM films", "films does not exist"),
        ("SELECT 1; SELECT 2", "one statement, not 2"),
        ("", "one statement, not 0"),
        ("-- nothing", "one statement, not 0"),
        ("SELECT 'x'::INTEGER FROM clips", "convert"),
        ("SELECT ?", "."),
    ],
)
def test_mistakes_are_told_in_duckdbs_words(catalog: Catalog, query: str, message: str) -> None:
    catalog.append("clips", [clip("a")])
    with pytest.raises(CatalogError, match=f"(?s)sql: .*{message}"):
        sql(catalog, query)


ATTACKS = """
SELECT * FROM read_csv('secret.csv')
SELECT * FROM read_csv_auto('{here}/secret.csv')
SELECT * FROM sniff_csv('secret.csv')
SELECT * FROM read_json('secret.json')
SELECT * FROM read_json_auto('secret.json')
SELECT * FROM read_ndjson_objects('secret.json')
SELECT * FROM read_parquet('secret.parquet')
SELECT * FROM parquet_scan('secret.parquet')
SELECT * FROM parquet_metadata('secret.parquet')
SELECT * FROM parquet_schema('secret.parquet')
SELECT * FROM read_text('/etc/passwd')
SELECT * FROM read_text('secret.txt')
SELECT * FROM read_blob('/etc/passwd')
SELECT * FROM glob('*')
SELECT * FROM glob('/etc/*')
SELECT * FROM 'secret.parquet'
SELECT * FROM 'secret.csv'
SELECT * FROM "secret.csv"
SELECT * FROM '{here}/secret.parquet'
SELECT * FROM 'https://127.0.0.1:9/secret.parquet'
SELECT * FROM read_parquet('s3://bucket/secret.parquet')
SELECT * FROM clips, read_text('secret.txt')
SELECT * FROM query('SELECT * FROM read_text(''secret.txt'')')
SELECT * FROM query_table('secret.csv')
SELECT * FROM sqlite_scan('{home}/catalog.db', 'iceberg_tables')
SELECT * FROM iceberg_scan('{home}/warehouse/tempo/clips')
SELECT getenv('HOME')
COPY (SELECT 1) TO 'out.csv'
COPY (SELECT 1) TO '{here}/out.parquet' (FORMAT parquet)
COPY clips TO '/dev/stdout'
COPY clips FROM 'secret.csv'
EXPLAIN ANALYZE COPY (SELECT 1) TO 'out.csv'
EXPORT DATABASE 'out'
IMPORT DATABASE 'out'
ATTACH 'out.db'
ATTACH '{home}/catalog.db' AS theirs (TYPE sqlite)
ATTACH ':memory:' AS other
USE other
DETACH memory
INSTALL httpfs
FORCE INSTALL sqlite
LOAD httpfs
LOAD '{here}/evil.duckdb_extension'
SET enable_external_access = true
SET GLOBAL lock_configuration = false
RESET enable_external_access
SET home_directory = '{here}'
SET temp_directory = '{here}'
SET profiling_output = 'out.json'
PRAGMA enable_profiling
PRAGMA database_list
CALL enable_logging(storage = 'file', storage_path = 'out')
SELECT * FROM enable_logging(storage = 'file', storage_path = 'out')
CREATE SECRET (TYPE s3, KEY_ID 'a', SECRET 'b')
CREATE TABLE mine AS SELECT 1
CREATE VIEW mine AS SELECT * FROM read_text('secret.txt')
CREATE MACRO mine() AS TABLE SELECT * FROM read_text('secret.txt')
INSERT INTO clips SELECT * FROM clips
UPDATE clips SET seconds = 0
DELETE FROM clips
DROP VIEW clips
ALTER TABLE clips ADD COLUMN colour TEXT
TRUNCATE clips
VACUUM
CHECKPOINT
BEGIN
PREPARE mine AS SELECT 1
SELECT 1; COPY (SELECT 1) TO 'out.csv'
SELECT * FROM catalog
SELECT * FROM elsewhere
SELECT * FROM ATTACKS
SELECT * FROM table
""".strip().splitlines()


@pytest.fixture(scope="module")
def fortress(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Catalog]:
    """One catalog for all attacks: none may change it."""
    with Catalog.open(CatalogSettings(tmp_path_factory.mktemp("fortress"))) as opened:
        opened.append("clips", [clip("a")])
        yield opened


@pytest.mark.parametrize("attack", ATTACKS)
def test_there_is_no_way_out(fortress: Catalog, elsewhere: Path, attack: str) -> None:
    table = pa.table({"secret": ["treasure"]})
    before = sorted(elsewhere.rglob("*"))
    query = attack.format(here=elsewhere, home=fortress.settings.home)
    with pytest.raises(CatalogError, match="sql: ") as caught:
        sql(fortress, query)
    assert table["secret"][0].as_py() not in str(caught.value)
    assert sorted(elsewhere.rglob("*")) == before
    assert fortress.read("clips", columns=["clip_id"])["clip_id"].to_pylist() == ["a"]


def test_the_locks_are_on(catalog: Catalog) -> None:
    settings = {
        row["name"]: row["value"]
        for row in sql(catalog, "SELECT name, value FROM duckdb_settings()").to_pylist()
    }
    assert settings["temp_directory"] == ""  # the default spills into the working directory
    assert settings["enable_external_access"] == "false"
    assert settings["lock_configuration"] == "true"


def test_credentials_are_not_seen(tmp_path: Path) -> None:
    properties = {"s3.access-key-id": "key-of-mine", "s3.secret-access-key": "treasure"}
    settings = dataclasses.replace(CatalogSettings(tmp_path), properties=properties)
    with Catalog.open(settings) as catalog:
        catalog.append("clips", [clip("a")])
        for view in ("duckdb_settings()", "duckdb_tables()", "duckdb_views()", "duckdb_columns()"):
            answer = str(sql(catalog, f"FROM {view}").to_pylist())
            assert "treasure" not in answer
            assert "key-of-mine" not in answer


def test_environment_is_not_seen(catalog: Catalog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "TEMPO_TEST_SECRET", "treasure")
    for query in ("SELECT getenv('TEMPO_TEST_SECRET')", "SELECT getvariable('TEMPO_TEST_SECRET')"):
        try:
            assert "treasure" not in str(sql(catalog, query).to_pylist())
        except CatalogError as error:
            assert "getenv" in str(error)
