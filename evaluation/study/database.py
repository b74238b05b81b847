"""The database of a study, SQLite or PostgreSQL: reached, made, read and written to.

A commit has reached the disk when it returns. Which rows there are is `storage`'s business, and
that none is changed later is `tables`'. The price of one code for both databases is that only what
both can do is used.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, IntegrityError, NoSuchModuleError, SQLAlchemyError

from evaluation.errors import StudyError
from evaluation.study.tables import METADATA

_STARTS = 5


class Database:
    """A database with the study's tables, which are made if they are missing.

    Args:
        url: SQLAlchemy address.

    Raises:
        StudyError: it cannot be reached.
        ValueError: the address is of another kind of database, or none.
    """

    def __init__(self, url: str) -> None:
        self._engine = _engine(url)
        with self._explained():
            self._make_tables()

    def _make_tables(self) -> None:
        """Make what is missing; of two servers that start together, one finds the other's."""
        for attempt in range(_STARTS):
            try:
                METADATA.create_all(self._engine)
            except SQLAlchemyError as error:
                if attempt == _STARTS - 1 or not _lost_a_race(error):
                    raise
                time.sleep(0.2)
            else:
                return

    def close(self) -> None:
        """Let go of it."""
        self._engine.dispose()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """Lend a connection.

        Raises:
            StudyError: it cannot be reached.
        """
        with self._explained(), self._engine.connect() as connection:
            yield connection

    @contextlib.contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """Lend a connection, and commit what was done with it.

        Raises:
            IntegrityError: a row of that key is there.
            StudyError: it cannot be reached or written to.
        """
        with self._explained(), self._engine.begin() as connection:
            yield connection

    def add(self, statement: sa.Insert) -> None:
        """Insert a row, unless it is there."""
        with contextlib.suppress(IntegrityError), self.writing() as connection:
            connection.execute(statement)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what databases raise into a `StudyError` that shows no password."""
        try:
            yield
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            cause = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
            shown = self._engine.url.render_as_string(hide_password=True)
            raise StudyError(
                f"the study's database {shown}: {cause}; check that it runs, that this user may "
                "write to it and that its disk has room"
            ) from error


def sqlite_url(folder: Path) -> str:
    """The database that lies beside the study file."""
    path = str((folder / "study.db").absolute())
    return sa.URL.create("sqlite", database=path).render_as_string(hide_password=False)


def _engine(url: str) -> sa.Engine:
    try:
        address = sa.make_url(url)
        if address.get_backend_name() not in ("sqlite", "postgresql"):
            raise ValueError(
                f"database: {address.get_backend_name()} is not supported; use sqlite or "
                "postgresql+psycopg2"
            )
        if address.get_dialect().is_async:
            raise ValueError(
                f"database: {address.drivername} is for asynchronous programs; use sqlite or "
                "postgresql+psycopg2"
            )
        limits: dict[str, Any] = {"connect_timeout": 10}
        if address.get_backend_name() == "sqlite":
            limits = {"timeout": 30}
        engine = sa.create_engine(address, pool_pre_ping=True, connect_args=limits)
    except (ArgumentError, NoSuchModuleError, ModuleNotFoundError) as error:
        raise ValueError(
            "database: not an address that can be used (not shown, it may hold a password); write "
            "it as postgresql+psycopg2://user:password@host/database"
        ) from error
    if address.get_backend_name() == "sqlite":
        sa.event.listen(engine, "connect", _durable)
    return engine


def _durable(connection: Any, _: object) -> None:  # noqa: ANN401 - the driver's own connection
    """Readers beside one writer, and a commit that has reached the disk when it returns."""
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _lost_a_race(error: SQLAlchemyError) -> bool:
    words = str(error)
    return any(sign in words for sign in ("already exists", "concurrently updated", "pg_type"))
