"""The job of `tempo precompute`: tensors that frozen encoders make of a version, ahead of training.

A set is complete when its ``side.json`` is in place and the catalog has its row, which is appended
last. Running the job again goes on where it was, and mends: every shard is read and held against
its hash, and what is missing or damaged is made anew, byte for byte. Like training it holds a lock
of its own and not the home's, so curation may go on meanwhile.
"""

import contextlib
import dataclasses
import functools
import shutil
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, get_args

import torch

from curation.catalog.store import Catalog
from curation.errors import refuse_if_full
from curation.identities import canonical_json, digest
from curation.records import SideShardsRow, now
from pipelines.crew import Limits
from pipelines.engine import Engine, Failed, Outcome, Stage
from pipelines.job import Progress, new_run_id
from pipelines.precompute_work import (
    ShardMade,
    ShardTask,
    latent_maker,
    make_latents,
    make_text,
    text_maker,
)
from pipelines.precomputed import head_of
from pipelines.run_record import RunRecord, failure_recorded
from pipelines.settings import Home
from pipelines.side_lock import held_set
from pipelines.train_begin import named_in
from pipelines.version import code_version
from training.config import TrainConfig
from training.errors import DamagedSampleError, SideShardError, TrainingError
from training.latent_windows import SampleWindows
from training.samples import Samples
from training.side_shards import Kind, SideHead, WrittenSet, cut_of, publish_set, shard_name
from training.stored_text import caption_key, captions_of
from training.versions import PublishedVersion, published_version

_READERS = 8
_MOST_ITEMS = 4096
"""In a shard: what is lost by a kill, and the least that workers share."""
_OVERHEAD = 1536
"""Bytes of tar and safetensors headers and of padding that a member takes, at most."""
_TIMEOUT_SECONDS = 12 * 3600.0
_MEMORY_BYTES = 256 << 30
"""A bound against leaks alone: the encoders of others may be of any size."""


@dataclasses.dataclass(frozen=True, slots=True)
class PrecomputeRequest:
    """What is to be made.

    Attributes:
        config: of the runs that this is for.
        dataset: ``NAME``, ``NAME@latest`` or ``NAME@3``.
        what: kinds of tensors.
        threads: of each worker.
    """

    config: TrainConfig
    dataset: str
    what: tuple[Kind, ...] = ("text",)
    threads: int = 1

    def __post_init__(self) -> None:
        wrong = [kind for kind in self.what if kind not in get_args(Kind)]
        if wrong or not self.what or len(set(self.what)) < len(self.what):
            raise ValueError(
                f"what = {','.join(self.what)}: give some of {', '.join(get_args(Kind))}, each once"
            )
        if "latents" in self.what and self.config.data.windows.starts is None:
            raise ValueError(
                "what = latents with data.windows.starts = none: windows that begin anywhere are "
                "no list; precompute and train with a number, e.g. --set data.windows.starts=4"
            )


@dataclasses.dataclass(frozen=True)
class PlannedSet:
    """The whole of a set, as far as it can be known without loading an encoder.

    What a call would write of it may be less, down to nothing: only the encoder itself tells
    whether a set that is there is this one, which would keep its cut.

    Attributes:
        kind: of tensors.
        members: how many.
        shards: how many, where none of it is there yet.
        shard_bytes: that each may have: `precomputed.shard_bytes`.
        bytes: at most.
        free_bytes: on the disk of the home.
        before: sets of this kind that the version has, by whatever encoder: their ids.
    """

    kind: str
    members: int
    shards: int
    shard_bytes: int
    bytes: int
    free_bytes: int
    before: list[str]


@dataclasses.dataclass(frozen=True)
class MadeSet:
    """A set that is complete.

    Attributes:
        kind: of tensors.
        side_id: its identity.
        fingerprint: of the encoder.
        folder: where it is.
        members: how many.
        shards: how many.
        written: shards that this call wrote; the others were there.
        bytes: of all shards.
        damaged: sample_id -> why nothing could be made of it.
        seconds: that this call took.
    """

    kind: str
    side_id: str
    fingerprint: str
    folder: Path
    members: int
    shards: int
    written: int
    bytes: int
    damaged: dict[str, str]
    seconds: float

    def document(self) -> dict[str, Any]:
        """As JSON holds it."""
        return dataclasses.asdict(self) | {"folder": str(self.folder)}


