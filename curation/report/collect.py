"""From the tables of a version to its report: pure, and the one place that knows all parts."""

import dataclasses

import numpy as np

from curation.report.alerts import judged
from curation.report.axes import counted, edges_of
from curation.report.composition import captions, composition, sources
from curation.report.document import (
    SCHEMA_VERSION,
    Measurement,
    Provenance,
    Report,
    Shard,
    Threshold,
    Verdict,
    WhatIf,
)
from curation.report.drift import drift
from curation.report.funnel import funnel, totals, troubles
from curation.report.leakage import Hashes, leakage
from curation.report.meanings import meaning
from curation.report.tables import VersionTables
from curation.report.yields import amount, buckets, size_names, usable
from curation.selection import Range

MAX_EMBEDDED = 50_000
"""Clips whose measurements the page holds; of more, a random draw."""


def collect(
    version: VersionTables, against: VersionTables | None, hashes: dict[str, Hashes]
) -> Report:
    """Make the report of a version.

    Args:
        version: the version.
        against: another one to compare with.
        hashes: perceptual hashes for the look-alike check, by clip_id.
    """
    report = Report(
        schema_version=SCHEMA_VERSION,
        reference=version.reference,
        published=version.row.recorded_at.strftime("%Y-%m-%d %H:%M UTC"),
        verdict=Verdict("good", "", ""),
        alerts=(),
        totals=totals(version),
        funnel=funnel(version),
        whatif=_whatif(version),
        measurements=_measurements(version),
        captions=captions(version),
        composition=composition(version),
        drift=drift(version, against) if against else None,
        leakage=leakage(version, hashes),
        troubles=troubles(version),
        shards=_shards(version),
        verified=version.verified,
        provenance=_provenance(version),
    )
    verdict, alerts = judged(report)
    return dataclasses.replace(report, verdict=verdict, alerts=alerts)


def _whatif(version: VersionTables) -> WhatIf:
    kept = version.selection.kept & version.available
    clips = version.clips.num_rows
    return WhatIf(
        thresholds=tuple(
            _threshold(version, name, column) for name, column in version.thresholds.items()
        ),
        kept=amount(version.seconds, kept),
        usable=usable(version.frame_count, kept),
        buckets=buckets(size_names(*version.sizes), version.seconds, version.frame_count, kept),
        population=clips,
        embedded=min(clips, MAX_EMBEDDED),
    )


def _threshold(version: VersionTables, name: str, column: str) -> Threshold:
    own = version.bounds(name)
    recipe: Range = getattr(version.recipe_policy, name)
    return Threshold(name, column, own.min, own.max, recipe.min, recipe.max)


def _measurements(version: VersionTables) -> tuple[Measurement, ...]:
    return tuple(
        _measurement(version, name, column) for name, column in version.measurements().items()
    )


def _measurement(version: VersionTables, name: str, column: str) -> Measurement:
    values = version.measured(column)
    finite = values[np.isfinite(values)]
    bounds = version.bounds(name)
    ends = tuple(float(end) for end in (bounds.min, bounds.max) if end is not None)
    words = meaning(column)
    quantiles = {}
    if finite.size:
        marks = {"min": 0.0, "p05": 0.05, "p50": 0.5, "p95": 0.95, "max": 1.0}
        quantiles = {key: float(np.quantile(finite, mark)) for key, mark in marks.items()}
    return Measurement(
        name=name,
        column=column,
        label=words.label,
        unit=words.unit,
        about=words.about,
        missing=int(len(values) - finite.size),
        quantiles=quantiles,
        histogram=counted(
            edges_of(finite, ends, most=words.most),
            {"all": values, "packed": values[version.packed]},
        ),
    )


def _shards(version: VersionTables) -> tuple[Shard, ...]:
    return tuple(
        Shard(
            name=row.shard,
            split=row.split,
            bytes=row.bytes,
            samples=row.samples,
            frames=row.frames,
            seconds=row.seconds,
            sha256=row.sha256,
            state=version.shard_states[row.shard],
            verified=version.verified.of(row.shard) if version.verified else None,
        )
        for row in sorted(version.shards, key=lambda row: row.shard)
    )


def _provenance(version: VersionTables) -> Provenance:
    manifest = version.manifest
    return Provenance(
        recipe=version.row.recipe,
        fingerprints=manifest["fingerprints"],
        captioners=tuple(manifest["config"]["captioners"]),
        config=manifest["config"],
        manifest_sha256=version.row.manifest_sha256,
        publish_id=version.row.publish_id,
        run_id=version.row.run_id,
        folder=version.folder,
        sources=sources(version),
    )
