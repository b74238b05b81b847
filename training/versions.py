"""From a dataset's name to its manifest, through the catalog that published it.

Training needs no catalog: a manifest is enough. What the catalog adds is the name, and the hash
that the manifest must have; the price is its libraries, so they are imported by this module alone.
"""

import dataclasses

from curation.catalog.datasets import resolve
from curation.catalog.store import Catalog


@dataclasses.dataclass(frozen=True, slots=True)
class PublishedVersion:
    """A dataset version as the catalog knows it."""

    reference: str
    """``NAME@3``, whatever it was asked for as."""
    manifest: str
    sha256: str
    """Of the manifest."""


def published_version(catalog: Catalog, reference: str) -> PublishedVersion:
    """Find a version: ``NAME``, ``NAME@latest`` or ``NAME@3``.

    Raises:
        DatasetError: there is none; the message lists what there is.
        CatalogError: the catalog is unreachable.
    """
    row = resolve(catalog, reference)
    uri = row.manifest_uri
    manifest = uri if "://" in uri else str(catalog.settings.home / uri)
    return PublishedVersion(f"{row.name}@{row.version}", manifest, row.manifest_sha256)
