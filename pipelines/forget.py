"""Takedown: purge what is stored of a film, and bar it from every future version.

Published versions are immutable and may be in use, so they are listed and not rewritten, and with
them what was precomputed of them. A version that a run on this home is just making is waited for,
by the home's lock, and is a published one then. The order makes a kill harmless: first the film is
barred, then its traces go, half-built versions and the reports that show it, then its words and
scores.
"""

import dataclasses
import json
import shutil
from pathlib import Path

from curation.catalog.datasets import datasets
from curation.catalog.history import forget_history
from curation.catalog.store import Catalog
from curation.errors import CurationError
from curation.records import DatasetRow, SideShardsRow, SourceRow, TakedownRow, now
from curation.shards.manifest import MANIFEST
from pipelines.engine import SerialEngine
from pipelines.job import Progress, started
from pipelines.report import purge_reports
from pipelines.settings import Home
from pipelines.side_lock import held_set
from pipelines.steps.caption import absorb
from training.errors import SideShardError


@dataclasses.dataclass(frozen=True, slots=True)
class Forgotten:
    """What was purged, and what still holds the film."""

    video_id: str
    files: int
    captions: int
    versions: list[str]
    """``NAME@VERSION`` of every published version with a sample of the film."""
    side_shards: list[str] = dataclasses.field(default_factory=list)
    """Folders of what was precomputed of these versions, or is being precomputed now."""


def forget(home: Home, video_id: str, reason: str, progress: Progress) -> Forgotten:
    """Take a film down. May be repeated.

    Args:
        home: whose traces and half-built versions are purged.
        video_id: the film.
        reason: why; it is recorded.
        progress: told when a run on this home is waited for.

    Raises:
        CurationError: no such film was ever offered.
    """
    with started(home, SerialEngine(), progress) as job:
        catalog = job.catalog
        if not _known(catalog, video_id):
            raise CurationError(f"no film {video_id!r} is known here: see the table `videos`")
        catalog.append("takedowns", [TakedownRow(video_id, reason, now())])
        files = _purge_traces(home, video_id)
        held = catalog.read("samples", {"video_id": video_id}, ["publish_id"])
        holding = set(held["publish_id"].to_pylist())
        published = [row for row in datasets(catalog) if row.publish_id in holding]
        _purge_building_sites(home, holding - {row.publish_id for row in published})
        purge_reports(home, catalog, video_id)
        absorb(home, catalog)  # what a killed run was told of the film is purged with the rest
        clips = catalog.read("clips", {"video_id": video_id}, ["clip_id"])["clip_id"].to_pylist()
        captions = catalog.delete_rows("captions", {"clip_id": clips}) if clips else 0
        catalog.delete_rows("scores", {"video_id": video_id})
        _purge_given_words(catalog, video_id)
        # Older snapshots hold words and embeddings still, in files that only this removes.
        for table in ("captions", "scores", "sources"):
            forget_history(catalog, table)
        versions = [f"{row.name}@{row.version}" for row in published]
        left = _purge_half_precomputed(home, catalog, published)
        return Forgotten(video_id, files, captions, versions, left)


def _purge_half_precomputed(home: Home, catalog: Catalog, versions: list[DatasetRow]) -> list[str]:
    """Remove what killed runs had precomputed of versions; returns the folders that are left.

    Those are of what is whole, and of what another process is making: it will be whole.
    """
    return [
        str(folder)
        for row in versions
        for folder in sorted(home.precomputed.glob(f"{row.name}/{row.version}/*"))
        if not _purged(home, catalog, folder)
    ]


def _purged(home: Home, catalog: Catalog, folder: Path) -> bool:
    """Remove a set, unless the catalog has it or another process holds it."""
    try:
        with held_set(folder):
            # Asked only now: before, its maker may have been about to append the row.
            whole = {(home.root / row.uri).parent for row in catalog.rows(SideShardsRow)}
            if folder not in whole:
                shutil.rmtree(folder)
            return folder not in whole
    except SideShardError:
        return False


def _purge_traces(home: Home, video_id: str) -> int:
    purged = 0
    for folder in home.films.glob(f"{video_id[:2]}/*{video_id}-*"):
        purged += sum(1 for _ in folder.iterdir())
        shutil.rmtree(folder)
    return purged


def _known(catalog: Catalog, video_id: str) -> bool:
    """Whether the film was ever here, even if another lies at its path now or none."""
    return any(
        catalog.holds(table, {"video_id": video_id})
        for table in ("sources", "videos", "clips", "samples", "takedowns")
    )


def _purge_building_sites(home: Home, unpublished: set[str]) -> None:
    """Remove what killed runs had built of versions.

    Every building site goes: whose pictures a torn shard holds cannot be told for sure, a plan with
    this film is never taken up again, and the next run makes the rest anew. So does a folder that
    has its version's number already, and that the catalog does not name (by publish id).
    """
    for site in home.datasets.glob("*/.building-*"):
        shutil.rmtree(site)
    for manifest in home.datasets.glob(f"*/[0-9]*/{MANIFEST}"):
        if json.loads(manifest.read_bytes())["publish_id"] in unpublished:
            shutil.rmtree(manifest.parent)


def _purge_given_words(catalog: Catalog, video_id: str) -> None:
    """Blank the captions that manifests gave the film; that its files are known stays."""
    given = {"video_id": video_id}
    blank = [dataclasses.replace(row, caption=None) for row in catalog.rows(SourceRow, given)]
    catalog.delete_rows("sources", given, hidden=True)
    catalog.append("sources", blank)
