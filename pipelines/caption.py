"""Captioning alone: ask about the clips of a home, take in a person's edits, hand out what is said.

What it asks is what `tempo curate` would ask with the same recipe, and what it stores is what the
next curation finds. So captions can be made, read and mended before anything is packed.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from curation.balance import BalanceConfig
from curation.captioning.edits import (
    CAPTIONER,
    Edit,
    Refused,
    edited_fingerprint,
    read_edits,
    write_table,
)
from curation.catalog.datasets import resolve
from curation.catalog.store import Catalog
from curation.derive import DeriveConfig
from curation.duplicates import DuplicateConfig
from curation.errors import CaptionError, CurationError
from curation.records import CaptionRow, ClipRow, TakedownRow, no_earlier_than, now
from curation.scan import ScanConfig
from curation.selection import SelectionPolicy
from curation.shards.manifest import MANIFEST
from pipelines.curate import CurateConfig
from pipelines.engine import Engine, SerialEngine
from pipelines.job import Job, Progress, Silence, started
from pipelines.recipes.curation import curation_recipe
from pipelines.run_record import RunRecord
from pipelines.settings import Home, typed_config
from pipelines.steps.caption import caption, edited_captions
from pipelines.steps.captioners import prepare
from pipelines.steps.choose import choose, clip_rows
from pipelines.steps.identify import Library, recorded_films, taken_down
from pipelines.steps.refine import refine

_COLUMNS = (
    "clip_id", "caption", "captioner", "source", "reason", "film", "start_seconds", "seconds",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, slots=True)
class CaptionSummary:
    """A captioning run in numbers."""

    films: int
    clips: int
    """Kept by the policy."""
    captioned: dict[str, int]
    """Clips by the captioner whose words they have."""
    missing: dict[str, int]
    """Clips without words, by reason."""
    asked: dict[str, int]
    """Clips that each captioner was asked about in this run."""
    stored: dict[str, int]
    """Clips whose answer an earlier run had stored."""
    spent: dict[str, int]
    """Requests and tokens of served models in this run."""


@dataclasses.dataclass(frozen=True, slots=True)
class ImportSummary:
    """What became of a file of edited captions."""

    imported: int
    unchanged: int
    """Clips that have these very words from a person already."""
    refused: list[Refused]
    """Rows that cannot be used, by line."""


def recorded_config(home: Home, reference: str) -> tuple[CurateConfig, list[str]]:
    """How a version's clips were chosen and captioned, and of which films (video_id) it is.

    Scan, shots, policy and the order of captioners are the version's; how models are asked is the
    recipe's.

    Raises:
        DatasetError: no such version.
    """
    with Catalog.open(home.catalog()) as catalog:
        version = resolve(catalog, reference)
    path = home.datasets / version.name / str(version.version) / MANIFEST
    manifest: dict[str, Any] = json.loads(path.read_bytes())
    recorded = manifest["config"]
    config = dataclasses.replace(
        curation_recipe(recorded["recipe"]),
        captioners=tuple(recorded["captioners"]),
        scan=typed_config(ScanConfig, recorded["scan"]),
        derive=typed_config(DeriveConfig, recorded["derive"]),
        select=typed_config(SelectionPolicy, recorded["select"]),
        duplicates=typed_config(DuplicateConfig, recorded["duplicates"]),
        balance=typed_config(BalanceConfig, recorded["balance"]),
    )
    return config, manifest["films"]


def caption_clips(
    home: Home,
    config: CurateConfig,
    engine: Engine,
    progress: Progress,
    films: list[str] | None = None,
) -> CaptionSummary:
    """Give words to every clip that the policy keeps. Decodes nothing.

    Args:
        home: where the clips are.
        config: the recipe: its scan, shots, policy and captioners count.
        engine: who does the work.
        progress: who watches.
        films: their video_ids; all that the home knows when None.

    Raises:
        CaptionError: a captioner cannot work, or no clip got words.
        CurationError: there is no clip to caption.
    """
    config = config.settled(home)
    captioners = prepare(
        config.captioners, config.caption, config.derive.fingerprint(config.scan.fingerprint)
    )
    begun = now()
    with started(home, engine, progress) as job:
        library, clips = _kept(job, config, films)
        said = caption(job, library, clips, captioners, config.scan)
        summary = CaptionSummary(
            films=len({clip.video_id for clip in clips}),
            clips=len(clips),
            captioned=_sorted(said.heard),
            missing=_sorted(said.missing),
            asked=_sorted(said.asked),
            stored=_sorted(said.stored),
            spent=said.spent,
        )
        run = RunRecord(job.run_id, "caption", config.recipe, config, begun)
        job.catalog.append("runs", [run.row("ok" if said.captions else "failed", summary)])
    if not said.captions:
        reasons = ", ".join(f"{reason} {count}" for reason, count in summary.missing.items())
        raise CaptionError(
            f"none of {len(clips)} clips got words ({reasons}); name other captioners, as in "
            "--set captioners=sidecar,describe"
        )
    return summary


def export_captions(
    home: Home, config: CurateConfig, path: Path, films: list[str] | None = None
) -> int:
    """Write what is said of each kept clip as a table to edit: CSV, one line for a clip.

    A person's words, else the newest of the first captioner that has any. Asks nobody: where no
    captioner was asked yet, the caption is empty.

    Returns:
        How many clips.

    Raises:
        CurationError: there is no clip.
    """
    config = config.settled(home)
    with started(home, SerialEngine(), Silence()) as job:
        library, clips = _kept(job, config, films)
        words = _words(job.catalog, config.captioners)
    rows = []
    for clip in sorted(clips, key=lambda clip: (clip.video_id, clip.start_frame)):
        row = words.get(clip.clip_id)
        rows.append(
            {
                "clip_id": clip.clip_id,
                "caption": row.caption if row else None,
                "captioner": row.captioner if row else None,
                "source": row.source if row else None,
                "reason": row.reason if row else None,
                "film": library.films[clip.video_id].uri,
                "start_seconds": f"{clip.start_seconds:.3f}",
                "seconds": f"{clip.seconds:.3f}",
            }
        )
    return write_table(path, _COLUMNS, rows)


def import_captions(home: Home, path: Path) -> ImportSummary:
    """Take a person's captions in: from now on they come before every captioner's.

    Importing the same file again changes nothing. Words that a captioner had said already are not
    a person's: rows of an export that nobody touched stay the captioner's.

    Raises:
        ValueError: the file cannot be read at all.
    """
    edits, refused = read_edits(path)
    with started(home, SerialEngine(), Silence()) as job:
        clips = job.catalog.read("clips", columns=["clip_id", "video_id"])
        film_of = dict(zip(*(clips[name].to_pylist() for name in clips.column_names), strict=True))
        taken_down = {row.video_id for row in job.catalog.rows(TakedownRow)}
        before = edited_captions(job.catalog)
        said = _said(job.catalog, [edit.clip_id for edit in edits])
        fresh = []
        unchanged = 0
        for edit in edits:
            last = before.get(edit.clip_id)
            if edit.clip_id not in film_of:
                refused.append(Refused(edit.lines, f"no clip {edit.clip_id} is known here"))
            elif film_of[edit.clip_id] in taken_down:
                refused.append(Refused(edit.lines, "its film was taken down"))
            elif edit.caption in ({last.caption} if last else said.get(edit.clip_id, ())):
                unchanged += 1
            else:
                fresh.append(_edited_row(edit, last, path.name))
        job.catalog.append("captions", fresh)
    by_line = sorted(refused, key=lambda row: int(row.lines.partition("-")[0]))
    return ImportSummary(len(fresh), unchanged, by_line)


def _said(catalog: Catalog, clip_ids: list[str]) -> dict[str, set[str]]:
    """All that captioners have said of some clips."""
    said: dict[str, set[str]] = {}
    for row in catalog.rows(CaptionRow, {"clip_id": clip_ids}):
        if row.caption is not None:
            said.setdefault(row.clip_id, set()).add(row.caption)
    return said


def _edited_row(edit: Edit, replaces: CaptionRow | None, file: str) -> CaptionRow:
    return CaptionRow(
        clip_id=edit.clip_id,
        fingerprint=edited_fingerprint(edit.caption, replaces.fingerprint if replaces else None),
        captioner=CAPTIONER,
        caption=edit.caption,
        reason=None,
        source=f"{edit.editor} ({file})" if edit.editor else file,
        recorded_at=no_earlier_than(now(), replaces.recorded_at if replaces else None),
    )


def _kept(job: Job, config: CurateConfig, films: list[str] | None) -> tuple[Library, list[ClipRow]]:
    """The films of the home that may be used, and their clips that the policy keeps."""
    library = _library(job.catalog, films)
    licences = {film.video_id: film.licence for film in library.films.values()}
    plans = config.score.plans(job.home.weights)
    scored = {plan.name: plan.fingerprint(config.scan.fingerprint) for plan in plans}
    chosen = choose(job.catalog, licences, config.scan, config.derive, config.select, scored)
    kept = refine(job.catalog, chosen, scored, config.duplicates, config.balance).kept
    if not kept.num_rows:
        raise CurationError(
            "no clip of this home is kept by the policy: curate first, with this recipe's scan and "
            "shot settings, or loosen the policy with --set select.NAME.min=… or max=…"
        )
    made_by = config.derive.fingerprint(config.scan.fingerprint)
    return library, list(clip_rows(job.catalog, made_by, kept["clip_id"]).values())


def _library(catalog: Catalog, wanted: list[str] | None) -> Library:
    """The films of a home, as its sources know them."""
    barred = taken_down(catalog)
    films = {
        video_id: film
        for video_id, film in recorded_films(catalog).items()
        if video_id not in barred and (wanted is None or video_id in wanted)
    }
    return Library(films, files=len(films), duplicates=0, taken_down=0)


def _words(catalog: Catalog, captioners: Iterable[str]) -> dict[str, CaptionRow]:
    """The row that each clip has its words from, by clip_id: the newest of the first captioner."""
    order = {name: rank for rank, name in enumerate(captioners)}
    best = edited_captions(catalog)
    for row in catalog.rows(CaptionRow):
        known = best.get(row.clip_id)
        if row.captioner in order and (
            known is None or (known.captioner in order and _rank(row, order) < _rank(known, order))
        ):
            best[row.clip_id] = row
    return best


def _rank(row: CaptionRow, order: dict[str, int]) -> tuple[bool, int, float]:
    """Rows with words first, then the order of captioners, then the newest."""
    return row.caption is None, order[row.captioner], -row.recorded_at.timestamp()


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))
