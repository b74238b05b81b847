"""Scan and derive: every film that is new, or that an earlier run could not finish.

A worker scans one film and derives its shots and clips; this process is the one that commits. Rows
go in by batches, clips before shots before videos: a film's row in `videos` marks it as done, so
what a kill leaves behind is completed by the next run and never read as whole.
"""

import dataclasses
import datetime as dt
import functools
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from curation.derive import DeriveConfig, Derived, derive_film
from curation.errors import CurationError, FilmError, NetworkError, refuse_if_full
from curation.measure.shots.transnet import Network
from curation.records import VideoRow, no_earlier_than, now
from curation.remote import at_hand
from curation.scan import ScanConfig, scan_film
from curation.traces import Traces, discard_partial, trace_folder
from pipelines.crew import Limits, StageSetupError
from pipelines.engine import Done, Failed, Outcome, Stage
from pipelines.job import Job
from pipelines.steps.identify import Library, LibraryFilm

_BATCH_FILMS = 64
_BATCH_SECONDS = 20.0
_LOOK_AHEAD = 6


@dataclasses.dataclass(frozen=True, slots=True)
class IngestConfig:
    """What one film may cost before it is given up.

    Attributes:
        film_seconds: wall time; a decoder that hangs is stopped then.
        film_memory_bytes: resident memory of the worker.
        decoder_threads: threads that decode one film; None: one, unless there are fewer films than
            cores.
    """

    film_seconds: float = 4 * 3600.0
    film_memory_bytes: int = 4 << 30
    decoder_threads: int | None = None

    def __post_init__(self) -> None:
        if self.film_seconds <= 0:
            raise ValueError(f"ingest.film_seconds = {self.film_seconds}: give more than 0")
        if self.film_memory_bytes < 256 << 20:
            raise ValueError(
                f"ingest.film_memory_bytes = {self.film_memory_bytes}: give at least 268435456"
            )
        if self.decoder_threads is not None and self.decoder_threads < 1:
            raise ValueError(f"ingest.decoder_threads = {self.decoder_threads}: give at least 1")


@dataclasses.dataclass(frozen=True, slots=True)
class FilmWork:
    """A film that is to be scanned, derived, or both."""

    film: LibraryFilm
    folder: Path
    scanned: VideoRow | None
    """The film's row where an earlier run has scanned it."""
    since: dt.datetime | None = None
    """When the row was written that the film has now, whatever it says."""


@dataclasses.dataclass(frozen=True, slots=True)
class FilmDone:
    """What came of a film."""

    video: VideoRow
    derived: Derived
    decodes: int
    """Full decodes that this run made of it."""


ScanStage: TypeAlias = Stage[Network | None, FilmWork, FilmDone]


@dataclasses.dataclass(frozen=True, slots=True)
class Ingested:
    """What the step did."""

    scanned: int
    derived: int
    """Films whose shots and clips were derived again without decoding."""
    decodes: int


def pending(
    job: Job, library: Library, scan: ScanConfig, derive: DeriveConfig, *, retry: bool
) -> list[FilmWork]:
    """The films that this run has to work on.

    A film whose traces are gone or damaged is scanned anew, whatever its row says.

    Args:
        job: the job.
        library: the films that were offered.
        scan: how films are scanned; those scanned so already are not scanned again.
        derive: how shots and clips are derived.
        retry: also try films again whose quarantine is permanent.
    """
    videos = {
        row.video_id: row
        for row in job.catalog.rows(VideoRow, {"scan_fingerprint": scan.fingerprint})
    }
    made_by = derive.fingerprint(scan.fingerprint)
    shots = job.catalog.read("shots", {"derive_fingerprint": made_by}, ["video_id"])
    derived = set(shots["video_id"].unique().to_pylist())
    work = []
    for film in library.films.values():
        row = videos.get(film.video_id)
        folder = trace_folder(job.home.films, film.video_id, scan.fingerprint)
        if row is not None and row.status == "quarantined" and not (retry or row.transient):
            continue
        if row is None or row.status == "quarantined" or not Traces(folder).whole():
            work.append(FilmWork(film, folder, None, row.recorded_at if row else None))
        elif film.video_id not in derived:
            work.append(FilmWork(film, folder, row, row.recorded_at))
    return work


def ingest(
    job: Job, work: list[FilmWork], scan: ScanConfig, derive: DeriveConfig, config: IngestConfig
) -> Ingested:
    """Scan and derive films, and commit what comes of them.

    Raises:
        CurationError: the disk is full or read-only, or a worker cannot begin.
        NetworkError: a network is asked for and is not what it should be.
    """
    threads = config.decoder_threads or decoder_threads(len(work), os.cpu_count() or 1)
    stage: ScanStage = Stage(
        "scan",
        functools.partial(_network, scan),
        functools.partial(_work_on, scan, derive, threads, job.run_id),
        Limits(config.film_seconds, config.film_memory_bytes),
    )
    scanned = derived = decodes = 0
    job.progress.stage("scan", len(work))
    try:
        for batch in _batches(job, stage, work, scan):
            job.catalog.append("clips", [row for done in batch for row in done.derived.clips])
            job.catalog.append("shots", [row for done in batch for row in done.derived.shots])
            job.catalog.append("videos", [done.video for done in batch])
            scanned += sum(1 for done in batch if done.decodes)
            derived += sum(1 for done in batch if done.derived.shots and not done.decodes)
            decodes += sum(done.decodes for done in batch)
    finally:
        for film in work:  # workers that were killed, over a limit or with the run, could not
            discard_partial(film.folder)
    return Ingested(scanned, derived, decodes)


