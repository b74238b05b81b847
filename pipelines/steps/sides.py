"""On which side of the split does each film of a dataset stand already?

Only versions that were split by the same settings count: another share or seed is a wish for
another split. They stand in a version's manifest, which lies in the home that published it, and in
the object store where there is one: so several homes that publish one dataset into one catalog keep
its sides apart by `TEMPO_DATASETS`. A version whose manifest cannot be found has no say.
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curation.catalog.datasets import datasets
from curation.catalog.store import Catalog
from curation.errors import CurationError
from curation.identities import canonical_json
from curation.records import DatasetRow
from curation.remote import is_stored, read_stored
from curation.shards.manifest import MANIFEST
from curation.splits import SplitConfig, Standing
from pipelines.settings import Home

_COLUMNS = ["publish_id", "video_id", "split"]


def earlier_sides(
    catalog: Catalog, home: Home, dataset: str, config: SplitConfig
) -> Mapping[str, Standing]:
    """Where each film (video_id) stands in the dataset's versions.

    Raises:
        CurationError: a manifest in the object store cannot be read now.
    """
    versions = {
        row.publish_id: row.version
        for row in datasets(catalog)
        if row.name == dataset and _split_of(home, row) == canonical_json(config)
    }
    if not versions:
        return {}
    held = pa.concat_tables(
        piece.group_by(_COLUMNS).aggregate([])
        for piece in catalog.batches("samples", {"publish_id": list(versions)}, _COLUMNS)
    )
    standing: dict[str, Standing] = {}
    for row in sorted(held.to_pylist(), key=lambda row: versions[row["publish_id"]]):
        version, film = versions[row["publish_id"]], row["video_id"]
        since = standing[film].since if film in standing else version
        standing[film] = Standing(since, row["split"])
    return standing


def _split_of(home: Home, row: DatasetRow) -> str | None:
    path = home.datasets / row.name / str(row.version) / MANIFEST
    if path.is_file():
        text = path.read_bytes()
    elif is_stored(row.manifest_uri):
        try:
            text = read_stored(row.manifest_uri)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise CurationError(
                f"{row.name}@{row.version}: its manifest cannot be read ({error}), and says on "
                "which side its films stand; run again when the store answers"
            ) from error
    else:
        return None
    manifest: dict[str, Any] = json.loads(text)
    return canonical_json(manifest["config"]["split"])
