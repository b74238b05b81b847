"""Read a published version again, all of it: catalog, manifest, index, tars, videos.

Nothing is mended, and nothing is written but that it was done. Every disagreement is collected, for
the first one rarely tells what happened; the price is that a badly damaged version makes a long
list.
"""

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.catalog.datasets import resolve
from curation.catalog.store import Catalog
from curation.errors import CatalogError
from curation.multishot import MULTI
from curation.records import DatasetRow, SampleRow, ShardRow, now
from curation.shards.checking import Disagreement, ShardCheck, ShardToCheck, check_shard
from curation.shards.manifest import MANIFEST, SAMPLE_INDEX
from pipelines.crew import Limits
from pipelines.engine import Done, Engine, Stage
from pipelines.job import Progress
from pipelines.settings import Home
from pipelines.verifications import record_verification

_LIMITS = Limits(timeout_seconds=4 * 3600.0, memory_bytes=4 << 30)
_CATALOG = "catalog"


@dataclasses.dataclass(frozen=True, slots=True)
class Verification:
    """What was read, and everything that does not agree."""

    reference: str
    folder: str
    shards: int
    samples: int
    frames: int
    """Decoded, in samples without a fault."""
    disagreements: list[Disagreement]
    recorded: bool
    """The catalog holds what was found (table runs), for the version's next report."""

    @property
    def sound(self) -> bool:
        """True when nothing disagrees."""
        return not self.disagreements


def verify(home: Home, reference: str, engine: Engine, progress: Progress) -> Verification:
    """Hold every part of a version against every other.

    Args:
        home: where it is.
        reference: ``NAME``, ``NAME@latest`` or ``NAME@3``.
        engine: decodes shards in parallel.
        progress: told after each shard.

    Raises:
        DatasetError: no such version.
    """
    begun = now()
    with Catalog.open(home.catalog()) as catalog:
        version = resolve(catalog, reference)
        where = {"publish_id": version.publish_id}
        shards = sorted(catalog.rows(ShardRow, where), key=lambda row: row.shard)
        samples = catalog.read("samples", where)
    folder = home.datasets / version.name / str(version.version)
    found = [
        *_check_totals(version, shards, samples),
        *_check_files(folder, shards),
        *_check_manifest(folder, version, shards),
        *_check_index(folder, samples),
    ]
    checks = _check_shards(folder, shards, samples, engine, progress)
    disagreements = found + [wrong for check in checks for wrong in check.disagreements]
    frames = sum(check.frames for check in checks)
    return Verification(
        reference=f"{version.name}@{version.version}",
        folder=str(folder),
        shards=len(shards),
        samples=samples.num_rows,
        frames=frames,
        disagreements=disagreements,
        recorded=_record(home, version, frames, disagreements, begun, progress),
    )


def _record(
    home: Home,
    version: DatasetRow,
    frames: int,
    disagreements: list[Disagreement],
    begun: dt.datetime,
    progress: Progress,
) -> bool:
    """Put the outcome into the catalog; one that takes no rows does not spoil the verification."""
    try:
        with Catalog.open(home.catalog()) as catalog:
            record_verification(catalog, version, frames, disagreements, begun)
    except CatalogError as error:
        progress.say(f"what was found is not recorded: {error}")
        return False
    return True


def _check_totals(
    version: DatasetRow, shards: list[ShardRow], samples: pa.Table
) -> Iterator[Disagreement]:
    """The version's row adds up to those of its shards and samples."""
    kinds, sides = samples["kind"], samples["split"]
    counted: dict[str, float] = {
        "films": pc.count_distinct(samples["video_id"]).as_py(),
        "samples": samples.num_rows,
        "train_samples": pc.sum(pc.equal(sides, "train")).as_py() or 0,
        "val_samples": pc.sum(pc.equal(sides, "val")).as_py() or 0,
        "multi_samples": pc.sum(pc.equal(kinds, MULTI)).as_py() or 0,
        "shards": len(shards),
        "seconds": sum(shard.seconds for shard in shards),
        "bytes": sum(shard.bytes for shard in shards),
    }
    for column, value in counted.items():
        stated = getattr(version, column)
        if stated is not None and stated != value:
            detail = f"{column}: the version's row says {stated}, its parts make {value}"
            yield Disagreement(_CATALOG, "row_sum", detail)
    strangers = set(samples["shard"].unique().to_pylist()) - {shard.shard for shard in shards}
    for name in sorted(strangers):
        yield Disagreement(_CATALOG, "shard_unknown", f"samples stand in {name}, which has no row")


