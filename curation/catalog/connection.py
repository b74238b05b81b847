"""Where the catalog lives, and how it is reached.

One class of catalog, PyIceberg's `SqlCatalog`, on SQLite beside its warehouse (a laptop) or on
PostgreSQL with the warehouse in an object store (production). The trade-off of the first: Iceberg
stores absolute paths, so a home folder cannot be moved once it holds a catalog.
"""

import contextlib
import dataclasses
import random
import sqlite3
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import NamespaceAlreadyExistsError
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError

from curation.errors import CatalogError

CATALOG_NAME = "tempo"
NAMESPACE = "tempo"

ATTEMPTS = 40
"""Tries of a commit that others keep overtaking: about a minute of waiting in all."""

_SECRET_QUERY = ("password", "sslpassword", "passfile")
_REFUSALS = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_READONLY)
_POSTGRES_DISK_FULL = "53100"
# Seconds: SQLite waits for a lock, PostgreSQL's driver for a connection (for ever by default).
_TIME_LIMITS = {"sqlite": {"timeout": "60"}, "postgresql": {"connect_timeout": "10"}}


@dataclasses.dataclass(frozen=True)
class CatalogSettings:
    """Where the catalog and its files live.

    Attributes:
        home: the home folder.
        uri: SQLAlchemy address, e.g. ``postgresql+psycopg2://user:password@host/database``; None
            is ``catalog.db`` (SQLite) in the home folder.
        warehouse: folder or ``s3://bucket/prefix`` for the tables' files; None is ``warehouse/``
            in the home folder.
        properties: further properties of PyIceberg's catalog, e.g. ``s3.endpoint``.
    """

    home: Path
    uri: str | None = dataclasses.field(default=None, repr=False)
    warehouse: str | None = None
    properties: Mapping[str, str] = dataclasses.field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.uri is None:
            if "?" in str(self.home):
                raise ValueError(f"home {self.home}: SQLite's address cannot hold '?'; rename it")
            return
        try:
            backend = make_url(self.uri).get_backend_name()
        except (ArgumentError, ValueError) as error:
            raise ValueError(
                "catalog uri: not an address (not shown, it may hold a password); write it as "
                "postgresql+psycopg2://user:password@host/database or sqlite:////folder/catalog.db"
            ) from error
        if backend not in ("sqlite", "postgresql"):
            raise ValueError(f"catalog uri: {backend} is not supported; use sqlite or postgresql")

    @property
    def url(self) -> URL:
        """The address to connect to, with time limits where none were given."""
        if self.uri is None:
            path = str((self.home / "catalog.db").absolute())
            url = URL.create("sqlite", database=path)
        else:
            url = make_url(self.uri)
        limits = _TIME_LIMITS[url.get_backend_name()]
        return url.update_query_dict(limits | dict(url.query))

    @property
    def location(self) -> str:
        """The warehouse's address."""
        return self.warehouse or str((self.home / "warehouse").absolute())

    @property
    def shown(self) -> str:
        """The address without passwords: for messages."""
        url = self.url
        secrets = [name for name in _SECRET_QUERY if name in url.query]
        return url.difference_update_query(secrets).render_as_string(hide_password=True)

    def __str__(self) -> str:
        return f"catalog {self.shown} with warehouse {self.location}"


def connect(settings: CatalogSettings) -> SqlCatalog:
    """Open the catalog's database, with its tables and the namespace made where missing.

    Raises:
        CatalogError: the database or the warehouse cannot be reached.
    """
    with explained(settings, "open"):
        if settings.url.get_dialect().is_async:
            raise CatalogError(
                f"cannot open {settings}: {settings.url.drivername!r} is for asynchronous "
                "programs; use sqlite or postgresql+psycopg2"
            )
        if settings.url.get_backend_name() == "sqlite" and settings.url.database:
            Path(settings.url.database).parent.mkdir(parents=True, exist_ok=True)
        return _connect(settings)


def _connect(settings: CatalogSettings) -> SqlCatalog:
    """Two processes may make the tables at once: the one that loses finds them on its next try."""
    properties = {
        **settings.properties,
        "uri": settings.url.render_as_string(hide_password=False),
        "warehouse": settings.location,
        "pool_pre_ping": "true",
        "py-io-impl": "pyiceberg.io.pyarrow.PyArrowFileIO",
    }
    for attempt in backoff(ATTEMPTS):
        try:
            catalog = SqlCatalog(CATALOG_NAME, **properties)
            catalog.create_namespace_if_not_exists(NAMESPACE)
        except (NamespaceAlreadyExistsError, SQLAlchemyError) as error:
            if attempt == ATTEMPTS or not _lost_a_race(error):
                raise
        else:
            return catalog
    raise AssertionError("the last attempt returns or raises")


def _lost_a_race(error: Exception) -> bool:
    return "already exists" in str(error) or "UNIQUE constraint" in str(error)


@contextlib.contextmanager
def explained(settings: CatalogSettings, doing: str) -> Iterator[None]:
    """Turn what databases and file systems raise into a `CatalogError` with a remedy."""
    try:
        yield
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise CatalogError(
            f"cannot {doing} {settings}: there is no driver {settings.url.drivername!r}; use "
            "sqlite or postgresql+psycopg2"
        ) from error
    except SQLAlchemyError as error:
        remedy = (
            "check free space and permissions"
            if is_refused(error)
            else "check that the database runs, is reachable from here and lets this user in"
        )
        raise CatalogError(f"cannot {doing} {settings}: {_first_line(error)}; {remedy}") from error
    except FileNotFoundError as error:
        raise CatalogError(
            f"cannot {doing} {settings}: {error}; a file of the catalog is gone: was the home "
            "folder moved or cleaned? Put it back where it was made"
        ) from error
    except (OSError, pa.ArrowException) as error:
        raise CatalogError(
            f"cannot {doing} {settings}: {error}; check free space and permissions"
        ) from error


def is_refused(error: Exception) -> bool:
    """Whether a database says that its disk is full or not to be written to: trying is no use."""
    cause = getattr(error, "orig", None)
    kind = getattr(cause, "sqlite_errorcode", 0) & 0xFF  # the other bytes are details
    return kind in _REFUSALS or getattr(cause, "pgcode", None) == _POSTGRES_DISK_FULL


def _first_line(error: SQLAlchemyError) -> str:
    return str(getattr(error, "orig", None) or error).strip().split("\n")[0]


def backoff(attempts: int) -> Iterator[int]:
    """Count attempts from 1, sleeping in between: 50 ms, doubled up to 1.5 s, with jitter."""
    for attempt in range(1, attempts + 1):
        yield attempt
        time.sleep(min(0.05 * 2 ** (attempt - 1), 1.5) * random.uniform(0.5, 1.5))  # noqa: S311 - spreads writers, hides nothing
