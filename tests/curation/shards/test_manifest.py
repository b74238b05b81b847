"""The sample index beside a manifest."""

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation.records import SampleRow
from curation.shards.manifest import MANIFEST, SAMPLE_INDEX, ManifestHead, write_manifest
from tests.curation.rows_for_catalog import publication


def test_a_column_of_nulls_has_its_type_and_all_that_is_said_reads_back(tmp_path: Path) -> None:
    _, samples, shards = publication("films", "p1")
    assert {sample.licence for sample in samples} == {None}
    head = ManifestHead("films", "p1", "offline", {}, {}, ["film"])
    sha256 = write_manifest(tmp_path, head, shards, samples, [])
    index = pq.read_table(tmp_path / SAMPLE_INDEX)
    assert index.schema.field("licence").type == pa.string()
    assert [SampleRow(**row) for row in index.to_pylist()] == samples
    manifest = (tmp_path / MANIFEST).read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == sha256
    written = hashlib.sha256((tmp_path / SAMPLE_INDEX).read_bytes()).hexdigest()
    assert json.loads(manifest)["sample_index"]["sha256"] == written