def _check_files(folder: Path, shards: list[ShardRow]) -> Iterator[Disagreement]:
    """Tars that nobody declared; missing ones are found where they are read."""
    declared = {f"{shard.shard}.tar" for shard in shards}
    for tar in sorted(folder.glob("*.tar")):
        if tar.name not in declared:
            yield Disagreement(tar.name, "file_unknown", "the catalog names no such shard")


def _check_manifest(
    folder: Path, version: DatasetRow, shards: list[ShardRow]
) -> Iterator[Disagreement]:
    """The manifest is the one that was published, and lists the catalog's shards."""
    try:
        data = (folder / MANIFEST).read_bytes()
    except FileNotFoundError:
        yield Disagreement(MANIFEST, "file_missing", "there is no such file")
        return
    sha256 = hashlib.sha256(data).hexdigest()
    if sha256 != version.manifest_sha256:
        detail = f"{sha256}, {version.manifest_sha256} was published"
        yield Disagreement(MANIFEST, "sha256", detail)
    try:
        document: dict[str, Any] = json.loads(data)
        listed = {row["shard"]: row for row in document["shards"]}
        identity = {"dataset": document["dataset"], "publish_id": document["publish_id"]}
        index_sha256 = document["sample_index"]["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        yield Disagreement(MANIFEST, "manifest_damaged", f"{type(error).__name__}: {error}")
        return
    published = {"dataset": version.name, "publish_id": version.publish_id}
    if identity != published:
        yield Disagreement(MANIFEST, "manifest", f"it is of {identity}, not of {published}")
    rows = {shard.shard: dataclasses.asdict(shard) for shard in shards}
    for name in sorted(rows.keys() | listed.keys()):
        if rows.get(name) != listed.get(name):
            detail = f"{name} is {listed.get(name)} here and {rows.get(name)} in the catalog"
            yield Disagreement(MANIFEST, "manifest", detail)
    yield from _check_index_hash(folder / SAMPLE_INDEX, index_sha256)


def _check_index_hash(index: Path, declared: str) -> Iterator[Disagreement]:
    if index.is_file():
        with index.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if sha256 != declared:
            yield Disagreement(index.name, "sha256", f"{sha256}, the manifest says {declared}")


def _check_index(folder: Path, samples: pa.Table) -> Iterator[Disagreement]:
    """The sample index holds the catalog's rows, column by column."""
    try:
        index = pq.read_table(folder / SAMPLE_INDEX).sort_by("sample_id")
    except FileNotFoundError:
        yield Disagreement(SAMPLE_INDEX, "file_missing", "there is no such file")
        return
    except pa.ArrowException as error:
        yield Disagreement(SAMPLE_INDEX, "index_damaged", str(error))
        return
    stored = samples.sort_by("sample_id")
    if index.num_rows != stored.num_rows:
        detail = f"{index.num_rows} samples here, {stored.num_rows} in the catalog"
        yield Disagreement(SAMPLE_INDEX, "index", detail)
        return
    for column in stored.column_names:
        there = stored[column].to_pylist()
        here = index[column].to_pylist() if column in index.column_names else [None] * len(there)
        pairs = enumerate(zip(here, there, strict=True))
        different = [k for k, (indexed, row) in pairs if indexed != row]
        if different:
            first = different[0]
            detail = f"{column} of {len(different)} samples: {here[first]!r}, not {there[first]!r}"
            yield Disagreement(SAMPLE_INDEX, "index", detail, stored["sample_id"][first].as_py())


def _check_shards(
    folder: Path, shards: list[ShardRow], samples: pa.Table, engine: Engine, progress: Progress
) -> list[ShardCheck]:
    stage = Stage.stateless("verify", check_shard, _LIMITS)
    progress.stage("verify", len(shards))
    checks: dict[str, ShardCheck] = {}
    for outcome in engine.map(stage, _tasks(folder, shards, samples)):
        progress.advance()
        tar = outcome.item.tar.name
        if isinstance(outcome, Done):
            checks[tar] = outcome.value
        else:
            words = f"{outcome.kind}: {outcome.message}"
            checks[tar] = ShardCheck([Disagreement(tar, "unreadable", words)], 0)
    return [checks[name] for name in sorted(checks)]


def _tasks(folder: Path, shards: list[ShardRow], samples: pa.Table) -> Iterator[ShardToCheck]:
    for shard in shards:
        rows = samples.filter(pc.equal(samples["shard"], shard.shard)).to_pylist()
        of_shard = tuple(SampleRow(**row) for row in rows)
        yield ShardToCheck(folder / f"{shard.shard}.tar", shard, of_shard)
