"""Dataset versions: numbered without gaps, published once, found by name, whole or not at all."""

import dataclasses
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pyiceberg.table import Table

from curation.catalog.connection import CatalogSettings
from curation.catalog.datasets import check_name, datasets, publish_dataset, resolve
from curation.catalog.store import Catalog
from curation.errors import DatasetError
from curation.records import DatasetRow
from tests.curation.rows_for_catalog import clip, publication


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(CatalogSettings(tmp_path)) as opened:
        yield opened


def publish(catalog: Catalog, name: str, publish_id: str) -> DatasetRow:
    return publish_dataset(catalog, *publication(name, publish_id))


def test_versions_count_from_one_for_each_dataset(catalog: Catalog) -> None:
    assert publish(catalog, "films", "p1").version == 1
    assert publish(catalog, "films", "p2").version == 2
    assert publish(catalog, "demo", "p3").version == 1
    assert [(row.name, row.version, row.publish_id) for row in datasets(catalog)] == [
        ("demo", 1, "p3"),
        ("films", 1, "p1"),
        ("films", 2, "p2"),
    ]


def test_publishing_again_gives_the_same_version(catalog: Catalog) -> None:
    first = publish(catalog, "films", "p1")
    publish(catalog, "films", "p2")
    assert publish(catalog, "films", "p1") == first
    assert len(datasets(catalog)) == 2
    assert catalog.read("samples").num_rows == 4


def test_a_publisher_that_died_before_the_commit_point_goes_on(catalog: Catalog) -> None:
    row, samples, shards = publication("films", "p1")
    catalog.append("samples", samples)
    catalog.append("shards", shards)
    assert datasets(catalog) == []
    assert publish_dataset(catalog, row, samples, shards).version == 1
    assert catalog.read("samples").num_rows == 2


def test_files_are_placed_before_the_version_is_seen(catalog: Catalog) -> None:
    placed = []

    def place(version: int) -> str:
        placed.append((version, len(datasets(catalog))))
        return f"datasets/films/{version}/manifest.json"

    publish(catalog, "films", "p1")
    version = publish_dataset(catalog, *publication("films", "p2"), place)
    assert placed == [(2, 1)]
    assert version.manifest_uri == resolve(catalog, "films").manifest_uri
    assert version.manifest_uri == "datasets/films/2/manifest.json"
    assert publish_dataset(catalog, *publication("films", "p2"), place) == version
    assert placed == [(2, 1)]


def test_files_are_placed_anew_when_another_publisher_was_quicker(
    catalog: Catalog, tmp_path: Path
) -> None:
    placed = []

    def place(version: int) -> str:
        placed.append(version)
        if version == 1:
            with Catalog.open(CatalogSettings(tmp_path)) as other:
                assert publish(other, "films", "theirs").version == 1
        return f"datasets/films/{version}/manifest.json"

    ours = publish_dataset(catalog, *publication("films", "ours"), place)
    assert (ours.version, ours.manifest_uri) == (2, "datasets/films/2/manifest.json")
    assert placed == [1, 2]
    assert [row.publish_id for row in datasets(catalog)] == ["theirs", "ours"]


def test_references(catalog: Catalog) -> None:
    for index in range(1, 4):
        publish(catalog, "films", f"p{index}")
    assert resolve(catalog, "films").version == 3
    assert resolve(catalog, "films@latest").version == 3
    assert resolve(catalog, "films@2").publish_id == "p2"


def test_a_reference_to_nothing_lists_what_there_is(catalog: Catalog) -> None:
    with pytest.raises(DatasetError, match="no dataset 'films'; published: none yet"):
        resolve(catalog, "films")
    publish(catalog, "films", "p1")
    publish(catalog, "demo", "p2")
    for reference in ("film", "films@2", "films@0", "films@01", "films@newest", "films@1@2", ""):
        with pytest.raises(DatasetError, match=r"published: demo@1, films@1$"):
            resolve(catalog, reference)


def test_a_version_remembers_what_it_was_made_from(catalog: Catalog) -> None:
    catalog.append("clips", [clip("a")])
    version = publish(catalog, "films", "p1")
    catalog.append("clips", [clip("b")])
    snapshots = json.loads(version.snapshots)
    assert list(snapshots) == ["clips", "samples", "shards"]
    then = catalog.read("clips", snapshot=snapshots["clips"])
    assert then["clip_id"].to_pylist() == ["a"]
    by_tag = catalog.table("clips").scan().use_ref("films@1").to_arrow()
    assert by_tag["clip_id"].to_pylist() == ["a"]


def test_a_version_whose_publisher_was_killed_before_its_tags_gets_them_from_the_next(
    catalog: Catalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog.append("clips", [clip("a")])
    commit = catalog.commit

    def killed(name: str, change: Callable[[Table, dict[str, str]], int]) -> int:
        if name == "clips":
            raise KeyboardInterrupt
        return commit(name, change)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(catalog, "commit", killed)
        publish(catalog, "films", "p1")
    assert resolve(catalog, "films").version == 1
    assert "films@1" not in catalog.table("clips").refs()
    catalog.append("clips", [clip("b")])
    publish(catalog, "demo", "p2")
    by_tag = catalog.table("clips").scan().use_ref("films@1").to_arrow()
    assert by_tag["clip_id"].to_pylist() == ["a"]


def test_a_version_that_is_not_whole_is_not_published(catalog: Catalog) -> None:
    row, samples, shards = publication("films", "p1")
    with pytest.raises(DatasetError, match="p1 holds 1 samples, and the version is to have 2"):
        publish_dataset(catalog, row, samples[:1], shards)
    row, samples, _ = publication("films", "p2")
    with pytest.raises(DatasetError, match="p2 holds 0 shards, and the version is to have 1"):
        publish_dataset(catalog, row, samples, shards)
    row, samples, shards = publication("films", "p3")
    with pytest.raises(DatasetError, match="p3 holds 2 samples, and the version is to have 1"):
        publish_dataset(catalog, dataclasses.replace(row, samples=1), samples, shards)
    assert datasets(catalog) == []


def test_a_publish_id_belongs_to_one_dataset(catalog: Catalog) -> None:
    publish(catalog, "films", "p1")
    with pytest.raises(DatasetError, match="p1 is films@1 already"):
        publish(catalog, "demo", "p1")


@pytest.mark.parametrize("name", ["", "a@1", "a/b", "..", "-a", "a b", "é", "a" * 129, "a\n"])
def test_names_that_could_not_be_told_apart_are_refused(catalog: Catalog, name: str) -> None:
    with pytest.raises(ValueError, match="dataset name"):
        publish(catalog, name, "p1")
    assert catalog.snapshots() == {}


@pytest.mark.parametrize("name", ["films", "a", "0", "Films_2.1-beta", "a" * 128])
def test_names(name: str) -> None:
    check_name(name)
