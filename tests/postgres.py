"""A real PostgreSQL server for tests, from the machine's own programs."""

import contextlib
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

from flows import postgres
from flows.errors import StackError
from tests.servers import dying_with_us

USER, WORDS = "films", "correct horse"


@contextlib.contextmanager
def postgres_server() -> Iterator[int]:
    """A server on a free port of the loopback interface, with one user and one database."""
    # Not pytest's folder: the server's user may not pass through its parents.
    folder = Path(tempfile.mkdtemp(prefix="tempo-postgres-", dir="/tmp"))
    folder.chmod(0o711)
    try:
        try:
            postgres.make_cluster(folder / "postgres", USER, WORDS, folder / "log", "--no-sync")
        except StackError as error:
            if "no PostgreSQL server programs" in str(error):
                pytest.skip(str(error))
            raise
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
        command = postgres.server_command(folder / "postgres", port, "fsync=off")
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(
                dying_with_us(command),
                user=postgres.server_user(),
                cwd=folder / "postgres",
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
        username=USER,
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
