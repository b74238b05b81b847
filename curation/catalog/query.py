"""SQL over the catalog, without a way out of it.

DuckDB runs in memory over the tables' Parquet files, which Arrow reads for it: so only the columns
that a query uses are read, and DuckDB itself needs no access to files, and gets none. The
trade-off: it sees Arrow streams, not Iceberg's statistics, so a query over hundreds of millions
of rows reads its columns whole.
"""

import re

import duckdb
import pyarrow as pa
import pyarrow.dataset as ds
from pyiceberg.table import Table

from curation.catalog.connection import explained
from curation.catalog.schema import RECORDED_AT, TABLES, TableSpec
from curation.catalog.store import Catalog
from curation.catalog.tables import data_files_system
from curation.errors import CatalogError

_CONFIG: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": False,  # a name in a query is never a Python variable
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
    "allow_community_extensions": False,
    "temp_directory": "",  # no spilling: the default is a folder in the working directory
}

_HISTORY = "_history"


def sql(catalog: Catalog, query: str) -> pa.Table:
    """Answer one SELECT (or EXPLAIN, DESCRIBE, SHOW TABLES, SUMMARIZE) in DuckDB's dialect.

    The tables are those of `TABLES`; where newer rows supersede (``sources``, ``videos`` …) only
    the newest of each key is seen, in ``sources_history`` and so on the older ones too. The answer,
    and what a sort or a join needs, must fit in memory.

    Raises:
        CatalogError: the query is wrong, or asks for what is not allowed, in DuckDB's words.
    """
    with duckdb.connect(":memory:", config=_CONFIG) as connection:
        # No files, no network, no ATTACH, no COPY. Not in `_CONFIG`: there it may come before
        # temp_directory, which may then not be set any more (seen when decord was loaded first).
        connection.execute("SET enable_external_access = false")
        try:
            for name in _tables_of(connection, query):
                _show(connection, catalog.table(name), TABLES[name])
            connection.execute("SET lock_configuration = true")
            with explained(catalog.settings, "read"):
                return connection.sql(query).to_arrow_table()
        except duckdb.Error as error:
            raise CatalogError(f"sql: {error}") from error


def _tables_of(connection: duckdb.DuckDBPyConnection, query: str) -> list[str]:
    """Names of the catalog's tables in a query, which must be a single reading statement."""
    statements = connection.extract_statements(query)
    if len(statements) != 1:
        raise CatalogError(f"sql: give one statement, not {len(statements)}")
    if statements[0].type not in (duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN):
        raise CatalogError(
            f"sql: {statements[0].type.name} is refused; only SELECT reads the catalog"
        )
    # Words, wherever they stand: naming a table too many only costs opening it, while DuckDB's own
    # get_table_names has to bind the query, which it cannot without the tables.
    named = {word.removesuffix(_HISTORY) for word in re.findall(r"\w+", query.lower())}
    # A query without names may still ask for the tables: SHOW TABLES.
    return [name for name in TABLES if name in named or not named & TABLES.keys()]


def _show(connection: duckdb.DuckDBPyConnection, table: Table, spec: TableSpec) -> None:
    """Make a table visible to DuckDB under its name, with only its newest rows."""
    files = _files(table, spec)
    if not spec.supersedes:
        connection.register(spec.name, files)
        return
    connection.register(f"{spec.name}{_HISTORY}", files)
    newest = f"row_number() OVER (PARTITION BY {', '.join(spec.key)} ORDER BY {RECORDED_AT} DESC)"
    connection.execute(
        f"CREATE VIEW {spec.name} AS FROM {spec.name}{_HISTORY} QUALIFY {newest} = 1"
    )


def _files(table: Table, spec: TableSpec) -> ds.Dataset:
    """The table's current data files as an Arrow dataset; one without files has its columns too.

    A column that is younger than a file is null in it: Arrow matches columns by name, and tables
    only ever gain columns (`curation.catalog.tables`).
    """
    tasks = list(table.scan().plan_files())
    if any(task.delete_files for task in tasks):
        raise CatalogError(
            f"table {spec.name} holds row-level deletes that another engine wrote; rewrite its "
            "data files with that engine first"
        )
    if not tasks:
        return ds.dataset(spec.arrow_schema.empty_table())
    system, path_of = data_files_system(table)
    return ds.dataset(
        [path_of(task.file.file_path) for task in tasks],
        schema=spec.arrow_schema,
        filesystem=system,
        format="parquet",
    )
