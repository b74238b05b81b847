"""Write one shard: encode its samples, tar them, read everything back, then make it visible.

A shard is there when its index is: ``train-000000.tar`` is renamed into place first and
``train-000000.json`` after it, each written under a temporary name and synced. A run that finds the
index has nothing to do for that shard. The price of reading back is a second decode of every
sample, about a tenth of what encoding costs.
"""

import dataclasses
import hashlib
import io
import json
import os
import tarfile
import uuid
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

from curation.errors import CurationError, EncodeError, FilmError
from curation.identities import canonical_json
from curation.records import SampleRow, ShardRow
from curation.shards.document import SamplePlan, sample_document
from curation.shards.encoding import EncodedSample, encode_sample
from curation.unfinished import replacing
from curation.video.encode import EncodeSettings
from curation.video.packed import PackedVideo, read_through
from curation.video.retime import PACKED_RATE

MEMBERS = ("json", "mp4", "txt")


@dataclasses.dataclass(frozen=True, slots=True)
class StoredVideo:
    """A video that is there already, byte for byte what encoding would give."""

    tar: Path
    mp4_offset: int
    mp4_size: int
    mp4_sha256: str
    json_offset: int
    json_size: int
    fresh: bool = False
    """It was encoded for this version, ahead of its shard; else an earlier version holds it."""


@dataclasses.dataclass(frozen=True, slots=True)
class ShardTask:
    """A shard that is to be written."""

    name: str
    """'train-000000'."""
    folder: Path
    samples: tuple[SamplePlan, ...]
    stored: dict[str, StoredVideo]
    """sample_id -> where its video is already."""
    settings: EncodeSettings
    publish_id: str
    pack_fingerprint: str
    given_up: dict[str, FilmError] = dataclasses.field(default_factory=dict)
    """sample_id -> why it is not tried: it has felled a worker before, or its film lacks it."""


@dataclasses.dataclass(frozen=True, slots=True)
class ShardResult:
    """What became of a shard."""

    name: str
    shard: ShardRow | None
    """None when not one sample could be packed: there is no tar then."""
    samples: list[SampleRow]
    lost: list[dict[str, Any]]
    """Samples that could not be packed: sample_id, reason, message, transient."""
    encoded: int
    """Samples that were encoded; the others were copied from an earlier version."""


def write_shard(task: ShardTask) -> ShardResult:
    """Write, verify and index a shard, or read the index of one that is there already.

    Raises:
        OSError: the disk is full or read-only; nothing half-written is left visible.
        EncodeError: what was written does not read back as it was meant.
    """
    index = index_of(task.folder, task.name)
    if index.is_file():
        return _read_index(index)
    task.folder.mkdir(parents=True, exist_ok=True)
    tar = task.folder / f"{task.name}.tar"
    # A name of its own, as that of a film's traces: a node given up may be at this shard still.
    partial = task.folder / f".{task.name}.{uuid.uuid4().hex[:8]}.tar.partial"
    packed: list[tuple[SamplePlan, int]] = []
    lost: list[dict[str, Any]] = []
    encoded = 0
    try:
        with partial.open("wb") as file:
            with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                for plan in task.samples:
                    try:
                        video, fresh = _video_of(plan, task)
                    except CurationError as error:
                        lost.append(_lost(plan, error))
                        continue
                    encoded += fresh
                    add_members(archive, plan, video)
                    packed.append((plan, video.frame_count))
            _sync(file)
        result = _describe(task, partial, packed, lost, encoded)
        if packed:
            partial.rename(tar)
        _write_index(index, result)
    finally:
        partial.unlink(missing_ok=True)
    return result


def index_of(folder: Path, shard: str) -> Path:
    """The file whose presence says that a shard is done."""
    return folder / f"{shard}.json"


def try_sample(task: ShardTask) -> None:
    """Do to a shard's one sample all that could fell a worker, and keep nothing of it.

    Raises:
        EncodeError: the video does not read back as it was meant.
        DatasetError: it cannot be read back at all.
    """
    (plan,) = task.samples
    try:
        video, _ = _video_of(plan, task)
    except CurationError:
        return  # no harm to its neighbours: `write_shard` loses it in the ordinary way
    with tarfile.open(fileobj=io.BytesIO(), mode="w", format=tarfile.USTAR_FORMAT) as archive:
        add_members(archive, plan, video)
    check_video(video.mp4, plan.sample_id, video.frame_count, plan.size)


def _video_of(plan: SamplePlan, task: ShardTask) -> tuple[EncodedSample, bool]:
    """The sample's video, copied where it is there already; whether this version encoded it."""
    if plan.sample_id in task.given_up:
        raise task.given_up[plan.sample_id]
    stored = task.stored.get(plan.sample_id)
    if stored is not None:
        video = _copy(stored)
        if video is not None:
            return video, stored.fresh
    sources = [clip.source for clip in plan.clips]
    return encode_sample(sources, plan.size, task.settings), True


def _copy(stored: StoredVideo) -> EncodedSample | None:
    """Read a stored video; None when its tar is gone or no longer holds those bytes."""
    try:
        with stored.tar.open("rb") as file:
            file.seek(stored.mp4_offset)
            mp4 = file.read(stored.mp4_size)
            file.seek(stored.json_offset)
            document = json.loads(file.read(stored.json_size))
    except (OSError, ValueError):
        return None
    if hashlib.sha256(mp4).hexdigest() != stored.mp4_sha256:
        return None
    frames = [shot["source"]["frames"] for shot in document["shots"]]
    return EncodedSample(mp4, document["frame_count"], frames)


