"""The job that makes a version's report: read its tables, fetch pictures, write two files.

``reports/NAME@V/report.html`` is the page and ``report.json`` the same numbers; ``index.html``
above them lists all versions. Nothing is decoded but evidence frames, and nothing of the dataset is
written. The same catalog, films and folder give the same bytes.
"""

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa

from curation.catalog.datasets import datasets, resolve
from curation.catalog.schema import TABLES
from curation.catalog.store import Catalog
from curation.errors import CurationError, DatasetError
from curation.records import DatasetRow, ShardRow, VideoRow
from curation.report.collect import collect
from curation.report.document import Report, Verified
from curation.report.embedding import (
    PageData,
    gallery_data,
    sequences,
    strip_data,
    whatif_data,
)
from curation.report.gallery import Shown, shown
from curation.report.leakage import FRAMES_PER_CLIP, Hashes, clip_hash, frame_hash, to_compare
from curation.report.page import IndexEntry, render_index, render_report
from curation.report.strips import Strip, spread, strip_of, strip_size
from curation.report.tables import IDENTITY, VersionTables
from curation.scoring.film import TECHNICAL
from curation.selection import SCORES, SelectionPolicy, select
from curation.shards.manifest import MANIFEST
from curation.traces import Traces, trace_folder
from curation.unfinished import replacing
from pipelines.job import Progress
from pipelines.preview import licences_of
from pipelines.settings import Home, typed_config
from pipelines.steps.choose import made_scores, measured_clips, stored_scores
from pipelines.steps.identify import taken_down
from pipelines.summary import PAGE
from pipelines.verifications import newest_verification
from pipelines.version_commands import commands, recipe_named

NUMBERS, INDEX = "report.json", "index.html"
PICTURE_BYTES = 7_000_000
"""For all strips together; base64 makes 9.3 MB of it, of the 15 MB that a page may have."""
_HASHED_BYTES = 4_000_000_000
"""Versions up to this size are hashed again for their report: some seconds of reading."""
_NOT_MEASURED = frozenset({"derive_fingerprint", "missing", "recorded_at", "stream_index"})


@dataclasses.dataclass(frozen=True, slots=True)
class WrittenReport:
    """Where a report is, and what it says in short."""

    reference: str
    against: str | None
    state: str
    headline: str
    alerts: dict[str, int]
    """Alerts by severity."""
    page: str
    numbers: str
    index: str
    bytes: int


def write_report(
    home: Home, reference: str, against: str | None, progress: Progress
) -> WrittenReport:
    """Make the report of a version, and the list of all versions anew.

    Args:
        home: where the dataset is.
        reference: ``NAME``, ``NAME@latest`` or ``NAME@3``.
        against: a version to compare with; None is the one before, if there is one here.
        progress: who watches.

    Raises:
        DatasetError: no such version, or its manifest is gone.
    """
    with Catalog.open(home.catalog()) as catalog:
        row = resolve(catalog, reference)
        other = resolve(catalog, against) if against else _before(home, catalog, row)
        version = read_version(home, catalog, row)
        compared = read_version(home, catalog, other) if other else None
        words = commands(catalog, home, version)
        hashes = _hashes(catalog, version, _Evidence(home, version), progress)
        versions = _listed(catalog)
    report, data = build(home, version, compared, words, hashes)
    folder = home.reports / version.reference
    page = render_report(report, data).encode()
    _write(folder / NUMBERS, _json(report.json()))
    _write(folder / PAGE, page)
    index = write_index(home, versions)
    return WrittenReport(
        reference=version.reference,
        against=compared.reference if compared else None,
        state=report.verdict.state,
        headline=report.verdict.headline,
        alerts={
            severity: sum(alert.severity == severity for alert in report.alerts)
            for severity in ("error", "warning", "note")
        },
        page=str(folder / PAGE),
        numbers=str(folder / NUMBERS),
        index=str(index),
        bytes=len(page),
    )


def build(
    home: Home,
    version: VersionTables,
    against: VersionTables | None,
    command: dict[str, Any],
    hashes: dict[str, Hashes],
) -> tuple[Report, PageData]:
    """The report of a version, and what its page embeds."""
    report = collect(version, against, hashes)
    chosen = _chosen(version, report)
    strips = _strips(version, _Evidence(home, version), chosen)
    return report, PageData(
        whatif=whatif_data(version, report, command),
        gallery=gallery_data(version, report, chosen),
        strips=strip_data(strips),
    )