@dataclasses.dataclass(frozen=True, slots=True)
class _Work:
    """The content of a set before it is made.

    Attributes:
        items: captions, or ids of samples, in the order in which they are stored.
        sizes: bytes that each takes, at most.
        members: how many members all of them make.
        damaged: sample_id -> why it has no items.
    """

    items: list[str]
    sizes: list[int]
    members: int
    damaged: dict[str, str]

    def shards(self, shard_bytes: int) -> list[tuple[str, ...]]:
        """The items of each shard: a function of what they are, never of who is faster."""
        shards: list[list[str]] = []
        room = 0
        for item, size in zip(self.items, self.sizes, strict=True):
            if size > room or len(shards[-1]) == _MOST_ITEMS:
                shards.append([])
                room = shard_bytes
            shards[-1].append(item)
            room -= size
        return [tuple(items) for items in shards]


def planned(request: PrecomputeRequest, home: Home, progress: Progress) -> list[PlannedSet]:
    """The sets that a call of `precompute` would see to; reads captions, loads and writes nothing.

    Raises:
        TrainingError: the version cannot be read.
        CurationError: no such dataset, or the catalog is unreachable.
    """
    config = request.config
    with Catalog.open(home.catalog()) as catalog:
        version = published_version(catalog, request.dataset)
        found = []
        for kind in request.what:
            work = _work(kind, version, config, progress)
            shard_bytes = config.precomputed.shard_bytes
            shards = len(work.shards(shard_bytes))
            wanted = {"kind": kind, "manifest_sha256": version.sha256}
            found.append(
                PlannedSet(
                    kind=kind,
                    members=work.members,
                    shards=shards,
                    shard_bytes=shard_bytes,
                    bytes=sum(work.sizes) + shards * tarfile.RECORDSIZE,
                    free_bytes=shutil.disk_usage(home.root).free,
                    before=sorted(row.side_id for row in catalog.rows(SideShardsRow, wanted)),
                )
            )
    return found


def precompute(
    request: PrecomputeRequest, home: Home, engine: Engine, progress: Progress
) -> list[MadeSet]:
    """Make sets, or see that they are whole.

    Raises:
        TrainingError: the version cannot be read, a shard cannot be made, or another process is at
            the same set.
        CurationError: no such dataset, the disk is full, or the catalog is unreachable.
    """
    begun = now()
    with Catalog.open(home.catalog()) as catalog:
        version = published_version(catalog, request.dataset)
        # The network's weights are not read here, so they are not held against their hashes.
        config = named_in(home, request.config)
        limits = Limits(_TIMEOUT_SECONDS, _MEMORY_BYTES, threads=request.threads)
        job = _Job(home, catalog, version, config, engine, limits, progress, new_run_id())
        record = RunRecord(job.run_id, "precompute", config.recipe, config, begun)
        with failure_recorded(record, home.catalog(), progress.say):
            made = [job.make(kind) for kind in request.what]
        summary = {"dataset": version.reference, "sets": [found.document() for found in made]}
        catalog.append("runs", [record.row("ok", summary)])
    return made


