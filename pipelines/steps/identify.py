"""Which films are these? Paths become video_ids, and each film is in the library once.

A file whose size and modification time are those of its row in `sources` is not hashed again. Rows
are appended once a minute, so a run that is killed while it hashes loses a minute of it; the
trade-off is a small data file in `sources` for each.
"""

import dataclasses
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from curation.identities import digest, video_id_of
from curation.records import SourceRow, no_earlier_than, now
from curation.remote import FilmPlace, StoredObject, at_hand, place_of
from pipelines.crew import Limits
from pipelines.engine import Done, Stage
from pipelines.inputs import FilmInput
from pipelines.job import Job

if TYPE_CHECKING:
    from curation.catalog.store import Catalog

_HASH_LIMITS = Limits(timeout_seconds=6 * 3600.0, memory_bytes=2 << 30)
_COMMIT_EVERY = 10_000
_COMMIT_SECONDS = 60.0


@dataclasses.dataclass(frozen=True, slots=True)
class LibraryFilm:
    """A film, by its content, and one place where it lies."""

    video_id: str
    path: FilmPlace
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


def identify(job: Job, inputs: list[FilmInput]) -> Library:
    """Give each file its video_id, and record what is new in `sources`."""
    known = {row.uri: row for row in job.catalog.rows(SourceRow)}
    barred = taken_down(job.catalog)
    files: list[LibraryFilm] = []
    fresh: list[SourceRow] = []
    appended = time.monotonic()
    job.progress.stage("identify", len(inputs))
    for film, found in _identified(job, inputs, known):
        job.progress.advance()
        # The words of a film that was taken down are purged, and are not taken in again.
        row = dataclasses.replace(found, caption=None) if found.video_id in barred else found
        files.append(_library_film(film, row))
        before = known.get(row.uri)
        if not _says_the_same(before, row):
            dated = no_earlier_than(row.recorded_at, before.recorded_at if before else None)
            fresh.append(dataclasses.replace(row, recorded_at=dated))
        if len(fresh) >= _COMMIT_EVERY or time.monotonic() - appended >= _COMMIT_SECONDS:
            job.catalog.append("sources", fresh)
            fresh, appended = [], time.monotonic()
    job.catalog.append("sources", fresh)
    usable = [file for file in files if file.video_id not in barred]
    films = once(usable)
    return Library(
        films,
        files=len(inputs),
        duplicates=len(usable) - len(films),
        taken_down=len(files) - len(usable),
    )


def once(files: Iterable[LibraryFilm]) -> dict[str, LibraryFilm]:
    """Each film once, by video_id, in the order of uris.

    Of files with the same bytes the first by uri speaks for the film; its caption and its licence
    are each of the first file that has one. So nothing that is published depends on which copy was
    hashed first, or in which run.
    """
    films: dict[str, LibraryFilm] = {}
    for file in sorted(files, key=lambda file: file.uri):
        first = films.setdefault(file.video_id, file)
        if first is not file:
            films[file.video_id] = dataclasses.replace(
                first,
                caption=first.caption or file.caption,
                licence=first.licence or file.licence,
            )
    return films


def recorded_films(catalog: "Catalog") -> dict[str, LibraryFilm]:
    """The films that a home was ever offered and has not seen replaced, taken down or not."""
    return once(
        LibraryFilm(row.video_id, place_of(row.uri), row.uri, row.caption, row.licence, None)
        for row in catalog.rows(SourceRow)
        if row.video_id is not None
    )


def taken_down(catalog: "Catalog") -> set[str]:
    """The video_ids of films that must not be used."""
    return set(catalog.read("takedowns", columns=["video_id"])["video_id"].to_pylist())


def _library_film(film: FilmInput, row: SourceRow) -> LibraryFilm:
    return LibraryFilm(
        video_id=row.video_id or digest("unreadable", row.uri),
        path=film.path,
        uri=film.uri,
        caption=film.caption,
        licence=film.licence,
        unreadable=_unreadable(film, row),
    )


def _says_the_same(before: SourceRow | None, row: SourceRow) -> bool:
    return before is not None and dataclasses.replace(row, recorded_at=before.recorded_at) == before


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
            yield film, dataclasses.replace(row, video_id=before.video_id)
        else:
            to_hash.append((film, row))
    stage = Stage.stateless("identify", _hash, _HASH_LIMITS)
    for outcome in job.engine.map(stage, to_hash):
        film, row = outcome.item
        video_id = outcome.value if isinstance(outcome, Done) else None
        yield film, dataclasses.replace(row, video_id=video_id)


def unchanged(row: SourceRow) -> bool:
    """True when the file is as it was when its row was written, by size and time."""
    return row.video_id is not None and _state(row) == _state_now(place_of(row.uri))


def _state(row: SourceRow) -> tuple[int, int]:
    return row.size, row.mtime_ns


def _stat_row(film: FilmInput) -> SourceRow:
    """The source's row as far as its directory entry tells; size -1 when it cannot be read."""
    size, mtime = _state_now(film.path)
    return SourceRow(
        uri=film.uri,
        video_id=None,
        size=size,
        mtime_ns=mtime,
        licence=film.licence,
        caption=film.caption,
        recorded_at=now(),
    )


def current_size(film: FilmInput) -> int:
    """Bytes of a film that was offered; -1 when it cannot be read."""
    return _state_now(film.path)[0]


def _state_now(place: FilmPlace) -> tuple[int, int]:
    """Size and time of change of what lies there; size -1 when it cannot be read."""
    try:
        if isinstance(place, StoredObject):
            return place.state()
        stat = place.stat()
        return (stat.st_size, stat.st_mtime_ns) if place.is_file() else (-1, 0)
    except (OSError, ValueError):
        return -1, 0


def _unreadable(film: FilmInput, row: SourceRow) -> str | None:
    if row.video_id is not None:
        return None
    if isinstance(film.path, StoredObject):
        return "unreadable"
    if "://" in film.uri:
        return "remote_address"
    if film.path.is_dir():
        return "not_a_file"
    return "unreadable"


def _hash(item: tuple[FilmInput, SourceRow]) -> str:
    with at_hand(item[0].path) as path:
        return video_id_of(path)