def read_version(home: Home, catalog: Catalog, row: DatasetRow) -> VersionTables:
    """All tables of a version.

    Raises:
        DatasetError: its manifest is gone.
    """
    folder = home.datasets / row.name / str(row.version)
    manifest = _manifest(folder, row)
    config = manifest["config"]
    policy = typed_config(SelectionPolicy, config["select"])
    recipe = recipe_named(row.recipe)
    films = set(manifest["films"])
    scan = manifest["fingerprints"]["scan"]
    videos = [
        video
        for video in catalog.rows(VideoRow, {"scan_fingerprint": scan})
        if video.video_id in films
    ]
    readable = [video.video_id for video in videos if video.status != "quarantined"]
    clips = _clips(catalog, manifest, readable)
    shards = catalog.rows(ShardRow, {"publish_id": row.publish_id})
    return VersionTables(
        row=row,
        manifest=manifest,
        policy=policy,
        recipe_policy=recipe.select if recipe else SelectionPolicy(),
        clips=clips,
        selection=select(clips, policy),
        set_aside=_set_aside(catalog, manifest),
        taken_down=frozenset(taken_down(catalog)),
        videos=videos,
        samples=catalog.read("samples", {"publish_id": row.publish_id}),
        shards=shards,
        shard_states=_shard_states(folder, shards),
        verified=newest_verification(catalog, row),
        captions=_captions(catalog, clips),
        folder=f"datasets/{row.name}/{row.version}",
    )


def purge_reports(home: Home, catalog: Catalog, video_id: str) -> None:
    """Remove the reports that show a film, for a takedown; `tempo report` makes them anew."""
    shown = [
        page.parent
        for page in home.reports.glob(f"*/{PAGE}")
        if video_id.encode() in page.read_bytes()
    ]
    for folder in shown:
        shutil.rmtree(folder)
    if shown:
        write_index(home, _listed(catalog))


def write_index(home: Home, versions: list[tuple[DatasetRow, Verified | None]]) -> Path:
    """Write the page that lists all versions, those without a report too."""
    path = home.reports / INDEX
    entries = [_index_entry(home, row, verified) for row, verified in versions]
    _write(path, render_index(entries).encode())
    return path


def _listed(catalog: Catalog) -> list[tuple[DatasetRow, Verified | None]]:
    """All versions, the newest first, and the last verification of each."""
    newest_first = sorted(datasets(catalog), key=lambda row: row.recorded_at, reverse=True)
    return [(row, newest_verification(catalog, row)) for row in newest_first]


def _index_entry(home: Home, row: DatasetRow, verified: Verified | None) -> IndexEntry:
    reference = f"{row.name}@{row.version}"
    numbers = home.reports / reference / NUMBERS
    verdict = {"state": "none", "headline": "no report yet"}
    if numbers.is_file():
        verdict = json.loads(numbers.read_bytes())["verdict"]
    return IndexEntry(
        reference=reference,
        published=row.recorded_at.strftime("%Y-%m-%d %H:%M UTC"),
        state=verdict["state"],
        headline=verdict["headline"],
        samples=row.samples,
        hours=row.seconds / 3600,
        films=row.films,
        bytes=row.bytes,
        verified=f"{verified.verdict}, {verified.when}" if verified else "not yet",
        link=f"{reference}/{PAGE}" if numbers.is_file() else None,
    )


class _Evidence:
    """The evidence frames of a version's clips."""

    def __init__(self, home: Home, version: VersionTables) -> None:
        self._films = home.films
        self._scan = version.manifest["fingerprints"]["scan"]
        rows = version.clips.select(["clip_id", "video_id", "start_frame", "end_frame"])
        self._spans = {
            clip: (film, start, end)
            for clip, film, start, end in zip(*(c.to_pylist() for c in rows.columns), strict=True)
        }

    def frames(self, clip: str, count: int) -> list[bytes]:
        """At most `count` JPEGs through a clip; none when its evidence was purged."""
        film, start, end = self._spans[clip]
        folder = trace_folder(self._films, film, self._scan)
        if not folder.is_dir():
            return []
        table = Traces(folder).evidence(start, end).sort_by("frame")
        jpegs = table["jpeg"]
        return [jpegs[place].as_py() for place in spread(list(range(table.num_rows)), count)]


def _hashes(
    catalog: Catalog, version: VersionTables, evidence: _Evidence, progress: Progress
) -> dict[str, Hashes]:
    """Perceptual hashes of packed clips: those that scoring left, else from evidence frames."""
    wanted = [clip for clips in to_compare(version).values() for clip in clips]
    stored = _stored_hashes(catalog, version, wanted)
    missing = [clip for clip in wanted if clip not in stored]
    progress.stage("report", len(missing))
    found = {clip: clip_hash(frames) for clip, frames in stored.items()}
    for clip in missing:
        jpegs = evidence.frames(clip, FRAMES_PER_CLIP)
        found[clip] = clip_hash([frame_hash(jpeg) for jpeg in jpegs])
        progress.advance()
    return {clip: hashes for clip, hashes in found.items() if hashes is not None}


def _stored_hashes(
    catalog: Catalog, version: VersionTables, wanted: list[str]
) -> dict[str, list[bytes]]:
    made_by = made_scores(version.manifest["fingerprints"]).get(TECHNICAL)
    if made_by is None:
        return {}
    scored = catalog.read("scores", {"fingerprint": made_by}, ["clip_id", "frame_hashes"])
    there = pa.compute.is_in(scored["clip_id"], value_set=pa.array(wanted, pa.string()))
    return {
        row["clip_id"]: [bytes.fromhex(frame) for frame in row["frame_hashes"]]
        for row in scored.filter(there).to_pylist()
        if row["frame_hashes"] is not None
    }


