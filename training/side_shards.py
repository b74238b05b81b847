"""Tensors made ahead of training, in shards beside a dataset version: written, mended, read.

A set is a folder of plain tars whose members are safetensors under hex names, an index of where
each stands, and ``side.json``, which says what they were made from and by. Its identity is a hash
of that, so another encoder or other settings are another set. A shard is there when its index is,
as in `curation.shards.writing`; the same work gives the same bytes, whoever was killed meanwhile,
and a complete set stays cut as it is. So making one again replaces nothing that is sound, with one
exception: where samples that were damaged are whole by now, a run that reads it may have to stop,
and goes on once the set is complete. The trade-off: tensors are stored as they are, not compressed,
for one read at an offset then brings one whole.
"""

import dataclasses
import hashlib
import io
import json
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from curation.identities import canonical_json, digest
from curation.unfinished import replacing, sync_folder
from training.errors import SideShardError
from training.storage import ShardFolder

SCHEMA_VERSION = 1
"""Bumped when these files change, or what decoding, scaling and embedding make of the same input:
sets of before are then of another identity."""
MANIFEST, INDEX = "side.json", "members.parquet"
Kind = Literal["text", "latents"]
_SUFFIX = ".safetensors"
_INDEX_SCHEMA = pa.schema(
    [
        ("key", pa.string()),
        ("shard", pa.int32()),
        ("offset", pa.int64()),
        ("size", pa.int64()),
        ("sha256", pa.binary(32)),
    ]
)


@dataclasses.dataclass(frozen=True, slots=True)
class SideHead:
    """What a set was made from.

    Attributes:
        kind: what its tensors are.
        manifest_sha256: of the dataset version.
        fingerprint: of the encoder that made them.
        settings: all else that decides what is in it.
    """

    kind: Kind
    manifest_sha256: str
    fingerprint: str
    settings: dict[str, Any]

    @property
    def side_id(self) -> str:
        """Identity of the set."""
        return digest("side", str(SCHEMA_VERSION), canonical_json(self))

    @property
    def folder_name(self) -> str:
        """Under which it stands beside others, e.g. ``text-0f…``."""
        return f"{self.kind}-{self.side_id}"


@dataclasses.dataclass(frozen=True, slots=True)
class SideRef:
    """Where a set is.

    Attributes:
        manifest: its ``side.json``; path or address.
        sha256: of that file, as the catalog has it.
    """

    manifest: str
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True)
class Member:
    """A member of a shard."""

    key: str
    offset: int
    size: int
    sha256: str


@dataclasses.dataclass(frozen=True, slots=True)
class WrittenShard:
    """A shard that is in place.

    Attributes:
        shard: its name.
        plan: hash of what was to be in it.
        bytes: of the tar.
        sha256: of the tar.
        members: in their order.
        damaged: sample_id -> why nothing could be made of it.
    """

    shard: str
    plan: str
    bytes: int
    sha256: str
    members: tuple[Member, ...]
    damaged: dict[str, str]


@dataclasses.dataclass(frozen=True, slots=True)
class WrittenSet:
    """A set that is complete.

    Attributes:
        ref: where.
        shards: how many.
        members: how many.
        bytes: of all tars.
        damaged: sample_id -> why nothing could be made of it.
    """

    ref: SideRef
    shards: int
    members: int
    bytes: int
    damaged: dict[str, str]


def shard_name(number: int) -> str:
    """Such as ``000012``."""
    return f"{number:06d}"


def sound_shard(folder: Path, name: str, plan: str) -> WrittenShard | None:
    """The shard, where it is in place and holds what was written; None: it is to be written.

    Reads the whole tar.
    """
    try:
        found = _read_record(folder / f"{name}.json")
        with (folder / f"{name}.tar").open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    except (OSError, ValueError, KeyError, TypeError):  # absent, cut short, or of another make
        return None
    return found if (found.plan, found.sha256) == (plan, sha256) else None


def write_shard(
    folder: Path,
    name: str,
    plan: str,
    members: Iterable[tuple[str, dict[str, Tensor]]],
    damaged: dict[str, str],
) -> WrittenShard:
    """Write a shard, read it back, and make it visible.

    Args:
        folder: of the set.
        name: of the shard.
        plan: hash of what is to be in it.
        members: key (hex) and tensors of each; made one by one, as they are written.
        damaged: what was given up is in it once all members are made.

    Raises:
        SideShardError: what was written does not read back.
        OSError: the disk is full or read-only; nothing half-written is left visible.
    """
    folder.mkdir(parents=True, exist_ok=True)
    tar = folder / f"{name}.tar"
    with replacing(tar) as partial:
        hashes = _write_members(partial, members)
        found, sha256 = _read_back(partial)
        if {member.key: member.sha256 for member in found} != hashes:
            raise SideShardError(f"{tar} does not hold what was written: run again")
        size = partial.stat().st_size
    written = WrittenShard(name, plan, size, sha256, found, dict(damaged))
    with replacing(folder / f"{name}.json") as partial:
        partial.write_text(canonical_json(written), encoding="utf-8")
    return written


