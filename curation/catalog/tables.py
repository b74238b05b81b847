"""How a table comes to be and keeps up with its dataclass.

Tables are made when first used and gain the columns that their dataclass gained; nothing else
about a stored column ever changes, so that old data files stay readable as they are.
"""

from collections.abc import Callable, Mapping

from pyarrow.fs import FileSystem
from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.exceptions import (
    CommitFailedException,
    NoSuchTableError,
    TableAlreadyExistsError,
)
from pyiceberg.io.pyarrow import PyArrowFileIO
from pyiceberg.table import Table, TableProperties
from pyiceberg.types import NestedField

from curation.catalog.connection import ATTEMPTS, NAMESPACE, backoff
from curation.catalog.schema import TableSpec
from curation.errors import CatalogError

_PROPERTIES: Mapping[str, str] = {
    TableProperties.FORMAT_VERSION: "2",
    # For other writers than `curation.catalog.store`: of 8 processes appending 10 times each, the
    # default of 4 retries lost 6 appends, 30 lost none.
    TableProperties.COMMIT_NUM_RETRIES: "30",
    TableProperties.COMMIT_MIN_RETRY_WAIT_MS: "50",
    TableProperties.COMMIT_MAX_RETRY_WAIT_MS: "1500",
    # A metadata file is written per commit; old ones only serve readers that are slower than the
    # next fifty commits. Snapshots, and so time travel, do not depend on them.
    TableProperties.METADATA_DELETE_AFTER_COMMIT_ENABLED: "true",
    TableProperties.METADATA_PREVIOUS_VERSIONS_MAX: "50",
    # One manifest per append otherwise, each opened by every read.
    TableProperties.MANIFEST_MERGE_ENABLED: "true",
    TableProperties.WRITE_TARGET_FILE_SIZE_BYTES: str(128 * 1024 * 1024),
}

# Two publishers must never both win: a conflicting commit has to fail, whoever makes it.
_OWN_PROPERTIES: Mapping[str, Mapping[str, str]] = {
    "datasets": {TableProperties.COMMIT_NUM_RETRIES: "0"}
}


def load(iceberg: SqlCatalog, spec: TableSpec) -> Table:
    """The table in its present state, made if it is missing."""
    try:
        return iceberg.load_table((NAMESPACE, spec.name))
    except NoSuchTableError:
        return _create(iceberg, spec)


def _create(iceberg: SqlCatalog, spec: TableSpec) -> Table:
    identifier = (NAMESPACE, spec.name)
    try:
        return iceberg.create_table(
            identifier,
            schema=spec.iceberg_schema,
            partition_spec=spec.partition_spec,
            properties={**_PROPERTIES, **_OWN_PROPERTIES.get(spec.name, {})},
        )
    except TableAlreadyExistsError:  # another process made it in the meantime
        return iceberg.load_table(identifier)


def evolve(iceberg: SqlCatalog, spec: TableSpec, table: Table) -> Table:
    """Give an older table the nullable columns that its dataclass gained since.

    Raises:
        CatalogError: the stored columns contradict the dataclass.
    """
    for _ in backoff(ATTEMPTS):
        missing = _missing_columns(spec, table)
        if not missing:
            return table
        try:
            with table.update_schema() as update:
                for field in missing:
                    update.add_column(field.name, field.field_type)
        except CommitFailedException:
            pass  # overtaken: look again what is missing
        table = iceberg.load_table((NAMESPACE, spec.name))
    raise CatalogError(f"table {spec.name}: others keep writing; add its columns when they rest")


def _missing_columns(spec: TableSpec, table: Table) -> list[NestedField]:
    stored = {field.name: field for field in table.schema().fields}
    missing = []
    for field in spec.iceberg_schema.fields:
        if field.name in stored:
            _check_same(spec, stored[field.name], field)
        elif field.required:
            raise CatalogError(
                f"table {spec.name} was made without {field.name}, which "
                f"{spec.row_type.__name__} requires; declare it `| None`, or use a new home"
            )
        else:
            missing.append(field)
    return missing


def _check_same(spec: TableSpec, stored: NestedField, declared: NestedField) -> None:
    if _kind(stored) != _kind(declared):
        raise CatalogError(
            f"{spec.name}.{stored.name} is stored as {' '.join(_kind(stored))}, and "
            f"{spec.row_type.__name__} declares {' '.join(_kind(declared))}; give the new column "
            "another name, or use a new home"
        )


def _kind(field: NestedField) -> tuple[str, str]:
    """Type and nullability in words; field ids differ between a stored and a declared column."""
    return str(field.field_type), "not null" if field.required else "nullable"


def data_files_system(table: Table) -> tuple[FileSystem, Callable[[str], str]]:
    """Where a table's files are, and how the address of one becomes its path there."""
    assert isinstance(table.io, PyArrowFileIO), "connect asks for this one"
    parse = table.io.parse_location
    scheme, netloc, _ = parse(table.location())
    return table.io.fs_by_scheme(scheme, netloc), lambda address: parse(address)[2]


def without_retry(table: Table) -> Table:
    """The same table, with commits that fail at once when another writer was quicker.

    Only this object is changed: the property that is stored stays for other writers.
    """
    properties = {**table.properties, TableProperties.COMMIT_NUM_RETRIES: "0"}
    return Table(
        identifier=table.name(),
        metadata=table.metadata.model_copy(update={"properties": properties}),
        metadata_location=table.metadata_location,
        io=table.io,
        catalog=table.catalog,
    )