@dataclasses.dataclass(frozen=True)
class _Job:
    """A call under way."""

    home: Home
    catalog: Catalog
    version: PublishedVersion
    config: TrainConfig
    engine: Engine
    limits: Limits
    progress: Progress
    run_id: str

    def make(self, kind: Kind) -> MadeSet:
        """See that a set is whole, and that the catalog has it."""
        begun = now()
        head = head_of(kind, self.version, self.config)
        folder = side_folder(self.home, self.version, head)
        with held_set(folder):
            size = self._cut(folder, head)
            work = _work(kind, self.version, self.config, self.progress)
            shards = self._shards(kind, folder, work.shards(size))
            in_place = [made.shard for made in shards]
            written = publish_set(folder, head, size, in_place, work.damaged)
            self._register(head, written)
        return MadeSet(
            kind=kind,
            side_id=head.side_id,
            fingerprint=head.fingerprint,
            folder=folder,
            members=written.members,
            shards=written.shards,
            written=sum(made.fresh for made in shards),
            bytes=written.bytes,
            damaged=written.damaged,
            seconds=round((now() - begun).total_seconds(), 3),
        )

    def _cut(self, folder: Path, head: SideHead) -> int:
        """Most bytes of a shard: a complete set stays as it is, for a run may be reading it."""
        asked = self.config.precomputed.shard_bytes
        stands = cut_of(folder, head)
        if stands is None or stands == asked:
            return asked
        self.progress.say(
            f"{head.folder_name} is cut into shards of {stands:,} bytes at most and stays so "
            f"(precomputed.shard_bytes = {asked:,}): to cut it anew, delete its folder first"
        )
        return stands

    def _shards(self, kind: Kind, folder: Path, parts: list[tuple[str, ...]]) -> list[ShardMade]:
        tasks = [
            ShardTask(folder, shard_name(k), digest("side-shard", *items), items)
            for k, items in enumerate(parts)
        ]
        self.progress.stage(kind, len(tasks))
        made = []
        for outcome in self._outcomes(kind, tasks):
            if isinstance(outcome, Failed):
                raise _failure(outcome)
            made.append(outcome.value)
            self.progress.advance()
        return sorted(made, key=lambda one: one.shard.shard)

    def _outcomes(
        self, kind: Kind, tasks: list[ShardTask]
    ) -> Iterator[Outcome[ShardTask, ShardMade]]:
        config, locks, limits = self.config, self.home.precomputed, self.limits
        if kind == "text":
            embedding = functools.partial(text_maker, config, locks)
            return self.engine.map(Stage(kind, embedding, make_text, limits), tasks)
        version = self.version
        encoding = functools.partial(latent_maker, version.manifest, version.sha256, config, locks)
        return self.engine.map(Stage(kind, encoding, make_latents, limits), tasks)

    def _register(self, head: SideHead, written: WrittenSet) -> None:
        """Give the set its row; one that has it, for the same bytes, keeps it."""
        stands = {"side_id": head.side_id, "sha256": written.ref.sha256}
        if self.catalog.read("side_shards", stands, ["side_id"]).num_rows:
            return
        dataset, _, version = self.version.reference.partition("@")
        row = SideShardsRow(
            side_id=head.side_id,
            kind=head.kind,
            dataset=dataset,
            version=int(version),
            manifest_sha256=head.manifest_sha256,
            fingerprint=head.fingerprint,
            settings=canonical_json(head.settings),
            uri=Path(written.ref.manifest).relative_to(self.home.root).as_posix(),
            sha256=written.ref.sha256,
            shards=written.shards,
            members=written.members,
            bytes=written.bytes,
            damaged=len(written.damaged),
            recipe=self.config.recipe,
            code_version=code_version(),
            run_id=self.run_id,
            recorded_at=now(),
        )
        self.catalog.append("side_shards", [row])


def side_folder(home: Home, version: PublishedVersion, head: SideHead) -> Path:
    """Where a set of a version is made."""
    name, _, number = version.reference.partition("@")
    return home.precomputed / name / number / head.folder_name


def _work(kind: Kind, version: PublishedVersion, config: TrainConfig, progress: Progress) -> _Work:
    if kind == "text":
        return _text_work(version, config, progress)
    with SampleWindows.open(version.manifest, version.sha256, config) as windows:
        items = sorted(windows.ids)
        counts = [len(windows.of(sample)) for sample in items]
        sizes = [
            windows.bytes_of(sample) + count * _OVERHEAD
            for sample, count in zip(items, counts, strict=True)
        ]
    return _Work(items, sizes, sum(counts), {})


def _text_work(version: PublishedVersion, config: TrainConfig, progress: Progress) -> _Work:
    """All captions of a version, both sides, and the empty one that dropped captions become."""
    captions, damaged = {""}, {}
    samples = Samples.open(version.manifest, None, version.sha256)

    def read(index: int) -> set[str] | DamagedSampleError:
        try:
            return captions_of(samples.shots(index))
        except DamagedSampleError as error:
            return error

    progress.stage("read", len(samples))
    # Threads, for a store answers each read after milliseconds of silence.
    with contextlib.closing(samples), ThreadPoolExecutor(_READERS) as readers:
        for found in readers.map(read, range(len(samples))):
            if isinstance(found, DamagedSampleError):
                damaged[found.sample_id] = found.reason
            else:
                captions |= found
            progress.advance()
    text = config.text
    width = config.network.size.text_dim if text.width is None else text.width
    element = config.engine.dtype.itemsize if text.kind == "umt5" else torch.float32.itemsize
    items = sorted(captions, key=caption_key)
    size = text.length * width * element + _OVERHEAD
    return _Work(items, [size] * len(items), len(items), damaged)


def _failure(outcome: Failed[ShardTask]) -> TrainingError:
    refuse_if_full(outcome.error)
    if isinstance(outcome.error, TrainingError):
        return outcome.error
    return SideShardError(
        f"shard {outcome.item.name} of {outcome.item.folder.name} could not be written "
        f"({outcome.kind}): {outcome.message}; run again: finished shards are kept"
    )
