"""The samples of a dataset version: found by its manifest alone, read one by one at their offsets.

No tar is ever walked: `samples.parquet` says where each member stands, and one read brings a sample
whole. What is read is held against the hash that was taken when it was packed, so damage is known
before a decoder sees it; hashing costs about a hundredth of decoding. The trade-off: the index of
all samples is in memory, about 200 bytes each.
"""

import contextlib
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from curation.shards.manifest import SCHEMA_VERSION
from training.errors import DamagedSampleError, TrainingDataError
from training.storage import ShardFolder

_COLUMNS = [
    "sample_id", "shard", "frame_count", "width", "height",
    "mp4_offset", "mp4_size", "mp4_sha256", "json_offset", "json_size",
]  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class Shot:
    """A shot of a sample: frames ``[start, end)`` of its video, and what they show."""

    start: int
    end: int
    caption: str


@dataclasses.dataclass(frozen=True, slots=True)
class StoredSample:
    """A sample as it was packed."""

    sample_id: str
    mp4: bytes
    frame_count: int
    shots: tuple[Shot, ...]


class Samples:
    """One side (split) of a dataset version. Threads share it.

    Make it with `Samples.open`.
    """

    def __init__(self, folder: ShardFolder, table: pa.Table) -> None:
        self._folder = folder
        self._table = table
        self.frame_counts: npt.NDArray[np.int64] = table["frame_count"].to_numpy()
        """`[n]` frames at 24 fps."""
        self.widths: npt.NDArray[np.int64] = table["width"].to_numpy()
        """`[n]` pixels."""
        self.heights: npt.NDArray[np.int64] = table["height"].to_numpy()
        """`[n]` pixels."""

    @classmethod
    def open(
        cls, manifest: str | Path, split: str | None = "train", sha256: str | None = None
    ) -> Self:
        """Read a version's index, and see that its shards are in place.

        Args:
            manifest: path or address of `manifest.json`; the shards stand beside it.
            split: 'train' or 'val'; None: both.
            sha256: what the catalog says the manifest hashes to; None where there is no catalog.

        Raises:
            TrainingDataError: not what was published: a file is missing, cut short or another one.
            ValueError: an address of no known file system.
        """
        parent, _, name = str(manifest).rpartition("/")
        folder = ShardFolder(parent or ".")
        with _readable(manifest):
            document = _manifest(folder, name, sha256)
            _check_shards(folder, document)
            table = _index(folder, document)
        of_split = table if split is None else table.filter(pc.equal(table["split"], split))
        if split is not None and not len(of_split):
            raise _empty(manifest, split, set(table["split"].unique().to_pylist()))
        return cls(folder, of_split.select(_COLUMNS).combine_chunks())

    def __len__(self) -> int:
        return len(self._table)

    def sample_id(self, index: int) -> str:
        """Identity of a sample."""
        found: str = self._table["sample_id"][index].as_py()
        return found

    def read(self, index: int) -> StoredSample:
        """Read a sample in one piece.

        Raises:
            DamagedSampleError: its bytes are not those that were packed.
            TrainingDataError: its shard cannot be read at all.
        """
        row = self._row(index)
        spans = [(row[f"{kind}_offset"], row[f"{kind}_size"]) for kind in ("json", "mp4")]
        start = min(offset for offset, _ in spans)
        end = max(offset + size for offset, size in spans)
        shard, data = self._bytes(row, start, end - start)
        document, mp4 = (data[offset - start : offset - start + size] for offset, size in spans)
        if hashlib.sha256(mp4).hexdigest() != row["mp4_sha256"]:
            raise DamagedSampleError(row["sample_id"], f"{shard} holds other bytes of its video")
        return StoredSample(row["sample_id"], mp4, row["frame_count"], _shots(row, document))

    def shots(self, index: int) -> tuple[Shot, ...]:
        """The shots of a sample, without reading its video. Raises as `read` does."""
        row = self._row(index)
        _, document = self._bytes(row, row["json_offset"], row["json_size"])
        return _shots(row, document)

    def _row(self, index: int) -> dict[str, Any]:
        row: dict[str, Any] = self._table.slice(index, 1).to_pylist()[0]
        return row

    def _bytes(self, row: dict[str, Any], start: int, size: int) -> tuple[str, bytes]:
        """The name of a sample's shard, and bytes of it."""
        shard = f"{row['shard']}.tar"
        try:
            return shard, self._folder.read(shard, start, size)
        except OSError as error:
            raise TrainingDataError(
                f"{shard} in {self._folder.address} cannot be read: {error}; the run can be "
                "resumed once it can"
            ) from error

    def close(self) -> None:
        """Let go of the shards."""
        self._folder.close()


