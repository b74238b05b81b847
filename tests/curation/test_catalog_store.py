"""Rows of the catalog: appended exactly once, superseded, filtered, read in time, deleted."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.expressions import GreaterThan, Or, Reference, StartsWith
from pyiceberg.expressions.literals import literal
from sqlalchemy.exc import OperationalError

from curation.catalog.connection import ATTEMPTS, CatalogSettings
from curation.catalog.schema import TABLES
from curation.catalog.store import Catalog
from curation.errors import CatalogError
from curation.records import CaptionRow, SourceRow, TakedownRow, VideoRow
from tests.curation.rows_for_catalog import caption, clip, full, later, plain, source


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(CatalogSettings(tmp_path)) as opened:
        yield opened


def clip_ids(catalog: Catalog, where: Any = None, **options: Any) -> list[str]:
    ids: list[str] = catalog.read("clips", where, ["clip_id"], **options)["clip_id"].to_pylist()
    return sorted(ids)


def stored_count(catalog: Catalog, name: str) -> int:
    """Rows in the files, superseded ones included."""
    return int(catalog.table(name).scan().to_arrow().num_rows)


@pytest.mark.parametrize("name", TABLES)
def test_what_was_appended_is_read(catalog: Catalog, name: str) -> None:
    spec = TABLES[name]
    assert catalog.append(name, [full(spec.row_type)]) == 1
    assert catalog.rows(spec.row_type) == [full(spec.row_type)]
    assert catalog.read(name).schema == spec.arrow_schema


def test_an_empty_table_has_its_columns(catalog: Catalog) -> None:
    empty = catalog.read("clips")
    assert (empty.num_rows, empty.schema) == (0, TABLES["clips"].arrow_schema)
    assert catalog.read("clips", columns=["seconds", "clip_id"]).column_names == [
        "seconds",
        "clip_id",
    ]


def test_a_row_is_stored_once(catalog: Catalog) -> None:
    assert catalog.append("clips", [clip("a"), clip("b")]) == 2
    assert catalog.append("clips", [clip("a"), clip("b")]) == 0
    assert catalog.append("clips", [clip("b"), clip("c"), clip("c"), clip("d")]) == 2
    assert clip_ids(catalog) == ["a", "b", "c", "d"]


def test_the_first_row_of_a_key_stays(catalog: Catalog) -> None:
    catalog.append("clips", [clip("a", seconds=1.0), clip("a", seconds=2.0)])
    catalog.append("clips", [clip("a", seconds=3.0)])
    assert catalog.read("clips", columns=["seconds"])["seconds"].to_pylist() == [1.0]


def test_a_key_is_all_of_its_columns(catalog: Catalog) -> None:
    catalog.append("clips", [clip("a", derive_fingerprint="old")])
    assert catalog.append("clips", [clip("a", derive_fingerprint="new")]) == 1
    assert clip_ids(catalog, {"derive_fingerprint": "new"}) == ["a"]
    assert clip_ids(catalog) == ["a", "a"]


def test_many_keys_are_compared_as_exactly_as_few(catalog: Catalog) -> None:
    catalog.append("clips", [clip(f"{index:04d}") for index in range(0, 1000, 2)])
    assert catalog.append("clips", [clip(f"{index:04d}") for index in range(1000)]) == 500
    assert clip_ids(catalog) == [f"{index:04d}" for index in range(1000)]


def test_nothing_to_append_commits_nothing(catalog: Catalog) -> None:
    assert catalog.append("clips", []) == 0
    catalog.append("clips", [clip("a")])
    before = catalog.snapshots()
    catalog.append("clips", [clip("a")])
    assert catalog.snapshots() == before


def test_a_newer_row_supersedes(catalog: Catalog) -> None:
    first = plain(VideoRow, status="quarantined", transient=True)
    retried = dataclasses.replace(first, status="ok", transient=False, recorded_at=later(60))
    assert [catalog.append("videos", [row]) for row in (first, retried)] == [1, 1]
    assert catalog.rows(VideoRow) == [retried]
    assert [catalog.append("videos", [row]) for row in (first, retried)] == [0, 0]
    assert stored_count(catalog, "videos") == 2


def test_an_older_row_that_comes_late_supersedes_nothing(catalog: Catalog) -> None:
    catalog.append("sources", [source("a", size=2, recorded_at=later(2))])
    catalog.append("sources", [source("a", size=1, recorded_at=later(1))])
    assert [row.size for row in catalog.rows(SourceRow)] == [2]


def test_a_filter_sees_only_the_newest_rows(catalog: Catalog) -> None:
    catalog.append("sources", [source("a", licence="unknown"), source("b", licence="unknown")])
    catalog.append("sources", [source("a", licence="CC-BY", recorded_at=later(1))])
    assert [row.uri for row in catalog.rows(SourceRow, {"licence": "unknown"})] == ["b"]
    assert [row.uri for row in catalog.rows(SourceRow, {"licence": "CC-BY"})] == ["a"]
    assert catalog.read("sources", {"licence": "CC-BY"}, ["size"]).column_names == ["size"]


def test_filters(catalog: Catalog) -> None:
    catalog.append(
        "clips",
        [
            clip("a", seconds=1.0, video_id="x", clarity_mean=None),
            clip("b", seconds=2.0, video_id="x", clarity_mean=50.0),
            clip("c", seconds=3.0, video_id="y", clarity_mean=60.0),
        ],
    )
    assert clip_ids(catalog, {"video_id": "x", "seconds": 2}) == ["b"]
    assert clip_ids(catalog, {"clip_id": ["a", "c", "nobody"]}) == ["a", "c"]
    assert clip_ids(catalog, {"clip_id": []}) == []
    assert clip_ids(catalog, {"clarity_mean": None}) == ["a"]
    assert clip_ids(catalog, {}) == ["a", "b", "c"]
    long_or_a = Or(
        GreaterThan(term=Reference("seconds"), value=literal(2.5)),
        StartsWith(term=Reference("clip_id"), value=literal("a")),
    )
    assert clip_ids(catalog, long_or_a) == [
        "a",
        "c",
    ]


@pytest.mark.parametrize("value", ["'; --", "a' OR '1'='1", '"', "é☃", "a\\b", ""])
def test_values_in_filters_are_only_values(catalog: Catalog, value: str) -> None:
    catalog.append("clips", [clip(value), clip("another")])
    assert clip_ids(catalog, {"clip_id": value}) == [value]
    assert catalog.delete_rows("clips", {"clip_id": value}) == 1
    assert clip_ids(catalog) == ["another"]


def test_mistakes_name_the_columns(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="clips has no column 'colour'; it has clip_id"):
        catalog.read("clips", columns=["colour"])
    with pytest.raises(ValueError, match=r"clips cannot be filtered.*colour.*clip_id"):
        catalog.read("clips", {"colour": "red"})
    with pytest.raises(ValueError, match="clips cannot be filtered"):
        catalog.read("clips", {"seconds": "long"})
    with pytest.raises(ValueError, match="clips cannot be filtered"):
        catalog.read("clips", {"clip_id": object()})
    with pytest.raises(ValueError, match="no table 'films'"):
        catalog.append("films", [])
    with pytest.raises(ValueError, match="int is not a row"):
        catalog.rows(int)


def test_batches_give_what_read_gives(catalog: Catalog) -> None:
    for batch in range(6):
        catalog.append("clips", [clip(f"{batch}-{index}") for index in range(3)])
    pieces = list(catalog.batches("clips", {"video_id": "film"}, ["clip_id"]))
    assert len(pieces) > 1
    assert sorted(at for piece in pieces for at in piece["clip_id"].to_pylist()) == clip_ids(
        catalog
    )


def test_earlier_states_can_be_read(catalog: Catalog) -> None:
    assert catalog.snapshots() == {}
    catalog.append("clips", [clip("a")])
    then = catalog.snapshots()["clips"]
    catalog.append("clips", [clip("b")])
    catalog.delete_rows("clips", {"clip_id": "a"})
    assert clip_ids(catalog) == ["b"]
    assert clip_ids(catalog, snapshot=then) == ["a"]
    with pytest.raises(CatalogError, match="clips has no snapshot 7"):
        catalog.read("clips", snapshot=7)


def test_earlier_states_keep_the_rows_that_counted_then(catalog: Catalog) -> None:
    catalog.append("sources", [source("a", size=1)])
    then = catalog.snapshots()["sources"]
    catalog.append("sources", [source("a", size=2, recorded_at=later(1))])
    assert catalog.read("sources", snapshot=then)["size"].to_pylist() == [1]


def test_rows_are_deleted(catalog: Catalog) -> None:
    captions = [caption(f"{index}", captioner="ab"[index % 2]) for index in range(10)]
    catalog.append("captions", captions)
    assert catalog.delete_rows("captions", {"captioner": "a", "clip_id": "1"}) == 0
    assert catalog.delete_rows("captions", {"captioner": "a"}) == 5
    assert catalog.delete_rows("captions", {"captioner": "a"}) == 0
    assert {row.captioner for row in catalog.rows(CaptionRow)} == {"b"}


def test_deleting_a_newest_row_does_not_bring_the_older_one_back(catalog: Catalog) -> None:
    catalog.append("sources", [source("a", licence="unknown"), source("b", licence="unknown")])
    catalog.append("sources", [source("a", licence="CC-BY", recorded_at=later(1))])
    assert catalog.delete_rows("sources", {"licence": "CC-BY"}) == 2
    assert [row.uri for row in catalog.rows(SourceRow)] == ["b"]
    assert catalog.delete_rows("sources", {"licence": "CC-BY"}) == 0


def test_takedowns_may_be_restated(catalog: Catalog) -> None:
    catalog.append("takedowns", [plain(TakedownRow, reason="asked")])
    catalog.append("takedowns", [plain(TakedownRow, reason="court", recorded_at=later(9))])
    assert [row.reason for row in catalog.rows(TakedownRow)] == ["court"]


def test_table_properties(catalog: Catalog) -> None:
    clips, datasets = catalog.table("clips"), catalog.table("datasets")
    assert clips.format_version == datasets.format_version == 2
    assert clips.properties["commit.retry.num-retries"] == "30"
    assert clips.properties["commit.retry.min-wait-ms"] == "50"
    assert clips.properties["commit.retry.max-wait-ms"] == "1500"
    assert clips.properties["write.metadata.delete-after-commit.enabled"] == "true"
    assert datasets.properties["commit.retry.num-retries"] == "0"
    assert [field.name for field in clips.spec().fields] == ["derive_fingerprint"]


def test_old_metadata_files_do_not_pile_up(catalog: Catalog, tmp_path: Path) -> None:
    table = catalog.table("runs")
    for index in range(60):
        table.transaction().set_properties({"turn": str(index)}).commit_transaction()
    folder = tmp_path / "warehouse" / "tempo" / "runs" / "metadata"
    assert 50 <= len(list(folder.glob("*.metadata.json"))) <= 52


Commit = Callable[..., Any]


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[Commit, Any], Any]]:
    """Fill the list with what the next commits do instead; each is given the real commit."""
    planned: list[Callable[[Commit, Any], Any]] = []
    real = SqlCatalog.commit_table

    def commit_table(self: SqlCatalog, *arguments: Any) -> Any:
        def commit() -> Any:
            return real(self, *arguments)

        return planned.pop(0)(commit, self) if planned else commit()

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
    return planned


def land_and_lose_the_answer(commit: Commit, _: Any) -> None:
    commit()
    raise CommitStateUnknownException("the line went dead")


def land_and_break_the_connection(commit: Commit, _: Any) -> None:
    commit()
    raise OperationalError("COMMIT", {}, Exception("server closed the connection"))


def lose_the_question(_: Commit, __: Any) -> None:
    raise CommitStateUnknownException("the line went dead")


def find_the_database_locked(_: Commit, __: Any) -> None:
    raise OperationalError("UPDATE", {}, Exception("database is locked"))


@pytest.mark.parametrize(
    "accident",
    [
        land_and_lose_the_answer,
        land_and_break_the_connection,
        lose_the_question,
        find_the_database_locked,
    ],
)
def test_a_commit_of_unknown_outcome_is_looked_for_first(
    catalog: Catalog, commits: list[Any], accident: Callable[[Commit, Any], Any]
) -> None:
    catalog.append("clips", [clip("a")])
    commits.append(accident)
    assert catalog.append("clips", [clip("a"), clip("b"), clip("c")]) == 2
    commits.append(accident)
    assert catalog.delete_rows("clips", {"clip_id": ["a", "b"]}) == 2
    assert catalog.table("clips").scan().to_arrow()["clip_id"].to_pylist() == ["c"]


def test_a_writer_that_was_overtaken_looks_again_what_is_stored(
    catalog: Catalog, commits: list[Any], tmp_path: Path
) -> None:
    catalog.append("clips", [clip("a")])

    def be_overtaken(commit: Commit, _: Any) -> Any:
        with Catalog.open(CatalogSettings(tmp_path)) as other:
            assert other.append("clips", [clip("b"), clip("x")]) == 2
        return commit()

    commits.append(be_overtaken)
    assert catalog.append("clips", [clip("b"), clip("c")]) == 1
    assert sorted(catalog.table("clips").scan().to_arrow()["clip_id"].to_pylist()) == [
        *("a", "b", "c", "x")
    ]


def test_a_delete_that_was_overtaken_is_done_anew(
    catalog: Catalog, commits: list[Any], tmp_path: Path
) -> None:
    catalog.append("captions", [caption("a"), caption("b")])

    def be_overtaken(commit: Commit, _: Any) -> Any:
        with Catalog.open(CatalogSettings(tmp_path)) as other:
            other.append("captions", [caption("a", fingerprint="another"), caption("c")])
        return commit()

    commits.append(be_overtaken)
    assert catalog.delete_rows("captions", {"clip_id": "a"}) == 2
    assert sorted(row.clip_id for row in catalog.rows(CaptionRow)) == ["b", "c"]


def test_giving_up_is_an_error(
    catalog: Catalog, commits: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: Commit, __: Any) -> None:
        raise CommitFailedException("somebody was quicker")

    catalog.append("clips", [clip("a")])
    monkeypatch.setattr("time.sleep", lambda _: None)
    commits.extend([fail] * ATTEMPTS)
    with pytest.raises(CatalogError, match="clips: other writers were quicker"):
        catalog.append("clips", [clip("b")])
    assert clip_ids(catalog) == ["a"]
