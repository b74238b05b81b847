"""A dataset version's own record: enough to train from with no catalog at hand.

``manifest.json`` names the shards with their hashes, the policy and the fingerprints;
``samples.parquet`` beside it is the index of every sample's place in its shard. Neither holds a
time, a host or a version number, so a run that was killed and run again writes the same bytes.
"""

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curation.identities import canonical_json
from curation.records import SampleRow, ShardRow
from curation.unfinished import replacing

SCHEMA_VERSION = 1
MANIFEST, SAMPLE_INDEX = "manifest.json", "samples.parquet"
_ROWS_PER_GROUP = 65_536
_ARROW_TYPES: dict[object, pa.DataType] = {
    str: pa.string(),
    str | None: pa.string(),
    int: pa.int64(),
    list[str]: pa.list_(pa.string()),
}
# Declared and not inferred: a column of nulls alone (no film has a licence) is a column of strings.
_INDEX_SCHEMA = pa.schema(
    [(field.name, _ARROW_TYPES[field.type]) for field in dataclasses.fields(SampleRow)]
)


@dataclasses.dataclass(frozen=True, slots=True)
class ManifestHead:
    """What a version was made from."""

    dataset: str
    publish_id: str
    recipe: str
    config: dict[str, Any]
    fingerprints: dict[str, str]
    films: list[str]
    """video_ids of all readable films that were offered, kept or not."""


def write_manifest(
    folder: Path,
    head: ManifestHead,
    shards: list[ShardRow],
    samples: list[SampleRow],
    lost: list[dict[str, Any]],
) -> str:
    """Write the manifest and the sample index; returns the manifest's sha256."""
    index = pa.Table.from_pylist([dataclasses.asdict(row) for row in samples], _INDEX_SCHEMA)
    with replacing(folder / SAMPLE_INDEX) as partial:
        pq.write_table(index, partial, compression="zstd", row_group_size=_ROWS_PER_GROUP)
    with (folder / SAMPLE_INDEX).open("rb") as file:
        index_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    document = {
        "schema_version": SCHEMA_VERSION,
        **dataclasses.asdict(head),
        "shards": [dataclasses.asdict(row) for row in shards],
        "sample_index": {"file": SAMPLE_INDEX, "sha256": index_sha256},
        "lost": lost,
    }
    data = canonical_json(document).encode()
    with replacing(folder / MANIFEST) as partial:
        partial.write_bytes(data)
    return hashlib.sha256(data).hexdigest()
