"""Takedown: purge what is stored of a film, and bar it from every future version.

Published versions are immutable and may be in use, so they are listed and not rewritten. The order
makes a kill harmless: first the film is barred, then its traces go and the reports that show it,
then its words and scores.
"""

import dataclasses
import shutil

from curation.catalog.datasets import datasets
from curation.catalog.history import forget_history
from curation.errors import CurationError
from curation.records import TakedownRow, now
from pipelines.engine import SerialEngine
from pipelines.job import Silence, started
from pipelines.report import purge_reports
from pipelines.settings import Home
from pipelines.steps.caption import absorb


@dataclasses.dataclass(frozen=True, slots=True)
class Forgotten:
    """What was purged, and what still holds the film."""

    video_id: str
    files: int
    captions: int
    versions: list[str]
    """``NAME@VERSION`` of every published version with a sample of the film."""


def forget(home: Home, video_id: str, reason: str) -> Forgotten:
    """Take a film down. May be repeated.

    Raises:
        CurationError: no such film was ever offered.
    """
    with started(home, SerialEngine(), Silence()) as job:
        catalog = job.catalog
        if not catalog.read("sources", {"video_id": video_id}, ["uri"]).num_rows:
            raise CurationError(f"no film {video_id!r} is known here: see the table `sources`")
        catalog.append("takedowns", [TakedownRow(video_id, reason, now())])
        files = _purge_traces(home, video_id)
        purge_reports(home, catalog, video_id)
        absorb(home, catalog)  # what a killed run was told of the film is purged with the rest
        clips = catalog.read("clips", {"video_id": video_id}, ["clip_id"])["clip_id"].to_pylist()
        captions = catalog.delete_rows("captions", {"clip_id": clips}) if clips else 0
        catalog.delete_rows("scores", {"video_id": video_id})
        # Older snapshots hold words and embeddings still, in files that only this removes.
        forget_history(catalog, "captions")
        forget_history(catalog, "scores")
        held = catalog.read("samples", {"video_id": video_id}, ["publish_id"])
        holding = set(held["publish_id"].to_pylist())
        versions = [
            f"{row.name}@{row.version}" for row in datasets(catalog) if row.publish_id in holding
        ]
        return Forgotten(video_id, files, captions, versions)


def _purge_traces(home: Home, video_id: str) -> int:
    purged = 0
    for folder in home.films.glob(f"{video_id[:2]}/*{video_id}-*"):
        purged += sum(1 for _ in folder.iterdir())
        shutil.rmtree(folder)
    return purged