def _chosen(version: VersionTables, report: Report) -> list[Shown]:
    """Clips for the gallery; those that a sequence or a pair is drawn from come first."""
    wanted = [shot["clip"] for sequence in sequences(version) for shot in sequence["shots"]]
    wanted += [clip for pair in report.leakage.pairs for clip in (pair.train, pair.val)]
    ids = version.clips["clip_id"].to_pylist()
    place = {clip: index for index, clip in enumerate(ids)}
    return shown(version, [place[clip] for clip in dict.fromkeys(wanted) if clip in place])


def _strips(version: VersionTables, evidence: _Evidence, chosen: list[Shown]) -> dict[str, Strip]:
    """Pictures of the chosen clips, until the bytes for them are used up."""
    size = strip_size(len(chosen), PICTURE_BYTES)
    ids = version.clips["clip_id"].to_pylist()
    strips: dict[str, Strip] = {}
    spent = 0
    for clip in chosen:
        jpegs = evidence.frames(ids[clip.index], size.frames)
        if not jpegs:
            continue
        strip = strip_of(jpegs, size)
        if spent + len(strip.jpeg) > PICTURE_BYTES:
            break
        strips[ids[clip.index]] = strip
        spent += len(strip.jpeg)
    return strips


def _before(home: Home, catalog: Catalog, row: DatasetRow) -> DatasetRow | None:
    """The version before, of those that lie here: others were removed, or made in other homes."""
    earlier = [
        other
        for other in datasets(catalog)
        if other.name == row.name
        and other.version < row.version
        and (home.datasets / row.name / str(other.version) / MANIFEST).is_file()
    ]
    return earlier[-1] if earlier else None


def _manifest(folder: Path, row: DatasetRow) -> dict[str, Any]:
    try:
        document: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    except FileNotFoundError as error:
        raise DatasetError(
            f"{row.name}@{row.version} has no manifest in {folder}; put the version's folder back"
        ) from error
    return document


def _clips(catalog: Catalog, manifest: dict[str, Any], films: list[str]) -> pa.Table:
    """All clips of a version's readable films, with all that was measured and scored on them."""
    fingerprints = manifest["fingerprints"]
    made_by = made_scores(fingerprints)
    scores = {
        name: stored_scores(catalog, made_by[scorer])
        for name, scorer in SCORES.items()
        if scorer in made_by
    }
    columns = [name for name in TABLES["clips"].arrow_schema.names if name not in _NOT_MEASURED]
    columns = [*IDENTITY, *(name for name in columns if name not in IDENTITY)]
    licences = licences_of(catalog, films)
    pieces = list(measured_clips(catalog, licences, fingerprints["derive"], columns, scores))
    if not pieces:
        raise DatasetError(
            f"the clips of {manifest['dataset']} are not in this catalog any more; curate its "
            "films again"
        )
    return pa.concat_tables(pieces).sort_by("clip_id")


def _set_aside(catalog: Catalog, manifest: dict[str, Any]) -> dict[str, str]:
    """clip_id -> the set-level step that dropped it."""
    made_by = manifest["config"].get("refinements")
    if made_by is None:
        return {}
    dropped = catalog.read("refinements", {"fingerprint": made_by}, ["clip_id", "step"])
    return dict(zip(dropped["clip_id"].to_pylist(), dropped["step"].to_pylist(), strict=True))


def _captions(catalog: Catalog, clips: pa.Table) -> pa.Table:
    """What captioners said of the clips."""
    said = catalog.read("captions", columns=["clip_id", "captioner", "caption", "reason"])
    known = pa.compute.is_in(said["clip_id"], value_set=clips["clip_id"].combine_chunks())
    return said.filter(known).sort_by([("clip_id", "ascending"), ("captioner", "ascending")])


def _shard_states(folder: Path, shards: list[ShardRow]) -> dict[str, str]:
    """Each shard as it lies on the disk now; small versions are hashed again."""
    hashed = sum(shard.bytes for shard in shards) <= _HASHED_BYTES
    return {shard.shard: _shard_state(folder, shard, hashed=hashed) for shard in shards}


def _shard_state(folder: Path, shard: ShardRow, *, hashed: bool) -> str:
    path = folder / f"{shard.shard}.tar"
    if not path.is_file():
        return "missing"
    if path.stat().st_size != shard.bytes:
        return "other size"
    if not hashed:
        return "in place"
    with path.open("rb") as file:
        same = hashlib.file_digest(file, "sha256").hexdigest() == shard.sha256
    return "sha256 matches" if same else "other sha256"


def _json(document: dict[str, Any]) -> bytes:
    return json.dumps(
        document, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False
    ).encode()


def _write(path: Path, data: bytes) -> None:
    """Readers see the old file or the new one."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_bytes(data)
    except OSError as error:
        raise CurationError(
            f"the report cannot be written to {path} ({error}); free space there, or choose "
            "another home with --home"
        ) from error
