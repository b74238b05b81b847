"""Rows of the catalog: appended exactly once, read, deleted.

Iceberg's own commit retry would append a batch again after another writer's batch landed, even if
the two hold the same rows. So every attempt here looks first which rows are stored, and commits
only if nothing landed in between. The trade-off: a batch that was overtaken is written anew, so
appends should be few and large (one committer per step).
"""

import uuid
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import pyarrow as pa
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    CommitStateUnknownException,
    ValidationException,
)
from pyiceberg.table import Table
from sqlalchemy.exc import SQLAlchemyError

from curation.catalog import tables
from curation.catalog.connection import (
    ATTEMPTS,
    NAMESPACE,
    CatalogSettings,
    backoff,
    connect,
    explained,
    is_refused,
)
from curation.catalog.keys import first_of_each, matching
from curation.catalog.reading import (
    Where,
    any_key,
    condition,
    near,
    stored_rows,
    together,
    visible_rows,
)
from curation.catalog.schema import TABLES, TableSpec, table_spec
from curation.errors import CatalogError

Row = TypeVar("Row")

COMMIT_MARK = "tempo.commit"
"""Snapshot property that tells our own commit among others when its outcome was unknown."""


class Catalog:
    """All tables of one home, for one process.

    Make it with `Catalog.open`; use it as a context manager, or `close` it. Threads may share it.
    Do not carry it over a fork or into another process: open it there anew.
    """

    def __init__(self, settings: CatalogSettings, iceberg: SqlCatalog) -> None:
        self.settings = settings
        self.iceberg = iceberg
        """PyIceberg's own catalog, for what this class does not offer."""
        self._evolved: set[str] = set()

    @classmethod
    def open(cls, settings: CatalogSettings) -> Self:
        """Connect; what is missing (database, namespace, a table when first used) is made.

        Raises:
            CatalogError: unreachable, with what to check.
        """
        return cls(settings, connect(settings))

    def close(self) -> None:
        """Give the database connections back."""
        self.iceberg.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def table(self, name: str) -> Table:
        """The Iceberg table in its present state, made or given its new columns if need be.

        Raises:
            ValueError: there is no table of that name.
            CatalogError: unreachable, or its columns contradict the row dataclass.
        """
        spec = table_spec(name)
        with explained(self.settings, "read"):
            table = tables.load(self.iceberg, spec)
            if name not in self._evolved:
                table = tables.evolve(self.iceberg, spec, table)
                self._evolved.add(name)
            return table

    def append(self, name: str, rows: Sequence[Any] | pa.Table) -> int:
        """Add the rows that are not stored yet, in one commit.

        A row is stored already when one with the same key is (`TableSpec.key`); it is then
        skipped, whatever its other columns say. Where newer rows supersede
        (`TableSpec.supersedes`: ``sources``, ``videos`` …) a row is skipped only when one with the
        same key and the same ``recorded_at`` is stored, and reads show the newest. So an append may
        be repeated, by two processes at once or after a commit whose outcome was unknown, and adds
        nothing twice.

        A commit costs tens of milliseconds however few the rows: append thousands at a time.

        Args:
            name: the table.
            rows: row dataclasses, or an Arrow table with the same columns.

        Returns:
            How many rows were added.

        Raises:
            ValueError: rows that do not fit the table.
            CatalogError: the catalog is unreachable, full, or too contended.
        """
        spec = table_spec(name)
        batch = first_of_each(spec.to_arrow(rows), spec.identity)
        if batch.num_rows == 0:
            return 0

        def add(table: Table, properties: dict[str, str]) -> int:
            unseen = _unseen(spec, table, batch)
            if unseen.num_rows:
                table.append(unseen, snapshot_properties=properties)
            return int(unseen.num_rows)

        return self.commit(name, add)

    def delete_rows(self, name: str, where: Where, *, hidden: bool = False) -> int:
        """Remove rows, as a takedown does, in one commit.

        In a table whose newer rows supersede, the visible rows decide, and the older ones with the
        same key go with them; or, when `hidden`, each stored row is judged by itself. Earlier
        snapshots keep the rows.

        Returns:
            How many stored rows were removed.

        Raises:
            ValueError: a filter that does not fit the table.
            CatalogError: the catalog is unreachable, full, or too contended.
        """
        spec = table_spec(name)
        wanted = condition(spec, where)

        def remove(table: Table, properties: dict[str, str]) -> int:
            doomed = wanted
            if spec.supersedes and not hidden:
                visible = visible_rows(spec, table, wanted, spec.key)
                doomed = any_key(together(spec, visible, spec.key))
            stored = stored_rows(spec, table, doomed, spec.key)
            count: int = sum(piece.num_rows for piece in stored)
            if count:
                table.delete(doomed, snapshot_properties=properties)
            return count

        return self.commit(name, remove)

    def read(
        self,
        name: str,
        where: Where | None = None,
        columns: Sequence[str] | None = None,
        *,
        snapshot: int | None = None,
    ) -> pa.Table:
        """The rows of a table, in no particular order.

        Files, row groups and columns that are not needed are not read. The result is held in
        memory whole: name the columns, or use `batches`, for millions of rows.

        Args:
            name: the table.
            where: which rows; all when None.
            columns: which columns, in this order; all when None.
            snapshot: the id of an earlier state (`snapshots`, or a dataset's record).

        Raises:
            ValueError: no such table or column.
            CatalogError: unreachable, or the snapshot is not there.
        """
        spec = table_spec(name)
        chosen = spec.columns(columns)
        return together(spec, self.batches(name, where, chosen, snapshot=snapshot), chosen)

    def batches(
        self,
        name: str,
        where: Where | None = None,
        columns: Sequence[str] | None = None,
        *,
        snapshot: int | None = None,
    ) -> Iterator[pa.Table]:
        """As `read`, in pieces: no more than `FILES_AT_ONCE` data files' worth is held.

        Where newer rows supersede older ones, the keys of the whole table are held besides.
        """
        spec = table_spec(name)
        chosen = spec.columns(columns)
        wanted = condition(spec, where)
        with explained(self.settings, "read"):
            yield from visible_rows(spec, self.table(name), wanted, chosen, snapshot)

    def rows(self, row_type: type[Row], where: Where | None = None) -> list[Row]:
        """The rows of a table as its dataclass, e.g. ``rows(VideoRow, {"status": "ok"})``."""
        names = [name for name, spec in TABLES.items() if spec.row_type is row_type]
        if not names:
            raise ValueError(f"{row_type.__name__} is not a row of the catalog")
        return [row_type(**row) for row in self.read(names[0], where).to_pylist()]

    def holds(self, name: str, where: Where) -> bool:
        """Whether a row is stored, be it one that a newer row with the same key hides."""
        spec = table_spec(name)
        with explained(self.settings, "read"):
            stored = stored_rows(spec, self.table(name), condition(spec, where), spec.key)
            return any(piece.num_rows for piece in stored)

    def snapshots(self) -> dict[str, int]:
        """The current snapshot id of each table that was ever written to."""
        with explained(self.settings, "read"):
            made = {identifier[-1] for identifier in self.iceberg.list_tables(NAMESPACE)}
            current = {
                name: self.iceberg.load_table((NAMESPACE, name)).current_snapshot()
                for name in TABLES
                if name in made
            }
        return {name: snapshot.snapshot_id for name, snapshot in current.items() if snapshot}

    def commit(self, name: str, change: Callable[[Table, dict[str, str]], int]) -> int:
        """Apply a change to the newest state of a table, anew whenever others were quicker.

        Args:
            name: the table.
            change: is given the table, freshly loaded, and snapshot properties to pass on; makes
                at most one commit, which fails if the table has moved; says how many rows it
                added or removed.

        Returns:
            What `change` said the time it landed.

        Raises:
            CatalogError: unreachable, or overtaken `ATTEMPTS` times.
        """
        mark = uuid.uuid4().hex
        with explained(self.settings, "write"):
            for attempt in backoff(ATTEMPTS):
                table = self.table(name)
                if attempt > 1 and (landed := _landed_rows(table, mark)) is not None:
                    return landed
                try:
                    return change(tables.without_retry(table), {COMMIT_MARK: mark})
                except (CommitFailedException, ValidationException):
                    continue  # another writer was quicker; nothing of ours landed
                except (CommitStateUnknownException, SQLAlchemyError) as error:
                    if attempt == ATTEMPTS or is_refused(error):
                        raise
        raise CatalogError(
            f"table {name}: other writers were quicker {ATTEMPTS} times in a row; let fewer "
            "processes append at once, in larger batches"
        )


def _unseen(spec: TableSpec, table: Table, batch: pa.Table) -> pa.Table:
    """The rows of a batch that are not stored; of the table only the identity is read."""
    for stored in stored_rows(spec, table, near(batch, spec.identity), spec.identity):
        batch = matching(batch, stored, spec.identity, present=False)
        if batch.num_rows == 0:
            break
    return batch


def _landed_rows(table: Table, mark: str) -> int | None:
    """How many rows the commit with this mark added or removed; None if it did not land."""
    ours = [
        snapshot.summary.additional_properties
        for snapshot in table.snapshots()
        if snapshot.summary and snapshot.summary.additional_properties.get(COMMIT_MARK) == mark
    ]
    if not ours:
        return None
    added = sum(int(summary.get("added-records", "0")) for summary in ours)
    return abs(added - sum(int(summary.get("deleted-records", "0")) for summary in ours))