def _write_members(tar: Path, members: Iterable[tuple[str, dict[str, Tensor]]]) -> dict[str, str]:
    """Write a tar; returns the hash of each member by its key."""
    hashes = {}
    with tarfile.open(tar, "w", format=tarfile.USTAR_FORMAT) as archive:
        for key, tensors in members:
            data = safetensors.torch.save(tensors)
            hashes[key] = hashlib.sha256(data).hexdigest()
            # A `TarInfo` has no time, owner or machine of its own.
            member = tarfile.TarInfo(f"{key}{_SUFFIX}")
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return hashes


def cut_of(folder: Path, head: SideHead) -> int | None:
    """Most bytes of a shard, as the complete set of `head` in a folder is cut; None: none is."""
    try:
        document = json.loads((folder / MANIFEST).read_bytes())
        stands = _head_in(document) == head
        size = document["shard_bytes"]
    except (OSError, ValueError, KeyError, TypeError):  # absent, or not what was written
        return None
    return size if stands and isinstance(size, int) and size > 0 else None


def publish_set(
    folder: Path,
    head: SideHead,
    shard_bytes: int,
    shards: Sequence[WrittenShard],
    damaged: dict[str, str],
) -> WrittenSet:
    """Write the index and the manifest of a set whose shards are all in place.

    Args:
        folder: of the set.
        head: what it was made from.
        shard_bytes: at which it is cut.
        shards: in their order.
        damaged: sample_id -> why it stands in no shard, besides those that shards name.

    Raises:
        SideShardError: a shard is not in place any more.
    """
    _tidy(folder, {shard.shard for shard in shards})
    for shard in shards:
        tar = folder / f"{shard.shard}.tar"
        if not tar.is_file() or tar.stat().st_size != shard.bytes:
            raise SideShardError(f"{tar} was in place and is not any more: run again")
    rows = sorted(
        (member.key, number, member.offset, member.size, bytes.fromhex(member.sha256))
        for number, shard in enumerate(shards)
        for member in shard.members
    )
    columns = list(zip(*rows, strict=True)) or [()] * len(_INDEX_SCHEMA)
    table = pa.Table.from_arrays(
        [
            pa.array(column, field.type)
            for column, field in zip(columns, _INDEX_SCHEMA, strict=True)
        ],
        schema=_INDEX_SCHEMA,
    )
    with replacing(folder / INDEX) as partial:
        pq.write_table(table, partial, compression="zstd")
    damaged = damaged | {sample: why for shard in shards for sample, why in shard.damaged.items()}
    document = {
        "schema_version": SCHEMA_VERSION,
        **dataclasses.asdict(head),
        "shard_bytes": shard_bytes,
        "shards": [
            {
                "shard": shard.shard,
                "bytes": shard.bytes,
                "sha256": shard.sha256,
                "members": len(shard.members),
            }
            for shard in shards
        ],
        "index": {"file": INDEX, "sha256": _hash_of(folder / INDEX)},
        "damaged": damaged,
    }
    data = canonical_json(document).encode()
    with replacing(folder / MANIFEST) as partial:
        partial.write_bytes(data)
    sync_folder(folder)
    return WrittenSet(
        SideRef(str(folder / MANIFEST), hashlib.sha256(data).hexdigest()),
        len(shards),
        len(rows),
        sum(shard.bytes for shard in shards),
        damaged,
    )


def _tidy(folder: Path, shards: set[str]) -> None:
    """Remove what killed workers left, and shards of a cut that was not completed."""
    for partial in folder.glob(".*.partial"):
        partial.unlink()
    for tar in folder.glob("*.tar"):
        if tar.stem not in shards:
            tar.with_suffix(".json").unlink(missing_ok=True)
            tar.unlink()