def decoder_threads(films: int, cores: int) -> int:
    """Threads for each film, that no core idles when films are few.

    A film that has cores to itself gets `_LOOK_AHEAD` more than those: each thread holds a decoded
    frame, and the others go on while one waits for a frame that it refers to, or while a sampled
    one is measured (10 ms). On two cores 3 take 1.04 of the time that 6 take, and 10 as long as 6.
    """
    if films >= cores:
        return 1
    return cores // max(1, films) + _LOOK_AHEAD


def _batches(
    job: Job, stage: ScanStage, work: list[FilmWork], scan: ScanConfig
) -> Iterator[list[FilmDone]]:
    """Outcomes, many at a time: a commit costs as much as scanning a short film."""
    batch: list[FilmDone] = []
    since = time.monotonic()
    for outcome in _outcomes(job, stage, work):
        job.progress.advance()
        done = (
            outcome.value if isinstance(outcome, Done) else _quarantined(outcome, scan, job.run_id)
        )
        batch.append(_dated(done, outcome.item))
        if len(batch) >= _BATCH_FILMS or time.monotonic() - since > _BATCH_SECONDS:
            yield batch
            batch, since = [], time.monotonic()
    if batch:
        yield batch


def _outcomes(
    job: Job, stage: ScanStage, work: list[FilmWork]
) -> Iterator[Outcome[FilmWork, FilmDone]]:
    try:
        yield from job.engine.map(stage, work)
    except StageSetupError as error:
        raise CurationError(f"no film can be scanned: {error}") from error


def _dated(done: FilmDone, work: FilmWork) -> FilmDone:
    """The film's new row, newer than the one it replaces; one that stands is not touched."""
    if done.video == work.scanned:
        return done
    dated = no_earlier_than(done.video.recorded_at, work.since)
    return dataclasses.replace(done, video=dataclasses.replace(done.video, recorded_at=dated))


def _network(scan: ScanConfig) -> Network | None:
    """In a worker: what judges the frames of all its films."""
    return scan.transnet.load() if scan.transnet.wanted else None


def _work_on(
    scan: ScanConfig,
    derive: DeriveConfig,
    threads: int,
    run_id: str,
    network: Network | None,
    work: FilmWork,
) -> FilmDone:
    """In a worker: scan if need be, then derive."""
    film, video, traces, decodes = work.film, work.scanned, Traces(work.folder), 0
    if film.unreadable:
        raise FilmError(film.unreadable, _advice(film), transient=film.unreadable == "unreadable")
    if video is None and traces.whole():
        # Scanned by a run that was killed before it could commit, or whose derivation failed. The
        # row is of now: the newest counts, and that failure has left one of its own.
        video = dataclasses.replace(traces.film(), recorded_at=now())
    if video is None:
        with at_hand(film.path) as path:
            video = scan_film(
                path,
                work.folder,
                video_id=film.video_id,
                uri=film.uri,
                run_id=run_id,
                config=scan,
                threads=threads,
                network=network,
            )
        decodes = video.decodes or 0
    return FilmDone(video, derive_film(video, traces, derive), decodes)


def _advice(film: LibraryFilm) -> str:
    return {
        "remote_address": "films are read from local files and s3:// alone; fetch it first",
        "not_a_file": "a folder with the name of a film",
        "unreadable": "its bytes cannot be read; check that it exists and its permissions",
    }[film.unreadable or "unreadable"]


def _quarantined(outcome: Failed[FilmWork], scan: ScanConfig, run_id: str) -> FilmDone:
    """Turn a failure into a row: the one place where an exception becomes data."""
    refuse_if_full(outcome.error)
    if isinstance(outcome.error, NetworkError):
        raise outcome.error
    reason, message, transient = _cause(outcome)
    film = outcome.item.film
    nothing: dict[str, Any] = {field.name: None for field in dataclasses.fields(VideoRow)}
    row = VideoRow(
        **nothing
        | {
            "video_id": film.video_id,
            "scan_fingerprint": scan.fingerprint,
            "uri": film.uri,
            "status": "quarantined",
            "reason": reason,
            "message": message,
            "transient": transient,
            "scan_seconds": round(outcome.seconds, 3),
            "run_id": run_id,
            "recorded_at": now(),
        }
    )
    return FilmDone(row, Derived([], []), decodes=0)


def _cause(outcome: Failed[FilmWork]) -> tuple[str, str, bool]:
    """Reason code, words, and whether another run should try again by itself."""
    error = outcome.error
    if isinstance(error, FilmError):
        return error.reason, error.message, error.transient
    if isinstance(error, OSError):
        return "io_error", str(error), True
    if outcome.kind == "error":
        return "internal_error", outcome.message, True
    if Traces(outcome.item.folder).whole():
        # No film did this: it was scanned to its end, and to derive it again decodes nothing.
        return f"derive_{outcome.kind}", outcome.message, True
    return f"decoder_{outcome.kind}", outcome.message, False
