"""A takedown that leaves no trace: neither in earlier snapshots nor in any file."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyiceberg.catalog.sql import SqlCatalog

from curation.catalog.connection import CatalogSettings
from curation.catalog.datasets import publish_dataset, resolve
from curation.catalog.history import ABANDONED_AFTER, forget_history
from curation.catalog.store import Catalog
from curation.errors import CatalogError
from curation.records import CaptionRow
from tests.curation.rows_for_catalog import caption, publication


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(CatalogSettings(tmp_path)) as opened:
        # The words must be findable in the files as they are.
        with opened.table("captions").transaction() as transaction:
            transaction.set_properties({"write.parquet.compression-codec": "uncompressed"})
        yield opened


def files_that_hold(home: Path, words: bytes) -> list[Path]:
    return [file for file in home.rglob("*") if file.is_file() and words in file.read_bytes()]


def test_nothing_is_left_of_deleted_rows(catalog: Catalog, tmp_path: Path) -> None:
    catalog.append("captions", [caption("a", caption="the secret garden"), caption("b")])
    catalog.append("captions", [caption("c", caption="the secret garden")])
    publish_dataset(catalog, *publication("films", "p1"))
    catalog.append("captions", [caption("d")])
    then = catalog.snapshots()["captions"]
    catalog.delete_rows("captions", {"clip_id": ["a", "c"]})
    assert files_that_hold(tmp_path, b"the secret garden")

    assert forget_history(catalog, "captions") > 0

    assert files_that_hold(tmp_path, b"the secret garden") == []
    assert sorted(row.clip_id for row in catalog.rows(CaptionRow)) == ["b", "d"]
    with pytest.raises(CatalogError, match="captions has no snapshot"):
        catalog.read("captions", snapshot=then)
    assert catalog.append("captions", [caption("a"), caption("b")]) == 1
    assert resolve(catalog, "films").publish_id == "p1"
    assert catalog.read("samples").num_rows == 2


def test_a_table_without_a_past_stays_as_it_is(catalog: Catalog) -> None:
    assert forget_history(catalog, "clips") == 0
    catalog.append("captions", [caption("a")])
    assert forget_history(catalog, "captions") == 0
    assert forget_history(catalog, "captions") == 0
    assert [row.clip_id for row in catalog.rows(CaptionRow)] == ["a"]


def test_files_of_commits_that_never_landed_go_when_they_are_old(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    catalog.append("captions", [caption("a")])
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(SqlCatalog, "commit_table", die)
        catalog.append("captions", [caption("b", caption="the secret garden")])
    (left,) = files_that_hold(tmp_path, b"the secret garden")

    forget_history(catalog, "captions")
    assert left.exists(), "it may belong to a commit under way"

    then = time.time() - ABANDONED_AFTER.total_seconds() - 60
    os.utime(left, (then, then))
    assert forget_history(catalog, "captions") == 1
    assert not left.exists()
    assert [row.clip_id for row in catalog.rows(CaptionRow)] == ["a"]


def test_forgetting_while_another_writes(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for index in range(3):
        catalog.append("captions", [caption(f"{index}")])
    real = SqlCatalog.commit_table
    interruptions = iter([True, False])

    def commit_table(self: SqlCatalog, *arguments: object) -> object:
        if next(interruptions, False):
            with Catalog.open(CatalogSettings(tmp_path)) as other:
                other.append("captions", [caption("other")])
        return real(self, *arguments)  # type: ignore[arg-type]  # handed on, whatever they are

    monkeypatch.setattr(SqlCatalog, "commit_table", commit_table)
    forget_history(catalog, "captions")
    found = sorted(row.clip_id for row in catalog.rows(CaptionRow))
    assert found == ["0", "1", "2", "other"]
