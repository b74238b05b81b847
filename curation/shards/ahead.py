"""Encode all samples of one film in one pass over it, before their shards are written.

For films that cannot be entered in the middle: sample by sample, each would be decoded from its
start. Samples of a film are strewn over all shards of a version, so they are encoded into a tar of
the film's own, from which the shards then copy. The price is the disk that this tar takes until the
version is published.
"""

import collections
import dataclasses
import hashlib
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

from curation.errors import EncodeError, FilmError
from curation.identities import canonical_json
from curation.remote import at_hand
from curation.shards.document import SamplePlan
from curation.shards.encoding import EncodedSample, SampleEncoder, frame_table
from curation.shards.writing import StoredVideo, add_members
from curation.unfinished import replacing
from curation.video.encode import EncodeSettings
from curation.video.film import Film, Frame
from curation.video.spans import FrameTable, moved, read_through


@dataclasses.dataclass(frozen=True, slots=True)
class FilmTask:
    """A film whose samples are to be encoded together."""

    video_id: str
    folder: Path
    samples: tuple[SamplePlan, ...]
    """All of this film."""
    settings: EncodeSettings


@dataclasses.dataclass(frozen=True, slots=True)
class FilmResult:
    """What became of a film's samples; one that is in neither may be tried on its own."""

    stored: dict[str, StoredVideo]
    """sample_id -> where its video is."""
    given_up: dict[str, FilmError]
    """sample_id -> why the film does not give it."""


def encode_film(task: FilmTask) -> FilmResult:
    """Encode the samples of a film, or find those that an earlier run encoded.

    Raises:
        FilmError: the film does not open.
        OSError: the disk is full or read-only; nothing half-written is left visible.
    """
    tar, index = (task.folder / f"{task.video_id}.{kind}" for kind in ("tar", "json"))
    if not index.is_file():
        task.folder.mkdir(parents=True, exist_ok=True)
        given_up: dict[str, dict[str, object]] = {}
        with (
            replacing(tar) as partial,
            tarfile.open(partial, "w", format=tarfile.USTAR_FORMAT) as archive,
        ):
            for plan, outcome in _encoded(task):
                if isinstance(outcome, EncodedSample):
                    add_members(archive, plan, outcome)
                elif isinstance(outcome, FilmError):
                    given_up[plan.sample_id] = {
                        name: getattr(outcome, name) for name in ("reason", "message", "transient")
                    }
        with replacing(index) as partial:
            partial.write_bytes(canonical_json(given_up).encode())
    recorded = json.loads(index.read_bytes())
    return FilmResult(
        _stored(tar), {sample: FilmError(**error) for sample, error in recorded.items()}
    )


Outcome = EncodedSample | EncodeError | FilmError


def _encoded(task: FilmTask) -> Iterator[tuple[SamplePlan, Outcome]]:
    """Each sample with its video, or with what is wrong, as the film goes by.

    Only samples that overlap in the film are in the making at once: those of a clip, alone and in
    sequences.
    """
    first = min(task.samples, key=_begins).clips[0].source
    with at_hand(first.path) as path:
        yield from _encoded_from(task, Film(path), frame_table(first.traces, first.video))


def _encoded_from(
    task: FilmTask, film: Film, table: FrameTable
) -> Iterator[tuple[SamplePlan, Outcome]]:
    waiting = collections.deque(sorted(task.samples, key=_begins))
    making: list[tuple[SamplePlan, SampleEncoder]] = []
    try:
        for frame in read_through(film, table):
            while waiting and _begins(waiting[0]) == frame.index:
                plan = waiting.popleft()
                clips = [clip.source for clip in plan.clips]
                encoder = SampleEncoder(clips, film.info, table, plan.size, task.settings)
                making.append((plan, encoder))
            for plan, encoder in [pair for pair in making if pair[1].awaits == frame.index]:
                outcome = _after(encoder, frame)
                if outcome is not None:
                    making.remove((plan, encoder))
                    yield plan, outcome
            if not (waiting or making):
                return
    finally:
        for _, encoder in making:
            encoder.abandon()
    for plan, encoder in making:
        assert encoder.awaits is not None
        yield plan, moved(encoder.awaits)
    for plan in waiting:
        yield plan, moved(_begins(plan))


def _begins(plan: SamplePlan) -> int:
    return plan.clips[0].source.start_frame


def _after(encoder: SampleEncoder, frame: Frame) -> EncodedSample | EncodeError | None:
    """What a sample has become with one more frame; None while it is in the making."""
    try:
        encoder.take(frame)
        return encoder.finish() if encoder.awaits is None else None
    except EncodeError as error:
        encoder.abandon()
        return error


def _stored(tar: Path) -> dict[str, StoredVideo]:
    """Where each sample of a film's tar is."""
    places: dict[str, dict[str, tarfile.TarInfo]] = {}
    with tarfile.open(tar, "r:") as archive:
        for member in archive:
            sample, _, kind = member.name.partition(".")
            places.setdefault(sample, {})[kind] = member
    stored = {}
    with tar.open("rb") as file:
        for sample, members in places.items():
            file.seek(members["mp4"].offset_data)
            stored[sample] = StoredVideo(
                tar=tar,
                mp4_offset=members["mp4"].offset_data,
                mp4_size=members["mp4"].size,
                mp4_sha256=hashlib.sha256(file.read(members["mp4"].size)).hexdigest(),
                json_offset=members["json"].offset_data,
                json_size=members["json"].size,
                fresh=True,
            )
    return stored