class SideShards:
    """A complete set, read member by member. Threads share it; use it as a context manager.

    Make it with `SideShards.open`.
    """

    def __init__(self, folder: ShardFolder, document: dict[str, Any], table: pa.Table) -> None:
        self._folder = folder
        self._shards: list[str] = [shard["shard"] for shard in document["shards"]]
        self._keys: npt.NDArray[np.bytes_] = np.array(table["key"].to_pylist(), "S")
        self._table = table.drop_columns(["key"]).combine_chunks()
        self.head = _head_in(document)
        """What it was made from."""
        self.damaged: dict[str, str] = document["damaged"]
        """sample_id -> why nothing could be made of it."""
        self.bytes: int = sum(shard["bytes"] for shard in document["shards"])
        """Of all tars."""

    @classmethod
    def open(cls, ref: SideRef) -> Self:
        """Read the index of a set, and see that its shards are in place.

        Raises:
            SideShardError: not what was made: a file is missing, cut short or another one.
        """
        parent, _, name = ref.manifest.rpartition("/")
        folder = ShardFolder(parent or ".")
        try:
            data = _checked(folder, name, ref.sha256)
            document: dict[str, Any] = json.loads(data)
            index = _checked(folder, document["index"]["file"], document["index"]["sha256"])
            sizes = folder.sizes()
        except OSError as error:
            raise _unusable(folder.address, str(error)) from error
        for shard in document["shards"]:
            tar = f"{shard['shard']}.tar"
            if sizes.get(tar) != shard["bytes"]:
                found = f"is {sizes[tar]} bytes" if tar in sizes else "is missing"
                raise _unusable(folder.address, f"{tar} {found}, not {shard['bytes']} bytes")
        return cls(folder, document, pq.read_table(pa.BufferReader(index)))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __len__(self) -> int:
        return len(self._keys)

    def __contains__(self, key: str) -> bool:
        return self._place(key) is not None

    def close(self) -> None:
        """Let go of the shards."""
        self._folder.close()

    def read(self, key: str) -> dict[str, Tensor]:
        """The tensors of a member.

        Raises:
            KeyError: there is no such member.
            SideShardError: its bytes are not those that were written, or cannot be read.
        """
        place = self._place(key)
        if place is None:
            raise KeyError(key)
        row: dict[str, Any] = self._table.slice(place, 1).to_pylist()[0]
        tar = f"{self._shards[row['shard']]}.tar"
        try:
            data = self._folder.read(tar, row["offset"], row["size"])
        except OSError as error:
            raise _unusable(self._folder.address, f"{tar}: {error}") from error
        if hashlib.sha256(data).digest() != row["sha256"]:
            raise _unusable(self._folder.address, f"{tar} holds other bytes of {key}")
        try:
            tensors: dict[str, Tensor] = safetensors.torch.load(data)
        except SafetensorError as error:
            raise _unusable(self._folder.address, f"{tar}: {key}: {error}") from error
        return tensors

    def _place(self, key: str) -> int | None:
        wanted = key.encode()
        place = int(np.searchsorted(self._keys, np.array(wanted, self._keys.dtype)))
        return place if place < len(self._keys) and self._keys[place] == wanted else None


def _head_in(document: dict[str, Any]) -> SideHead:
    return SideHead(
        document["kind"],
        document["manifest_sha256"],
        document["fingerprint"],
        document["settings"],
    )


def _unusable(folder: str, why: str) -> SideShardError:
    return SideShardError(
        f"precomputed tensors in {folder}: {why}; run `tempo precompute` again as they were made: "
        "it writes what is damaged or missing anew. Then run the same command again, or go "
        "without them: --set precomputed.text=never --set precomputed.latents=never"
    )


def _checked(folder: ShardFolder, name: str, sha256: str) -> bytes:
    data = folder.read(name)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise _unusable(folder.address, f"{name} is not the one that was written")
    return data


def _read_back(tar: Path) -> tuple[tuple[Member, ...], str]:
    """Where each member stands by Python's own tarfile, and the hash of it all."""
    with tarfile.open(tar, "r:") as archive, tar.open("rb") as file:
        found = tuple(_members(archive, file))
    return found, _hash_of(tar)


def _members(archive: tarfile.TarFile, file: io.BufferedReader) -> Iterator[Member]:
    for member in archive:
        file.seek(member.offset_data)
        data = file.read(member.size)
        sha256 = hashlib.sha256(data).hexdigest()
        yield Member(member.name.removesuffix(_SUFFIX), member.offset_data, member.size, sha256)


def _hash_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_record(path: Path) -> WrittenShard:
    document = json.loads(path.read_bytes())
    members = tuple(Member(**member) for member in document.pop("members"))
    return WrittenShard(members=members, **document)
