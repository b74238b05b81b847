"""A real PostgreSQL server for tests, from the machine's own programs."""

import contextlib
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

from tests.servers import dying_with_us

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


@contextlib.contextmanager
def postgres_server() -> Iterator[int]:
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
                dying_with_us(
                    [
                        *(str(bin_folder / "postgres"), "-D", str(folder / "data")),
                        *("-p", str(port), "-F", "-c", "listen_addresses=127.0.0.1"),
                        *("-c", f"unix_socket_directories={folder}"),
                    ]
                ),
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
