"""Forgetting the past of a table, for takedowns.

`Catalog.delete_rows` writes new files without the rows; the old files stay, because earlier
snapshots need them. Where a takedown must leave no trace, the earlier snapshots go too, and with
them time travel in that table: the trade-off. Shards and manifests of published versions stand
outside the catalog and are not touched.
"""

import contextlib
import datetime as dt

from pyarrow.fs import FileInfo, FileSelector
from pyiceberg.table import Table
from pyiceberg.table.refs import SnapshotRefType

from curation.catalog.connection import explained
from curation.catalog.store import Catalog
from curation.catalog.tables import data_files_system

ABANDONED_AFTER = dt.timedelta(hours=1)
"""A file that no snapshot names and that is younger may belong to a commit under way."""


def forget_history(catalog: Catalog, name: str) -> int:
    """Drop all snapshots of a table but the current one, and the files that only they need.

    Files that no snapshot ever named, left by commits that were overtaken or killed, go with them.
    Whoever reads an earlier snapshot meanwhile fails.

    Args:
        catalog: where.
        name: the table.

    Returns:
        How many files were deleted.

    Raises:
        ValueError: there is no table of that name.
        CatalogError: the catalog is unreachable, or a file cannot be deleted.
    """
    before = _files(catalog.table(name))
    catalog.commit(name, _remove_tags)
    catalog.commit(name, _expire)
    table = catalog.table(name)
    with explained(catalog.settings, "delete files of"):
        kept = _files(table)
        doomed = (before | _abandoned(table)) - kept
        system, _ = data_files_system(table)
        for path in sorted(doomed):
            with contextlib.suppress(FileNotFoundError):  # another takedown was quicker
                system.delete_file(path)
    return len(doomed)


def _remove_tags(table: Table, _: dict[str, str]) -> int:
    tags = [
        name for name, ref in table.refs().items() if ref.snapshot_ref_type is SnapshotRefType.TAG
    ]
    if tags:
        manage = table.manage_snapshots()
        for tag in tags:
            manage.remove_tag(tag)
        manage.commit()
    return 0


def _expire(table: Table, _: dict[str, str]) -> int:
    current = table.current_snapshot()
    old = [
        snapshot.snapshot_id
        for snapshot in table.snapshots()
        if current is None or snapshot.snapshot_id != current.snapshot_id
    ]
    if old:
        table.maintenance.expire_snapshots().by_ids(old).commit()
    return 0


def _files(table: Table) -> set[str]:
    """Paths of all files that some snapshot of the table needs, data and bookkeeping."""
    files = set()
    for snapshot in table.snapshots():
        files.add(snapshot.manifest_list)
        for manifest in snapshot.manifests(table.io):
            files.add(manifest.manifest_path)
            entries = manifest.fetch_manifest_entry(table.io)
            files.update(entry.data_file.file_path for entry in entries)
    _, path_of = data_files_system(table)
    return {path_of(file) for file in files}


def _abandoned(table: Table) -> set[str]:
    """Paths of data files, manifests and their lists that are old enough to be nobody's."""
    system, path_of = data_files_system(table)
    youngest = dt.datetime.now(dt.UTC) - ABANDONED_AFTER
    listed: list[FileInfo] = system.get_file_info(
        FileSelector(path_of(table.location()), recursive=True)
    )
    return {
        info.path
        for info in listed
        if info.extension in ("parquet", "avro") and info.mtime < youngest
    }
