"""Where the catalog is, what happens when it is not there, and who never learns the password."""

import shutil
import socket
import traceback
from pathlib import Path

import pytest

from curation.catalog.connection import CatalogSettings
from curation.catalog.store import Catalog
from curation.errors import CatalogError
from curation.records import SourceRow
from tests.curation.rows_for_catalog import source

HIDDEN = "s3cr%40t-word"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def postgres(port: int, query: str = "") -> CatalogSettings:
    uri = f"postgresql+psycopg2://somebody:{HIDDEN}@127.0.0.1:{port}/films{query}"
    return CatalogSettings(Path("home"), uri=uri, properties={"s3.secret-access-key": HIDDEN})


def test_by_default_all_is_in_the_home(tmp_path: Path) -> None:
    home = tmp_path / "new" / "home"
    with Catalog.open(CatalogSettings(home)) as catalog:
        catalog.append("sources", [source("a")])
    assert (home / "catalog.db").is_file()
    assert list((home / "warehouse" / "tempo" / "sources" / "data").glob("*.parquet"))


@pytest.mark.parametrize("name", ["with space", "sharp#", "per%20cent", "ünï", "plus+&=;'"])
def test_homes_with_unusual_names(tmp_path: Path, name: str) -> None:
    for _ in range(2):
        with Catalog.open(CatalogSettings(tmp_path / name)) as catalog:
            catalog.append("sources", [source("a")])
            assert [row.uri for row in catalog.rows(SourceRow)] == ["a"]
    assert [entry.name for entry in tmp_path.iterdir()] == [name]


def test_a_relative_home_stays_where_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with Catalog.open(CatalogSettings(Path("home"))) as catalog:
        catalog.append("sources", [source("a")])
    monkeypatch.chdir("/")
    with Catalog.open(CatalogSettings(tmp_path / "home")) as catalog:
        assert catalog.read("sources").num_rows == 1


def test_a_question_mark_in_the_home_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        CatalogSettings(Path("what?"))


def test_passwords_are_never_shown() -> None:
    for settings in (postgres(5432), postgres(5432, f"?password={HIDDEN}&sslmode=prefer")):
        for shown in (str(settings), repr(settings), settings.shown):
            assert "cr%40t" not in shown
            assert "cr@t" not in shown
        assert "somebody:***@127.0.0.1" in str(settings)


@pytest.mark.parametrize("uri", [f"postgresql//me:{HIDDEN}@host", f"me:{HIDDEN}", ""])
def test_what_is_no_address_is_refused_without_being_shown(uri: str) -> None:
    with pytest.raises(ValueError, match="catalog uri: not an address") as caught:
        CatalogSettings(Path("home"), uri=uri)
    assert HIDDEN not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("query", ["", f"?password={HIDDEN}"])
def test_a_database_that_does_not_answer_is_named(query: str) -> None:
    port = free_port()
    with pytest.raises(CatalogError, match=f"cannot open .*:{port}.*database runs") as caught:
        Catalog.open(postgres(port, query))
    told = "".join(traceback.format_exception(caught.value))
    assert "cr%40t" not in told
    assert "cr@t" not in told


@pytest.mark.parametrize("driver", ["nonsense", "pg8000"])
def test_a_driver_that_is_not_there_is_named(driver: str) -> None:
    settings = CatalogSettings(Path("home"), uri=f"postgresql+{driver}://me@host/films")
    with pytest.raises(CatalogError, match=rf"no driver 'postgresql\+{driver}'; use sqlite or"):
        Catalog.open(settings)


@pytest.mark.parametrize("uri", ["postgresql+asyncpg://me@host/films", "sqlite+aiosqlite:///c.db"])
def test_an_asynchronous_driver_is_refused(uri: str) -> None:
    with pytest.raises(CatalogError, match="asynchronous programs; use sqlite or"):
        Catalog.open(CatalogSettings(Path("home"), uri=uri))


def test_a_database_that_was_never_tried_is_refused() -> None:
    with pytest.raises(ValueError, match="oracle is not supported; use sqlite or postgresql"):
        CatalogSettings(Path("home"), uri="oracle://scott:tiger@host/films")


def test_a_home_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")
    with pytest.raises(CatalogError, match=f"cannot open .*{tmp_path}"):
        Catalog.open(CatalogSettings(tmp_path / "home"))


def test_a_database_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text(
        "this is no database, but long enough to be looked at " * 9
    )
    with pytest.raises(CatalogError, match="file is not a database"):
        Catalog.open(CatalogSettings(tmp_path))


def test_a_warehouse_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    settings = CatalogSettings(tmp_path, warehouse=str(tmp_path / "file" / "warehouse"))
    with (
        Catalog.open(settings) as catalog,
        pytest.raises(CatalogError, match="check free space and permissions"),
    ):
        catalog.append("sources", [source("a")])


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with Catalog.open(CatalogSettings(tmp_path)) as catalog:
        catalog.append("sources", [source("a")])
        with monkeypatch.context() as patch:
            patch.setattr("pyarrow.parquet.ParquetWriter.write", full)
            with pytest.raises(CatalogError, match=r"cannot write .*No space left.*free space"):
                catalog.append("sources", [source("b")])
        assert [row.uri for row in catalog.rows(SourceRow)] == ["a"]
        assert catalog.append("sources", [source("b")]) == 1


def test_a_home_that_was_moved_says_so(tmp_path: Path) -> None:
    with Catalog.open(CatalogSettings(tmp_path / "home")) as catalog:
        catalog.append("sources", [source("a")])
    shutil.move(tmp_path / "home", tmp_path / "elsewhere")
    with (
        Catalog.open(CatalogSettings(tmp_path / "elsewhere")) as catalog,
        pytest.raises(CatalogError, match="was the home folder moved"),
    ):
        catalog.read("sources")
