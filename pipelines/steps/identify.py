"""Which films are these? Paths become video_ids, and each film is in the library once.

A file whose size and modification time are those of its row in `sources` is not hashed again.
"""

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from curation.records import SourceRow, digest, now, video_id_of
from pipelines.crew import Limits
from pipelines.engine import Done, Stage
from pipelines.inputs import FilmInput
from pipelines.job import Job

_HASH_LIMITS = Limits(timeout_seconds=6 * 3600.0, memory_bytes=2 << 30)
_COMMIT_EVERY = 10_000


@dataclasses.dataclass(frozen=True, slots=True)
class LibraryFilm:
    """A film, by its content, and one place where it lies."""

    video_id: str
    path: Path
    uri: str
    caption: str | None
    licence: str | None
    unreadable: str | None
    """Why its bytes cannot be read at all; its id then stands for the uri."""


@dataclasses.dataclass(frozen=True, slots=True)
class Library:
    """The films of a run."""

    films: dict[str, LibraryFilm]
    """By video_id, in the order of their uris."""
    files: int
    duplicates: int
    """Files whose bytes are those of another file."""
    taken_down: int
    hashed: int


def identify(job: Job, inputs: list[FilmInput]) -> Library:
    """Give each file its video_id, and record what is new in `sources`."""
    known = {row.uri: row for row in job.catalog.rows(SourceRow)}
    taken_down = set(job.catalog.read("takedowns", columns=["video_id"])["video_id"].to_pylist())
    films: dict[str, LibraryFilm] = {}
    fresh: list[SourceRow] = []
    counts = {"duplicates": 0, "taken_down": 0, "hashed": 0}
    job.progress.stage("identify", len(inputs))
    for film, row in _identified(job, inputs, known):
        job.progress.advance()
        if known.get(row.uri) != row:
            fresh.append(row)
            counts["hashed"] += row.video_id is not None
        video_id = row.video_id or digest("unreadable", row.uri)
        if video_id in taken_down:
            counts["taken_down"] += 1
        elif video_id in films:
            counts["duplicates"] += 1
            films[video_id] = _richer(films[video_id], film)
        else:
            films[video_id] = LibraryFilm(
                video_id, film.path, film.uri, film.caption, film.licence, _unreadable(film, row)
            )
    for start in range(0, len(fresh), _COMMIT_EVERY):
        job.catalog.append("sources", fresh[start : start + _COMMIT_EVERY])
    ordered = dict(sorted(films.items(), key=lambda item: item[1].uri))
    return Library(ordered, files=len(inputs), **counts)


def _richer(film: LibraryFilm, other: FilmInput) -> LibraryFilm:
    """Of two files with the same bytes, words and licence are taken from whichever has them."""
    return dataclasses.replace(
        film, caption=film.caption or other.caption, licence=film.licence or other.licence
    )


def _identified(
    job: Job, inputs: list[FilmInput], known: dict[str, SourceRow]
) -> Iterable[tuple[FilmInput, SourceRow]]:
    to_hash: list[tuple[FilmInput, SourceRow]] = []
    for film in inputs:
        row = _stat_row(film)
        before = known.get(film.uri)
        if row.size < 0:
            yield film, row
        elif before and before.video_id and (before.size, before.mtime_ns) == _state(row):
            unchanged = (before.caption, before.licence) == (film.caption, film.licence)
            row = dataclasses.replace(row, video_id=before.video_id)
            yield film, before if unchanged else row
        else:
            to_hash.append((film, row))
    stage = Stage.stateless("identify", _hash, _HASH_LIMITS)
    for outcome in job.engine.map(stage, to_hash):
        film, row = outcome.item
        video_id = outcome.value if isinstance(outcome, Done) else None
        yield film, dataclasses.replace(row, video_id=video_id)


def unchanged(row: SourceRow) -> bool:
    """True when the file is as it was when its row was written, by size and time."""
    try:
        stat = Path(row.uri).stat()
    except (OSError, ValueError):
        return False
    return row.video_id is not None and _state(row) == (stat.st_size, stat.st_mtime_ns)


def _state(row: SourceRow) -> tuple[int, int]:
    return row.size, row.mtime_ns


def _stat_row(film: FilmInput) -> SourceRow:
    """The source's row as far as its directory entry tells; size -1 when it cannot be read."""
    size, mtime = -1, 0
    try:
        stat = film.path.stat()
        if film.path.is_file():
            size, mtime = stat.st_size, stat.st_mtime_ns
    except (OSError, ValueError):
        size = -1
    return SourceRow(
        uri=film.uri,
        video_id=None,
        size=size,
        mtime_ns=mtime,
        licence=film.licence,
        caption=film.caption,
        recorded_at=now(),
    )


def _unreadable(film: FilmInput, row: SourceRow) -> str | None:
    if row.video_id is not None:
        return None
    if "://" in film.uri:
        return "remote_address"
    if film.path.is_dir():
        return "not_a_file"
    return "unreadable"


def _hash(item: tuple[FilmInput, SourceRow]) -> str:
    return video_id_of(item[0].path)