def shard_paths(manifest: Path, split: str) -> list[Path]:
    """The tars of one side of a version, in the manifest's order.

    Raises:
        TrainingDataError: the version is not whole, or the split is empty.
    """
    folder = ShardFolder(manifest.parent)
    with _readable(manifest):
        document = _manifest(folder, manifest.name, None)
        _check_shards(folder, document)
    found = [
        manifest.parent / f"{shard['shard']}.tar"
        for shard in document["shards"]
        if shard["split"] == split
    ]
    if not found:
        raise _empty(manifest, split, {shard["split"] for shard in document["shards"]})
    return found


@contextlib.contextmanager
def _readable(manifest: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingDataError(
            f"{manifest}: {error}; give the manifest.json of a version whose folder is whole"
        ) from error


def _empty(manifest: str | Path, split: str, there_are: set[str]) -> TrainingDataError:
    return TrainingDataError(
        f"{manifest}: no sample is in the split {split!r}, all are in "
        f"{', '.join(sorted(there_are))}; curate with a validation share if one is wanted"
    )


def _manifest(folder: ShardFolder, name: str, sha256: str | None) -> dict[str, Any]:
    data = folder.read(name)
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256:
        raise TrainingDataError(
            f"{folder.address}/{name} hashes to {found[:16]}…, and the catalog published "
            f"{sha256[:16]}…: the version was changed after it was published; restore it"
        )
    try:
        document: dict[str, Any] = json.loads(data)
        known = document["schema_version"] == SCHEMA_VERSION
    except (ValueError, KeyError, TypeError) as error:
        raise TrainingDataError(f"{folder.address}/{name} is not a manifest: {error!r}") from error
    if not known:
        raise TrainingDataError(
            f"{folder.address}/{name} has schema_version {document['schema_version']}, and this "
            f"code reads {SCHEMA_VERSION}; train with the code that curated it, or curate again"
        )
    return document


def _check_shards(folder: ShardFolder, document: dict[str, Any]) -> None:
    """Sizes tell what is missing or cut short; damage inside is found when a sample is read."""
    sizes = folder.sizes()
    for shard in document["shards"]:
        name = f"{shard['shard']}.tar"
        if sizes.get(name) != shard["bytes"]:
            found = f"{sizes[name]} bytes" if name in sizes else "missing"
            raise TrainingDataError(
                f"{folder.address}/{name}: {found}, and the manifest says {shard['bytes']} bytes; "
                "copy it again"
            )


def _index(folder: ShardFolder, document: dict[str, Any]) -> pa.Table:
    name, sha256 = document["sample_index"]["file"], document["sample_index"]["sha256"]
    data = folder.read(name)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise TrainingDataError(
            f"{folder.address}/{name} is not the one that the manifest names; copy it again"
        )
    return pq.read_table(pa.BufferReader(data), columns=[*_COLUMNS, "split"])


def _shots(row: dict[str, Any], data: bytes) -> tuple[Shot, ...]:
    try:
        shots = tuple(
            Shot(shot["start_frame"], shot["end_frame"], shot["caption"])
            for shot in json.loads(data)["shots"]
        )
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedSampleError(row["sample_id"], f"its JSON cannot be read: {error!r}") from error
    ends = [0, *(shot.end for shot in shots)]
    if [shot.start for shot in shots] != ends[:-1] or ends[-1] != row["frame_count"]:
        raise DamagedSampleError(row["sample_id"], "its shots do not cover its frames")
    return shots
