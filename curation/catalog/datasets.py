"""Dataset versions: published with one commit point, found again by name.

Iceberg has no transaction over several tables. So a version's samples and shards are appended
under a publish id first, where nobody looks for them, and ONE append to ``datasets`` makes them a
version. The trade-off: a publisher that dies in between leaves rows that no version names; its
next try with the same publish id finds and uses them.
"""

import dataclasses
import functools
import json
import re
from collections.abc import Callable, Sequence

import pyarrow as pa
from pyiceberg.table import Table

from curation.catalog.reading import Where, condition, stored_rows
from curation.catalog.schema import TABLES
from curation.catalog.store import Catalog
from curation.errors import DatasetError
from curation.records import DatasetRow, SampleRow, ShardRow

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_SPEC = TABLES["datasets"]
_NOT_MADE_FROM = {"datasets", "runs"}


def check_name(name: str) -> None:
    """Raise `ValueError` unless the name can stand in ``NAME@3``, a folder and a tag."""
    if not _NAME.fullmatch(name):
        raise ValueError(
            f"dataset name {name!r}: use letters, digits, '.', '_' and '-', at most 128, "
            "beginning with a letter or digit"
        )


def publish_dataset(
    catalog: Catalog,
    row: DatasetRow,
    samples: Sequence[SampleRow] | pa.Table,
    shards: Sequence[ShardRow] | pa.Table,
    place: Callable[[int], str] | None = None,
) -> DatasetRow:
    """Make a version of a dataset: the next number, given to nobody else.

    The shards and the manifest must be in place. May be repeated after any interruption: a publish
    id that is a version already gives that version.

    Args:
        catalog: where.
        row: the version; its `version`, `manifest_uri` and `snapshots` are set here, whatever they
            hold.
        samples: all its samples, with its publish id.
        shards: all its shards, with its publish id.
        place: is called with the number before the version becomes visible, and again with the
            next one when another publisher was quicker: puts the files where that number belongs
            and returns the `manifest_uri`. None where the files do not depend on the number.

    Returns:
        The row as it was stored.

    Raises:
        DatasetError: the rows do not add up to what `row` says.
        CatalogError: the catalog is unreachable, full, or too contended.
    """
    check_name(row.name)
    catalog.append("samples", samples)
    catalog.append("shards", shards)
    _check_whole(catalog, row)
    row = dataclasses.replace(row, snapshots=_snapshots(catalog))

    def number(table: Table, properties: dict[str, str]) -> int:
        """One try: overtaken by another publisher, the append fails and is tried with the next."""
        if _versions(table, {"publish_id": row.publish_id}):
            return 0
        version = max(_versions(table, {"name": row.name}), default=0) + 1
        uri = place(version) if place else row.manifest_uri
        numbered = _SPEC.to_arrow([dataclasses.replace(row, version=version, manifest_uri=uri)])
        table.append(numbered, snapshot_properties=properties)
        return 1

    catalog.commit(_SPEC.name, number)
    published = catalog.rows(DatasetRow, {"publish_id": row.publish_id})[0]
    if published.name != row.name:
        raise DatasetError(
            f"publish id {row.publish_id} is {published.name}@{published.version} already; "
            f"publish {row.name} under an id of its own"
        )
    _tag_versions(catalog)
    return published


def datasets(catalog: Catalog) -> list[DatasetRow]:
    """All published versions, by name and number."""
    return sorted(catalog.rows(DatasetRow), key=lambda row: (row.name, row.version))


def resolve(catalog: Catalog, reference: str) -> DatasetRow:
    """The version that a reference names: ``NAME``, ``NAME@latest`` or ``NAME@3``.

    Raises:
        DatasetError: there is none; the message lists what there is.
    """
    name, _, version = reference.partition("@")
    published = datasets(catalog)
    candidates = [row for row in published if row.name == name]
    if version not in ("", "latest"):
        candidates = [row for row in candidates if str(row.version) == version]
    if not candidates:
        there_is = ", ".join(f"{row.name}@{row.version}" for row in published) or "none yet"
        raise DatasetError(f"no dataset {reference!r}; published: {there_is}")
    return candidates[-1]


def _check_whole(catalog: Catalog, row: DatasetRow) -> None:
    """What is stored under the publish id is what the version says of itself."""
    for name, promised in (("samples", row.samples), ("shards", row.shards)):
        pieces = catalog.batches(name, {"publish_id": row.publish_id}, ["publish_id"])
        stored = sum(piece.num_rows for piece in pieces)
        if stored != promised:
            raise DatasetError(
                f"publish id {row.publish_id} holds {stored} {name}, and the version is to have "
                f"{promised}; publish what was packed, under a new id if it changed"
            )


def _snapshots(catalog: Catalog) -> str:
    """JSON object of the states that the version was made from, for time travel."""
    snapshots = catalog.snapshots()
    return json.dumps({name: snapshots[name] for name in sorted(snapshots.keys() - _NOT_MADE_FROM)})


def _versions(table: Table, where: Where) -> list[int]:
    pieces = stored_rows(_SPEC, table, condition(_SPEC, where), ["version"])
    return [version for piece in pieces for version in piece["version"].to_pylist()]


def _tag_versions(catalog: Catalog) -> None:
    """Keep the snapshots of versions from being expired, under the names ``NAME@VERSION``.

    Of all versions, so that one whose publisher was killed before this has its tags from the next.
    """
    tags: dict[str, dict[str, int]] = {}
    for row in datasets(catalog):
        for name, snapshot in json.loads(row.snapshots).items():
            tags.setdefault(name, {})[f"{row.name}@{row.version}"] = snapshot
    for name, snapshots in tags.items():
        catalog.commit(name, functools.partial(_create_tags, snapshots))


def _create_tags(snapshots: dict[str, int], table: Table, _: dict[str, str]) -> int:
    """Tag what is not; a takedown may have dropped a snapshot for good."""
    missing = {
        tag: snapshot
        for tag, snapshot in snapshots.items()
        if tag not in table.refs() and table.snapshot_by_id(snapshot) is not None
    }
    if missing:
        manage = table.manage_snapshots()
        for tag, snapshot in missing.items():
            manage.create_tag(snapshot, tag)
        manage.commit()
    return 0
