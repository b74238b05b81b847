"""Read a published shard again and hold all of it against what its version says of it.

Hashes find any changed byte; the rest says what the change means: which member is gone or
elsewhere, which caption or frame count is not the declared one. The price is that every video is
decoded from end to end.
"""

import dataclasses
import hashlib
import json
import tarfile
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any

from curation.captioning import tags
from curation.errors import DatasetError, EncodeError
from curation.identities import clip_id_of, sample_id_of
from curation.records import SampleRow, ShardRow
from curation.shards.writing import MEMBERS, check_video
from curation.video.retime import PACKED_RATE

_REPEATED = (
    "sample_id", "kind", "split", "caption", "frame_count", "width", "height", "licence",
)  # fmt: skip
Members = dict[str, tuple[int, int]]
"""Member -> offset and size of its data in the tar."""


@dataclasses.dataclass(frozen=True, slots=True)
class Disagreement:
    """Two things that should say the same and do not."""

    where: str
    """A file of the version, or 'catalog'."""
    what: str
    """A stable code, such as ``sha256`` or ``member_missing``."""
    detail: str
    sample_id: str | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class ShardToCheck:
    """A shard and what the catalog says of it."""

    tar: Path
    shard: ShardRow
    samples: tuple[SampleRow, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class ShardCheck:
    """What was found in a shard."""

    disagreements: list[Disagreement]
    frames: int
    """Decoded, in videos that agree with their rows."""


def check_shard(task: ShardToCheck) -> ShardCheck:
    """Hash a shard, walk its tar, read every sample at its indexed place and decode its video.

    Raises:
        OSError: the disk fails; a file that is not there is a disagreement.
    """
    name = task.tar.name
    if not task.tar.is_file():
        return ShardCheck([Disagreement(name, "file_missing", "there is no such file")], 0)
    found = list(_sums(task))
    with task.tar.open("rb") as file:
        found += _hash(task, file)
        members, damage = _walk(file)
        found += [Disagreement(name, "tar_damaged", words) for words in damage]
        expected = {f"{row.sample_id}.{kind}" for row in task.samples for kind in MEMBERS}
        found += [
            Disagreement(name, "member_unknown", f"{member} is in the tar and in no row")
            for member in sorted(members.keys() - expected)
        ]
        frames = 0
        for row in task.samples:
            wrong = [
                Disagreement(name, what, detail, row.sample_id)
                for what, detail in _check_sample(row, file, members)
            ]
            frames += 0 if wrong else row.frame_count
            found += wrong
    return ShardCheck(found, frames)


def _sums(task: ShardToCheck) -> Iterator[Disagreement]:
    """The shard's row adds up to those of its samples."""
    frames = sum(row.frame_count for row in task.samples)
    for column, value in (
        ("samples", len(task.samples)),
        ("frames", frames),
        ("seconds", frames / PACKED_RATE),
    ):
        stated = getattr(task.shard, column)
        if stated != value:
            detail = f"{column}: the shard's row says {stated}, its samples' rows {value}"
            yield Disagreement(task.tar.name, "row_sum", detail)


def _hash(task: ShardToCheck, file: BufferedReader) -> Iterator[Disagreement]:
    size = task.tar.stat().st_size
    if size != task.shard.bytes:
        detail = f"{size} bytes, {task.shard.bytes} are declared"
        yield Disagreement(task.tar.name, "size", detail)
    sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != task.shard.sha256:
        detail = f"{sha256}, {task.shard.sha256} is declared"
        yield Disagreement(task.tar.name, "sha256", detail)


def _walk(file: BufferedReader) -> tuple[Members, list[str]]:
    """Where each member is, and what is wrong with the tar itself."""
    members: Members = {}
    damage: list[str] = []
    file.seek(0)
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                if member.name in members:
                    damage.append(f"{member.name} is in it twice")
                members.setdefault(member.name, (member.offset_data, member.size))
    except tarfile.TarError as error:
        damage.append(str(error))
    return members, damage


def _check_sample(
    row: SampleRow, file: BufferedReader, members: Members
) -> Iterator[tuple[str, str]]:
    """What is wrong with one sample: codes and words."""
    content: dict[str, bytes] = {}
    for kind in MEMBERS:
        place = (getattr(row, f"{kind}_offset"), getattr(row, f"{kind}_size"))
        there = members.get(f"{row.sample_id}.{kind}")
        if there is None:
            yield "member_missing", f"no {row.sample_id}.{kind} in the tar"
        elif there != place:
            yield "offset", f".{kind} is at {there}, the index says {place} (offset, size)"
        file.seek(place[0])
        content[kind] = file.read(place[1])
    if hashlib.sha256(content["mp4"]).hexdigest() != row.mp4_sha256:
        yield "video_sha256", "the mp4 is not the one that was packed"
    if content["txt"] != row.caption.encode():
        yield "caption", "the .txt is not the caption of its row"
    yield from _check_document(row, content["json"])
    try:
        check_video(content["mp4"], row.sample_id, row.frame_count, (row.width, row.height))
    except (EncodeError, DatasetError) as error:
        yield "video", str(error)


def _check_document(row: SampleRow, data: bytes) -> Iterator[tuple[str, str]]:
    """The JSON member says of the sample what its row says, and of its shots what fits together."""
    try:
        document = json.loads(data)
        wrong = [*_check_fields(row, document), *_check_shots(row, document["shots"])]
    except (ValueError, KeyError, TypeError) as error:
        yield "json_damaged", f"{type(error).__name__}: {error}"
        return
    for words in wrong:
        yield "json", words
    try:
        told = tags.split(row.caption)
    except ValueError as error:
        yield "caption", str(error)
    else:
        if told != [shot["caption"] for shot in document["shots"]]:
            yield "caption", "the captions of its shots do not make the caption of its row"


def _check_fields(row: SampleRow, document: dict[str, Any]) -> Iterator[str]:
    """The columns of a row that its JSON member repeats."""
    clip_ids = [shot["clip_id"] for shot in document["shots"]]
    said = {field: document[field] for field in _REPEATED} | {"clip_ids": clip_ids}
    for field, value in said.items():
        if value != getattr(row, field):
            yield f"{field} is {value!r}, its row says {getattr(row, field)!r}"
    if document["fps"] != PACKED_RATE:
        yield f"fps is {document['fps']!r}, not {PACKED_RATE}"
    if sample_id_of(clip_ids, document["kind"]) != row.sample_id:
        yield f"{document['kind']} of {clip_ids} is another sample"


def _check_shots(row: SampleRow, shots: list[dict[str, Any]]) -> Iterator[str]:
    """Shots fill the video one after the other, and each shows frames of the clip that it names."""
    begins = [shot["start_frame"] for shot in shots]
    ends = [shot["end_frame"] for shot in shots]
    if [*begins, row.frame_count] != [0, *ends]:
        yield f"shots begin at {begins} and end at {ends} of {row.frame_count} frames"
    for shot in shots:
        source = shot["source"]
        frames, span = source["frames"], (source["start_frame"], source["end_frame"])
        if len(frames) != shot["end_frame"] - shot["start_frame"]:
            yield f"the shot at {shot['start_frame']} lists {len(frames)} source frames"
        if frames != sorted(frames) or not span[0] <= min(frames) <= max(frames) < span[1]:
            yield f"the shot at {shot['start_frame']} shows frames outside {span}"
        if clip_id_of(row.video_id, source["stream_index"], *span) != shot["clip_id"]:
            yield f"frames {span} of film {row.video_id} are another clip than {shot['clip_id']}"