def add_members(archive: tarfile.TarFile, plan: SamplePlan, video: EncodedSample) -> None:
    """Tell of nothing but the sample: a `TarInfo` has no time, owner or machine of its own."""
    data = (sample_document(plan, video), video.mp4, plan.caption.encode())
    for kind, content in zip(MEMBERS, data, strict=True):
        member = tarfile.TarInfo(f"{plan.sample_id}.{kind}")
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))


def _lost(plan: SamplePlan, error: CurationError) -> dict[str, Any]:
    reason, message, transient = "encode_failed", str(error), False
    if isinstance(error, FilmError):
        reason, transient = error.reason, error.transient
    elif not isinstance(error, EncodeError):
        # Its own words name a folder of this machine, which no manifest may.
        reason, transient = "traces_unreadable", True
        traces = plan.clips[0].source.traces
        message = f"remove {traces.name} from the home's films and curate again"
    return {
        "sample_id": plan.sample_id,
        "reason": reason,
        "message": message,
        "transient": transient,
    }


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _describe(
    task: ShardTask,
    tar: Path,
    packed: list[tuple[SamplePlan, int]],
    lost: list[dict[str, Any]],
    encoded: int,
) -> ShardResult:
    """Read the tar back: offsets, hashes, and a full decode of each video."""
    if not packed:
        return ShardResult(task.name, None, [], lost, encoded)
    rows = []
    with tarfile.open(tar, "r:") as archive, tar.open("rb") as file:
        members = {member.name: member for member in archive}
        if len(members) != len(MEMBERS) * len(packed):
            raise EncodeError(f"{task.name}: {len(members)} tar members for {len(packed)} samples")
        for plan, frame_count in packed:
            of_sample = {kind: members[f"{plan.sample_id}.{kind}"] for kind in MEMBERS}
            file.seek(of_sample["mp4"].offset_data)
            mp4 = file.read(of_sample["mp4"].size)
            check_video(mp4, plan.sample_id, frame_count, plan.size)
            rows.append(_sample_row(task, plan, of_sample, mp4, frame_count))
        file.seek(0)
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    frames = sum(row.frame_count for row in rows)
    shard = ShardRow(
        publish_id=task.publish_id,
        shard=task.name,
        split=packed[0][0].split,
        bytes=tar.stat().st_size,
        samples=len(rows),
        frames=frames,
        seconds=frames / PACKED_RATE,
        sha256=sha256,
    )
    return ShardResult(task.name, shard, rows, lost, encoded)


def check_video(mp4: bytes, sample_id: str, frame_count: int, size: tuple[int, int]) -> None:
    """Decode a packed video from end to end, and hold it against what its sample declares.

    Raises:
        EncodeError: naming the sample and the disagreement.
        DatasetError: it cannot be opened as a loader does, or not decoded.
    """
    video = PackedVideo(mp4)
    if len(video) != frame_count:
        raise EncodeError(f"{sample_id}: {len(video)} frames in the mp4, {frame_count} declared")
    if round(video.fps, 3) != PACKED_RATE:
        raise EncodeError(f"{sample_id}: {video.fps} frames per second, not {PACKED_RATE}")
    decoded = 0
    for frame in read_through(mp4):
        if (frame.width, frame.height) != size or frame.format.name != "yuv420p":
            raise EncodeError(f"{sample_id}: frame {decoded} is {frame}, not {size} and 4:2:0")
        shown_at = None if frame.pts is None else frame.pts * (frame.time_base or 0)
        if shown_at != Fraction(decoded, PACKED_RATE):
            raise EncodeError(f"{sample_id}: frame {decoded} is shown at {shown_at} s")
        decoded += 1
    if decoded != frame_count:
        raise EncodeError(f"{sample_id}: {decoded} of {frame_count} frames can be decoded")


def _sample_row(
    task: ShardTask,
    plan: SamplePlan,
    members: dict[str, tarfile.TarInfo],
    mp4: bytes,
    frame_count: int,
) -> SampleRow:
    return SampleRow(
        publish_id=task.publish_id,
        sample_id=plan.sample_id,
        kind=plan.kind,
        video_id=plan.clips[0].row.video_id,
        clip_ids=[clip.row.clip_id for clip in plan.clips],
        split=plan.split,
        shard=task.name,
        frame_count=frame_count,
        width=plan.size[0],
        height=plan.size[1],
        caption=plan.caption,
        licence=plan.licence,
        pack_fingerprint=task.pack_fingerprint,
        mp4_offset=members["mp4"].offset_data,
        mp4_size=members["mp4"].size,
        mp4_sha256=hashlib.sha256(mp4).hexdigest(),
        txt_offset=members["txt"].offset_data,
        txt_size=members["txt"].size,
        json_offset=members["json"].offset_data,
        json_size=members["json"].size,
    )


def _write_index(index: Path, result: ShardResult) -> None:
    with replacing(index) as partial:
        partial.write_bytes(canonical_json(result).encode())


def _read_index(index: Path) -> ShardResult:
    document = json.loads(index.read_bytes())
    return ShardResult(
        name=document["name"],
        shard=None if document["shard"] is None else ShardRow(**document["shard"]),
        samples=[SampleRow(**row) for row in document["samples"]],
        lost=document["lost"],
        encoded=document["encoded"],
    )
