"""The main job: films in, a published dataset version out.

identify -> ingest (scan, derive) -> choose (select, caption) -> plan -> pack -> publish. Each step
finds in the catalog what an earlier run has done already, so running again costs what is new.
"""

import dataclasses
import datetime as dt
import json
import socket
from typing import Any

from curation.catalog.datasets import check_name
from curation.catalog.store import Catalog
from curation.derive import DeriveConfig
from curation.errors import CatalogError
from curation.records import RunRow, SourceRow, VideoRow, canonical_json, now
from curation.scan import ScanConfig
from curation.selection import SelectionPolicy
from curation.shards.planning import PackConfig
from curation.splits import SplitConfig
from pipelines.engine import Engine
from pipelines.inputs import FilmInput
from pipelines.job import Job, Progress, started
from pipelines.settings import Home
from pipelines.steps.caption import caption, check_captioners
from pipelines.steps.choose import choose, clip_rows, refuse_if_nothing
from pipelines.steps.identify import Library, identify, unchanged
from pipelines.steps.ingest import IngestConfig, ingest, pending
from pipelines.steps.pack import Origin, pack_dataset, pack_fingerprint, plan_dataset
from pipelines.summary import Summary, WorkDone, summarise, with_dataset, write_summary
from pipelines.version import code_version


@dataclasses.dataclass(frozen=True, slots=True)
class CurateConfig:
    """Everything that a curation run is free to choose."""

    recipe: str
    captioners: tuple[str, ...]
    """Asked in this order; the first that has words for a clip is heard."""
    scan: ScanConfig = dataclasses.field(default_factory=ScanConfig)
    derive: DeriveConfig = dataclasses.field(default_factory=DeriveConfig)
    select: SelectionPolicy = dataclasses.field(default_factory=SelectionPolicy)
    split: SplitConfig = dataclasses.field(default_factory=SplitConfig)
    pack: PackConfig = dataclasses.field(default_factory=PackConfig)
    ingest: IngestConfig = dataclasses.field(default_factory=IngestConfig)

    def __post_init__(self) -> None:
        if not self.captioners:
            raise ValueError("captioners: name at least one, such as sidecar,describe")
        check_captioners(self.captioners)


@dataclasses.dataclass(frozen=True, slots=True)
class CurateRequest:
    """What a run is asked to do."""

    films: list[FilmInput]
    dataset: str
    config: CurateConfig
    retry: bool = False
    """Also try films whose quarantine is permanent."""

    def __post_init__(self) -> None:
        check_name(self.dataset)
        if not self.films:
            raise ValueError("no film was named: give files, folders, globs or a manifest")


def curate(request: CurateRequest, home: Home, engine: Engine, progress: Progress) -> Summary:
    """Curate films into the next version of a dataset.

    Raises:
        CurationError: nothing could be read or kept, or the home cannot be written to. What was
            done until then stays, and another run goes on from there.
    """
    begun = now()
    with started(home, engine, progress) as job:
        try:
            summary = _run(job, request)
        except BaseException as error:
            try:
                _record(
                    job, request, begun, "failed", {"error": f"{type(error).__name__}: {error}"}
                )
            except CatalogError as unrecorded:
                progress.say(f"the failed run could not be recorded either: {unrecorded}")
            raise
        _record(job, request, begun, "ok", summary.document())
        return summary


def planned(request: CurateRequest, home: Home) -> dict[str, int]:
    """What a run would do, as far as it can be known without reading a film. Writes nothing."""
    plan = {"files": len(request.films), "unhashed_files": len(request.films)}
    if not home.root.is_dir():
        return plan | {"films_to_scan": len(request.films)}
    with Catalog.open(home.catalog()) as catalog:
        known = {row.uri: row.video_id for row in catalog.rows(SourceRow) if unchanged(row)}
        scan = request.config.scan.fingerprint
        done = catalog.read("videos", {"scan_fingerprint": scan}, ["video_id"])
    scanned = set(done["video_id"].to_pylist())
    hashed = [film for film in request.films if film.uri in known]
    seen = sum(known[film.uri] in scanned for film in hashed)
    return plan | {
        "unhashed_files": len(request.films) - len(hashed),
        "films_scanned_before": seen,
        "films_to_scan": len(request.films) - seen,
    }


def _run(job: Job, request: CurateRequest) -> Summary:
    config = request.config
    library = identify(job, request.films)
    work = pending(job, library, config.scan, config.derive, retry=request.retry)
    ingested = ingest(job, work, config.scan, config.derive, config.ingest)
    videos = _videos(job, library, config.scan)
    licences = {film.video_id: film.licence for film in library.films.values()}
    chosen = choose(job.catalog, licences, config.scan, config.derive, config.select)
    done = WorkDone(
        files=library.files,
        duplicates=library.duplicates,
        taken_down=library.taken_down,
        scanned=ingested.scanned,
        derived=ingested.derived,
        decodes=ingested.decodes,
    )
    summary = summarise(done, videos, chosen.clips, chosen.selection)
    job.progress.report(summary)
    refuse_if_nothing(chosen, summary.readable)
    origin = _origin(request.dataset, config)
    kept = chosen.kept()
    clips = clip_rows(job.catalog, origin.fingerprints["derive"], kept["clip_id"])
    captions, uncaptioned = caption(
        job, library, list(clips.values()), config.captioners, config.scan
    )
    plan = plan_dataset(kept, captions, origin, config.split, config.pack)
    published = pack_dataset(job, library, plan, clips, origin)
    summary = with_dataset(
        summary,
        published.version,
        published.folder,
        str(job.catalog.settings.shown),
        fresh=published.fresh,
        encoded=published.encoded,
        copied=published.copied,
        lost=published.lost,
        uncaptioned=uncaptioned,
    )
    return write_summary(job.home, summary)


def _videos(job: Job, library: Library, scan: ScanConfig) -> list[VideoRow]:
    rows = job.catalog.rows(VideoRow, {"scan_fingerprint": scan.fingerprint})
    return [row for row in rows if row.video_id in library.films]


def _origin(dataset: str, config: CurateConfig) -> Origin:
    recorded = json.loads(canonical_json(config))
    del recorded["ingest"]  # what a film may cost does not decide what is made of it
    return Origin(
        dataset=dataset,
        recipe=config.recipe,
        config=recorded,
        fingerprints={
            "scan": config.scan.fingerprint,
            "derive": config.derive.fingerprint(config.scan.fingerprint),
            "pack": pack_fingerprint(config.pack, config.scan.fingerprint),
        },
    )


def _record(
    job: Job, request: CurateRequest, begun: dt.datetime, status: str, summary: dict[str, Any]
) -> None:
    row = RunRow(
        run_id=job.run_id,
        kind="curate",
        status=status,
        recipe=request.config.recipe,
        config=canonical_json(request.config),
        summary=canonical_json(summary),
        code_version=code_version(),
        host=socket.gethostname(),
        started_at=begun,
        finished_at=now(),
    )
    job.catalog.append("runs", [row])
