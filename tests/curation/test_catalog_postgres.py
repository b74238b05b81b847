"""The same catalog on a real PostgreSQL server, started for these tests from the machine's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from curation.catalog.connection import CatalogSettings
from curation.catalog.datasets import datasets, publish_dataset, resolve
from curation.catalog.query import sql
from curation.catalog.store import Catalog
from curation.errors import CatalogError
from tests.curation.rows_for_catalog import clip, publication, source
from tests.postgres import address, execute, postgres_server


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with postgres_server() as port:
        yield port


@pytest.fixture
def settings(server: int, tmp_path: Path) -> CatalogSettings:
    """A database of its own for each test."""
    name = f"catalog_{tmp_path.name}".lower()[:60]
    execute(server, f'CREATE DATABASE "{name}"')
    uri = address(server, name).render_as_string(hide_password=False)
    return CatalogSettings(tmp_path, uri=uri)


def test_rows_and_versions(settings: CatalogSettings, tmp_path: Path) -> None:
    for turn in range(2):
        with Catalog.open(settings) as catalog:
            assert catalog.append("clips", [clip("a"), clip(f"{turn}")]) == 2 - turn
            assert publish_dataset(catalog, *publication("films", f"p{turn}")).version == turn + 1
    with Catalog.open(settings) as catalog:
        assert sorted(catalog.read("clips")["clip_id"].to_pylist()) == ["0", "1", "a"]
        assert sql(catalog, "SELECT count(*) AS n FROM clips")["n"].to_pylist() == [3]
        assert catalog.delete_rows("clips", {"clip_id": ["0", "1"]}) == 2
        assert resolve(catalog, "films@1").publish_id == "p0"
    assert not (tmp_path / "catalog.db").exists()


def test_two_publishers_get_different_numbers(settings: CatalogSettings) -> None:
    def place(version: int) -> str:
        if version == 1:
            publish_dataset(other, *publication("films", "theirs"))
        return f"{version}"

    with Catalog.open(settings) as ours, Catalog.open(settings) as other:
        assert publish_dataset(ours, *publication("films", "ours"), place).version == 2
        assert [(row.version, row.publish_id) for row in datasets(ours)] == [
            (1, "theirs"),
            (2, "ours"),
        ]


def test_a_connection_that_the_server_dropped_is_made_anew(
    settings: CatalogSettings, server: int
) -> None:
    with Catalog.open(settings) as catalog:
        catalog.append("sources", [source("a")])
        dropped = execute(
            server,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND datname LIKE 'catalog_%'",
        )
        assert dropped > 0
        assert catalog.append("sources", [source("b")]) == 1
        assert catalog.read("sources").num_rows == 2


def test_a_wrong_password_is_refused_and_not_told(settings: CatalogSettings) -> None:
    assert settings.uri
    wrong = CatalogSettings(settings.home, uri=settings.uri.replace("horse", "donkey"))
    with pytest.raises(
        CatalogError, match=r"password authentication failed.*lets this user"
    ) as caught:
        Catalog.open(wrong)
    error: BaseException | None = caught.value
    while error:
        assert "donkey" not in str(error)
        error = error.__cause__
