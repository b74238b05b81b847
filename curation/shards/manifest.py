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

from curation.records import SampleRow, ShardRow, canonical_json
from curation.traces import sync_folder, write_durably

SCHEMA_VERSION = 1
MANIFEST, SAMPLE_INDEX = "manifest.json", "samples.parquet"
_ROWS_PER_GROUP = 65_536


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
    index = pa.Table.from_pylist([dataclasses.asdict(row) for row in samples])
    partial = folder / f".{SAMPLE_INDEX}.partial"
    pq.write_table(index, partial, compression="zstd", row_group_size=_ROWS_PER_GROUP)
    partial.rename(folder / SAMPLE_INDEX)
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
    partial = folder / f".{MANIFEST}.partial"
    write_durably(partial, data)
    partial.rename(folder / MANIFEST)
    sync_folder(folder)
    return hashlib.sha256(data).hexdigest()
