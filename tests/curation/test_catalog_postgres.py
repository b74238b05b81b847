"""The same catalog on a real PostgreSQL server, started for these tests from the machine's own."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, NullPool, create_engine, text
from sqlalchemy.exc import OperationalError

from curation.catalog.connection import CatalogSettings
from curation.catalog.datasets import datasets, publish_dataset, resolve
from curation.catalog.query import sql
from curation.catalog.store import Catalog
from curation.errors import CatalogError
from tests.curation.rows_for_catalog import clip, publication, source

WORDS = "correct horse"


def programs() -> Path:
    """The folder of PostgreSQL's server programs; the tests skip where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(found[-1]) if found else None)
    if initdb is None:
        pytest.skip("no PostgreSQL server programs (initdb) on this machine")
    return Path(initdb).resolve().parent


def server_user() -> str | None:
    """PostgreSQL refuses to run as root: then the user to run it as, else None for ourselves."""
    if os.geteuid() != 0:
        return None
    users = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in ("postgres", "nobody") if name in users)


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    """A server on a free port of the loopback interface, with one user and one database."""
    bin_folder, user = programs(), server_user()
    # Not pytest's folder: the server's user may not pass through its parents.
    folder = Path(tempfile.mkdtemp(prefix="tempo-postgres-", dir="/tmp"))
    try:
        (folder / "password").write_text(WORDS)
        if user:
            for path in (folder, folder / "password"):
                shutil.chown(path, user)
        subprocess.run(
            [
                *(bin_folder / "initdb", "--pgdata", folder / "data", "--auth", "scram-sha-256"),
                *("--username", "films", "--pwfile", folder / "password", "--no-sync"),
            ],
            user=user,
            cwd=folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [
                    *(bin_folder / "postgres", "-D", folder / "data", "-p", str(port), "-F"),
                    *(
                        "-c",
                        "listen_addresses=127.0.0.1",
                        "-c",
                        f"unix_socket_directories={folder}",
                    ),
                ],
                user=user,
                cwd=folder,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_for(port, folder / "log")
            yield port
        finally:
            process.send_signal(signal.SIGINT)  # PostgreSQL's fast shutdown
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


def address(port: int, database: str = "postgres") -> URL:
    return URL.create(
        "postgresql+psycopg2",
        username="films",
        password=WORDS,
        host="127.0.0.1",
        port=port,
        database=database,
    )


def execute(port: int, statement: str) -> int:
    """Run a statement as the administrator; how many rows it concerned."""
    engine = create_engine(address(port), isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:
        return connection.execute(text(statement)).rowcount


def wait_for(port: int, log: Path) -> None:
    for _ in range(200):
        try:
            execute(port, "SELECT 1")
        except OperationalError:
            time.sleep(0.1)
        else:
            return
    pytest.fail(f"the server did not start: {log.read_text()}")


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
