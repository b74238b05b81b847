"""On which side of the split does each film of a dataset stand already?

Only versions that were split by the same settings count: another share or seed is a wish for
another split. A version whose folder was removed cannot tell its settings, and so has no say.
"""

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from curation.catalog.datasets import datasets
from curation.catalog.store import Catalog
from curation.records import canonical_json
from curation.shards.manifest import MANIFEST
from curation.splits import SplitConfig, Standing
from pipelines.settings import Home

_COLUMNS = ["publish_id", "video_id", "split"]


def earlier_sides(
    catalog: Catalog, home: Home, dataset: str, config: SplitConfig
) -> Mapping[str, Standing]:
    """Where each film (video_id) stands in the dataset's versions."""
    versions = {
        row.publish_id: row.version
        for row in datasets(catalog)
        if row.name == dataset and _split_of(home, dataset, row.version) == canonical_json(config)
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


def _split_of(home: Home, dataset: str, version: int) -> str | None:
    path = home.datasets / dataset / str(version) / MANIFEST
    if not path.is_file():
        return None
    manifest: dict[str, Any] = json.loads(path.read_bytes())
    return canonical_json(manifest["config"]["split"])
